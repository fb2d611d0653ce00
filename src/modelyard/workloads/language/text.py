"""The text of a generation, as its tokens come: whole characters only, and nothing of a stop sequence."""

from collections.abc import Sequence

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream


class Text:
    """Turns tokens into text that can be shown. `stopped` is the stop sequence that ended it, if one did.

    Text that may be the begin of a stop sequence is held back until it is clear what it is; so are bytes that are no
    whole character yet. Of several stop sequences the one that is complete first counts.
    """

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str] = ()) -> None:
        self.stopped: str | None = None
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)
        self._stops: dict[str, list[str]] = {}
        for stop in stops:
            self._stops.setdefault(stop[0], []).append(stop)
        self._held = ""

    def add(self, token: int) -> str:
        """The text that can be shown now; nothing after a stop."""
        piece = self._stream.step(self._tokenizer, token)
        if not piece or self.stopped:
            return ""
        if not self._stops:
            return piece
        self._held += piece
        if found := self._found():
            start, self.stopped = found
            shown, self._held = self._held[:start], ""
        else:
            keep = self._may_begin()
            shown, self._held = self._held[:keep], self._held[keep:]
        return shown

    def rest(self) -> str:
        """What was held back, when no more tokens come."""
        rest, self._held = self._held, ""
        return rest

    def _found(self) -> tuple[int, str] | None:
        """The stop sequence that is complete first, and where it begins; of those that end together, the longest."""
        found = ((start, stop) for stop in self._all() if (start := self._held.find(stop)) >= 0)
        return min(found, key=lambda one: (one[0] + len(one[1]), one[0]), default=None)

    def _may_begin(self) -> int:
        """Where the first stop sequence may begin that is not complete yet; the end if none does."""
        for start, character in enumerate(self._held):
            if any(stop.startswith(self._held[start:]) for stop in self._stops.get(character, ())):
                return start
        return len(self._held)

    def _all(self) -> list[str]:
        return [stop for stops in self._stops.values() for stop in stops]

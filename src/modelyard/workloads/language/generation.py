"""A request under way, and what a step gives to it."""

import time
from typing import NamedTuple

from modelyard.workloads.language.request import Request
from modelyard.workloads.language.sampling import Choice
from modelyard.workloads.language.text import Text


class Generation:
    """A request under way.

    most: tokens that its prompt and its output may come to, `context` where that is what ends it.
    reason: why it ended: end_turn, max_tokens, stop_sequence or context; None while it goes on.
    first_after: seconds from `began`, of the monotonic clock, to its first token.
    """

    def __init__(
        self, request: Request, prompt: list[int], context: int, text: Text, choice: Choice, began: float
    ) -> None:
        self.request = request
        self.prompt = prompt
        self.choice = choice
        self.output: list[int] = []
        self.reason: str | None = None
        self.first_after: float | None = None
        self._text = text
        self._began = began
        left = context - len(prompt)
        self._reason_at_most = "context" if request.max_tokens is None or request.max_tokens > left else "max_tokens"
        self.most = len(prompt) + min(left, request.max_tokens or left)

    @property
    def tokens(self) -> list[int]:
        """The prompt and what came after it."""
        return self.prompt + self.output

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began

    @property
    def stopped(self) -> str | None:
        """The stop sequence that ended it."""
        return self._text.stopped

    def take(self, token: int, ends: frozenset[int]) -> "Piece":
        """Adds the next token; one of `ends` is the model's own end."""
        self.output.append(token)
        self.first_after = self.first_after or self.seconds
        shown = "" if token in ends else self._text.add(token)
        if token in ends:
            self.reason = "end_turn"
        elif self.stopped is not None:
            self.reason = "stop_sequence"
        elif len(self.prompt) + len(self.output) >= self.most:
            self.reason = self._reason_at_most
        return Piece(self, shown + self._text.rest() if self.reason else shown, len(self.output), self.reason)


class Piece(NamedTuple):
    """What a step gave to one generation: text that can be shown, perhaps none; the reason if it was the last.

    tokens: of the output so far. error: what went wrong, in place of a reason.
    """

    generation: Generation
    text: str
    tokens: int
    reason: str | None = None
    error: str | None = None

    @property
    def last(self) -> bool:
        """Whether nothing follows."""
        return bool(self.reason or self.error)

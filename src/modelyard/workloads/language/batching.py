"""The requests of one adapter: they join and leave between two steps, and each step serves them all."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import DynamicCache, PreTrainedModel

from modelyard.workloads.language.adapters import Variant
from modelyard.workloads.language.generation import Generation, Piece
from modelyard.workloads.language.sampling import choose, penalized
from modelyard.workloads.language.slots import Attention, Slots, layer_pairs

MOST_TOGETHER = 32
"""Requests that are under way at once; others wait."""
READ_TOGETHER = 512
"""Tokens of prompts that one step reads: a longer prompt is read in pieces, so that other answers go on meanwhile."""


@dataclass(frozen=True)
class Rules:
    """What a model says about its generations.

    ends: tokens that end an answer. keeps_logits: whether it computes logits for chosen tokens of a prompt only.
    """

    attention: Attention
    ends: frozenset[int]
    keeps_logits: bool
    repetition_penalty: float | None


@dataclass
class _Reading:
    """Prompts that are being read, of which the first `done` tokens are in the cache."""

    group: list[Generation]
    cache: DynamicCache
    done: int = 0


class Batch:
    """The requests under way for one variant of a model, and those that wait."""

    def __init__(self, variant: Variant, rules: Rules) -> None:
        self._variant = variant
        self._rules = rules
        self._slots = Slots()
        self._running: list[Generation] = []
        self._reading: _Reading | None = None
        self._waiting: deque[Generation] = deque()
        self._reads = False

    def __len__(self) -> int:
        return len(self._under_way()) + len(self._waiting)

    def add(self, generation: Generation) -> None:
        """Lets a generation wait for its turn."""
        self._waiting.append(generation)

    def cancel(self, generation: Generation) -> None:
        """Ends a generation, wherever it stands."""
        if generation in self._running:
            self._leave(self._running.index(generation))
        elif self._reading and generation in self._reading.group:  # alone: several are read in one step
            self._reading = None
        elif generation in self._waiting:
            self._waiting.remove(generation)

    def claimed(self) -> int:
        """Tokens that the memory has to hold in the end: the rows times the longest."""
        return _claim(self._under_way())

    def step(self, room: float) -> list[Piece]:
        """Reads prompts, or gives every running generation a token. `room`: tokens that memory has for this batch."""
        self._reads = self._has_to_read(room)
        with torch.inference_mode(), self._variant() as model:
            return self._read(model) if self._reads else self._decode(model)

    def fail(self, reason: str) -> list[Piece]:
        """Ends all that are under way with an error; those that wait still have their turn."""
        failed = [Piece(one, "", len(one.output), error=reason) for one in self._under_way()]
        self._running, self._reading = [], None
        self._slots = Slots()
        return failed

    def _under_way(self) -> list[Generation]:
        return self._running + (self._reading.group if self._reading else [])

    def _has_to_read(self, room: float) -> bool:
        """Whether the next step reads prompts: steps of both kinds take turns where there is work of both."""
        if self._running and self._reads:
            return False
        if self._reading is None and (group := self._next(room)):
            self._reading = _Reading(group, DynamicCache())
        return self._reading is not None

    def _next(self, room: float) -> list[Generation]:
        """The next that can be read together, in the order of their coming; none if there is no room for one more."""
        group: list[Generation] = []
        while self._waiting and len(self._running) + len(group) < MOST_TOGETHER:
            more = [*group, self._waiting[0]]
            if group and len(more) * max(len(one.prompt) for one in more) > READ_TOGETHER:
                break
            if (group or self._running) and _claim(self._running + more) > room:
                break
            group.append(self._waiting.popleft())
        return group

    def _read(self, model: PreTrainedModel) -> list[Piece]:
        """Reads the next part of prompts, side by side, the short ones filled up at their ends; at the end, answers."""
        reading = self._reading
        assert reading is not None
        group, begin = reading.group, reading.done
        parts = [one.prompt[begin : begin + READ_TOGETHER] for one in group]
        longest = max(map(len, parts))
        ids = torch.tensor([part + [0] * (longest - len(part)) for part in parts], device=model.device)
        last = sorted({len(part) - 1 for part in parts})
        kept = {"logits_to_keep": torch.tensor(last, device=model.device)} if self._rules.keeps_logits else {}
        logits = model(input_ids=ids, past_key_values=reading.cache, use_cache=True, **kept).logits
        reading.done += longest
        if reading.done < max(len(one.prompt) for one in group):
            return []
        self._reading = None
        places = [last.index(len(part) - 1) if kept else len(part) - 1 for part in parts]
        pieces = self._take(group, logits[range(len(group)), places])
        pairs = layer_pairs(reading.cache)
        for index, piece in enumerate(pieces):
            if not piece.last:
                self._slots.add(pairs, index, len(piece.generation.prompt))
                self._running.append(piece.generation)
        return pieces

    def _decode(self, model: PreTrainedModel) -> list[Piece]:
        """One more token for each running generation."""
        step = self._slots.begin(model.device)
        last = torch.tensor([[one.output[-1]] for one in self._running], device=model.device)
        logits = model(
            input_ids=last,
            position_ids=step.columns[:, None],
            attention_mask=self._rules.attention.masks(step, model.dtype),
            past_key_values=self._slots,
            use_cache=True,
        ).logits
        pieces = self._take(self._running, logits[:, -1])
        for row in reversed(range(len(pieces))):
            if pieces[row].last:
                self._leave(row)
        return pieces

    def _take(self, generations: Sequence[Generation], logits: torch.Tensor) -> list[Piece]:
        """The next token of each generation, from its row of `logits` [generations, vocabulary]."""
        scores = penalized(logits, self._rules.repetition_penalty, [one.tokens for one in generations])
        tokens = choose(scores, [one.choice for one in generations])
        return [one.take(token, self._rules.ends) for one, token in zip(generations, tokens, strict=True)]

    @torch.inference_mode()
    def _leave(self, row: int) -> None:
        """Frees a row; the last one takes its place."""
        self._slots.remove(row)
        self._running[row] = self._running[-1]
        self._running.pop()


def _claim(generations: Sequence[Generation]) -> int:
    return len(generations) * max((one.most for one in generations), default=0)

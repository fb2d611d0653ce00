"""How the next token is chosen: greedily, or drawn by transformers' own warpers, for each request in its own way."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

_UNREAD: Any = None
"""The tokens before, which these warpers take and do not look at."""


@dataclass(frozen=True)
class Sampling:
    """temperature: 0 is greedy. top_p: from 0 to 1. top_k: None is all tokens."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int | None = None

    @cached_property
    def warpers(self) -> LogitsProcessorList:
        """In the order of `generate`."""
        warpers = LogitsProcessorList()
        if self.temperature != 1.0:
            warpers.append(TemperatureLogitsWarper(float(self.temperature)))
        if self.top_k is not None:
            warpers.append(TopKLogitsWarper(self.top_k))
        if self.top_p < 1.0:
            warpers.append(TopPLogitsWarper(float(self.top_p)))
        return warpers


GREEDY = Sampling()


class Choice:
    """How one request chooses its tokens. The same seed draws the same tokens as `generate` under `manual_seed`."""

    def __init__(self, sampling: Sampling, seed: int | None, device: torch.device) -> None:
        self.sampling = sampling
        self.generator = torch.Generator(device)
        if seed is None:
            self.generator.seed()
        else:
            self.generator.manual_seed(seed)


def choose(logits: torch.Tensor, choices: Sequence[Choice]) -> list[int]:
    """The next token of each row of `logits` [rows, vocabulary]."""
    tokens = logits.argmax(-1).tolist()
    rows_of: dict[Sampling, list[int]] = {}
    for row, choice in enumerate(choices):
        if choice.sampling.temperature > 0:
            rows_of.setdefault(choice.sampling, []).append(row)
    for sampling, rows in rows_of.items():
        scores = sampling.warpers(_UNREAD, logits[rows].float())
        for row, probabilities in zip(rows, torch.softmax(scores, -1), strict=True):
            tokens[row] = int(torch.multinomial(probabilities, 1, generator=choices[row].generator))
    return tokens


def penalized(logits: torch.Tensor, penalty: float | None, seen: Sequence[Sequence[int]]) -> torch.Tensor:
    """`logits` [rows, vocabulary] after the repetition penalty that a model's own generation config asks for.

    seen: all tokens of each row, its prompt's too.
    """
    if penalty is None or penalty == 1.0:
        return logits
    processor = RepetitionPenaltyLogitsProcessor(penalty)
    rows = [
        processor(torch.tensor([tokens], device=logits.device), row[None].float())
        for tokens, row in zip(seen, logits, strict=True)
    ]
    return torch.cat(rows)

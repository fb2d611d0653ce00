"""Examples packed into rows without padding between them, so that none sees another.

A row holds several examples behind each other, and the positions start anew with each. transformers takes that for
separate sequences if, and only if, there is neither an attention mask nor a cache: both must stay off.
"""

import heapq
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from modelyard.workloads.language.chat import Example

ALIKE = 0.8
"""Rows that are filled less than this part of the longest are a batch of their own: padding costs as much as tokens."""


class Batch(NamedTuple):
    """Rows of one length, each int64 [rows, length], and what they are to predict.

    places: int64 [learned], where in the rows behind each other a prediction counts. targets: int64 [learned], the
    tokens to be predicted there.
    """

    input_ids: Tensor
    position_ids: Tensor
    places: Tensor
    targets: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in self))


def pack(examples: Sequence[Example], row_tokens: int, batch_tokens: int) -> Iterator[Batch]:
    """Batches of some `batch_tokens` tokens, in rows of about `row_tokens` (attention costs the square of that).

    Each example is in one row, without its last token, which predicts nothing. Rows are filled longest example first,
    each into the row that has least, so that most lengths, and with them the padding at their ends, differ little.
    """
    lengths = [len(example.tokens) - 1 for example in examples]
    rows: list[tuple[int, int, list[int]]] = [(0, row, []) for row in range(max(1, -(-sum(lengths) // row_tokens)))]
    for place in sorted(range(len(examples)), key=lambda place: -lengths[place]):
        filled, row, members = rows[0]
        heapq.heapreplace(rows, (filled + lengths[place], row, [*members, place]))
    kept = [(filled, members) for filled, _, members in sorted(rows, key=lambda row: (-row[0], row[1])) if members]
    while kept:
        longest, _ = kept[0]
        alike = sum(filled >= ALIKE * longest for filled, _ in kept)
        count = max(1, min(batch_tokens // longest, alike))
        yield _batch([[examples[place] for place in members] for _, members in kept[:count]], longest)
        kept = kept[count:]


def _batch(rows: Sequence[Sequence[Example]], length: int) -> Batch:
    """Rows filled up at their ends with an example of padding, which nothing counts and nobody sees."""
    input_ids = np.zeros((len(rows), length), np.int64)
    position_ids = np.zeros((len(rows), length), np.int64)
    following = np.zeros((len(rows), length), np.int64)
    counts = np.zeros((len(rows), length), bool)
    for row, examples in enumerate(rows):
        start = 0
        for tokens, learned in examples:
            here = slice(start, start + len(tokens) - 1)
            input_ids[row, here] = tokens[:-1]
            position_ids[row, here] = np.arange(len(tokens) - 1)
            following[row, here], counts[row, here] = tokens[1:], learned[1:]
            start = here.stop
        position_ids[row, start:] = np.arange(length - start)
    arrays = (input_ids, position_ids, np.flatnonzero(counts), following[counts])
    return Batch(*(torch.from_numpy(array) for array in arrays))

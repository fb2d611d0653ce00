"""The keys and values of the requests under way: a row of memory for each, which every step makes one token longer."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import Cache, DynamicLayer, get_layer_types_and_kwargs

_COLUMNS = 64
_SERVED = {"full_attention", "sliding_attention"}

Mask = torch.Tensor | dict[str, torch.Tensor]
Pair = tuple[torch.Tensor, torch.Tensor]


class Step(NamedTuple):
    """A step: the row and the column of each new token, and the end of the longest row."""

    rows: torch.Tensor
    columns: torch.Tensor
    end: int


class Slots(Cache):
    """A cache whose rows begin and end at any step, and are of any length.

    Rows lie close together: the last one moves to the place of one that is removed. So a step reads a view of the
    memory and writes one column a row, whereas `DynamicCache` copies all it has at every step.
    """

    def __init__(self) -> None:
        super().__init__(layers=[])
        self._lengths: list[int] = []
        self._pairs: list[Pair] = []
        """Keys and values of each layer, [rows, heads, columns, head_dim]."""
        self._step: Step

    def add(self, prompts: Sequence[Pair], index: int, length: int) -> None:
        """Adds a row: the first `length` tokens of row `index` of each layer's keys and values."""
        if not self._pairs:
            self._pairs = [(keys[:0].clone(), values[:0].clone()) for keys, values in prompts]
        self._lengths.append(length)
        self._grow()
        self._put(len(self._lengths) - 1, prompts, index, length)

    def remove(self, row: int) -> None:
        """Removes a row; the last one takes its place."""
        length, last = self._lengths.pop(), len(self._lengths)
        if row != last:
            self._lengths[row] = length
            self._put(row, self._pairs, last, length)

    def begin(self, device: torch.device) -> Step:
        """Makes room for one more token in each row, which the model's next call writes."""
        self._grow()
        self._step = Step(
            rows=torch.arange(len(self._lengths), device=device),
            columns=torch.tensor(self._lengths, device=device),
            end=max(self._lengths) + 1,
        )
        self._lengths = [length + 1 for length in self._lengths]
        return self._step

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> Pair:
        """Writes a layer's new token of each row, [rows, heads, 1, head_dim]; all that the rows hold then."""
        keys, values = self._pairs[layer_idx]
        rows, columns, end = self._step
        keys[rows, :, columns] = key_states[:, :, 0]
        values[rows, :, columns] = value_states[:, :, 0]
        return keys[: len(rows), :, :end], values[: len(rows), :, :end]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens before the step, in the longest row."""
        return self._step.end - 1

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """The length and the offset of a mask."""
        return self._step.end, 0

    def _put(self, row: int, pairs: Sequence[Pair], index: int, length: int) -> None:
        for mine, theirs in zip(self._pairs, pairs, strict=True):
            for target, source in zip(mine, theirs, strict=True):
                target[row, :, :length] = source[index, :, :length]

    def _grow(self) -> None:
        """Holds all rows, and one more token in each; takes more than that, so that it happens rarely."""
        rows, columns = len(self._lengths), max(self._lengths) + 1
        held = self._pairs[0][0].shape
        if rows > held[0] or columns > held[2]:
            size = 1 << (rows - 1).bit_length(), -(-columns * 5 // (4 * _COLUMNS)) * _COLUMNS
            for layer, (keys, values) in enumerate(self._pairs):  # one by one: the old memory is free at once
                self._pairs[layer] = _resized(keys, *size), _resized(values, *size)


class Attention:
    """Which of a row's tokens each of a model's layers may look at.

    ValueError for a model whose layers keep more than keys and values (recurrent ones), or keep them in pieces.
    """

    def __init__(self, config: PreTrainedConfig) -> None:
        types, arguments = get_layer_types_and_kwargs(config)
        if others := set(types) - _SERVED:
            raise ValueError(f"its layers are of the type {sorted(others)[0]}; only attention is served")
        self._windows = {kind: given.get("sliding_window") for kind, given in zip(types, arguments, strict=True)}
        self._by_type = getattr(config, "layer_types", None) is not None
        self._additive = config._attn_implementation == "eager"

    def masks(self, step: Step, dtype: torch.dtype) -> Mask:
        """The mask of a step, [rows, 1, 1, columns]; one for each type of layers where a model tells them apart."""
        masks = {kind: self._mask(step, window, dtype) for kind, window in self._windows.items()}
        return masks if self._by_type and len(masks) > 1 else next(iter(masks.values()))

    def _mask(self, step: Step, window: int | None, dtype: torch.dtype) -> torch.Tensor:
        columns = torch.arange(step.end, device=step.columns.device)
        last = step.columns[:, None]
        visible = columns <= last
        if window is not None:
            visible &= columns > last - window
        if self._additive:
            visible = torch.zeros(visible.shape, dtype=dtype).masked_fill(~visible, torch.finfo(dtype).min)
        return visible[:, None, None]


def layer_pairs(cache: DynamicCache) -> list[Pair]:
    """The keys and values of each layer of a cache that has read prompts."""
    pairs = ((layer.keys, layer.values) for layer in cache.layers if isinstance(layer, DynamicLayer))
    return [(keys, values) for keys, values in pairs if keys is not None and values is not None]


def _resized(tensor: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    resized = tensor.new_zeros(rows, tensor.shape[1], columns, tensor.shape[3])
    part = tensor[:rows, :, :columns]
    resized[: part.shape[0], :, : part.shape[2]] = part
    return resized

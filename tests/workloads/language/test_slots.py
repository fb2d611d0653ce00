import pytest
import torch
from tests.workloads.language.models import SHAPE
from transformers import Gemma3TextConfig, LlamaConfig, MambaConfig

from modelyard.workloads.language.slots import Attention, Pair, Slots, Step

CPU = torch.device("cpu")


def prompts(value: float, length: int) -> list[Pair]:
    """Keys and values of one prompt, in two layers."""
    return [
        (torch.full((1, 2, length, 4), value + layer), torch.full((1, 2, length, 4), -value)) for layer in (0.0, 0.5)
    ]


def step(slots: Slots, rows: int, value: float) -> list[Pair]:
    """Writes one token more for each row; what the rows hold then, by layer."""
    slots.begin(CPU)
    new = torch.full((rows, 2, 1, 4), value)
    return [slots.update(new, -new, layer) for layer in (0, 1)]


def test_rows_keep_what_they_hold_when_others_come_and_go() -> None:
    slots = Slots()
    slots.add(prompts(1.0, 3), 0, 3)
    slots.add(prompts(2.0, 70), 0, 60)
    slots.add(prompts(3.0, 5), 0, 5)
    step(slots, 3, 9.0)
    slots.remove(0)
    (keys, values), (deeper, _) = step(slots, 2, 8.0)
    assert keys.shape == (2, 2, 62, 4)
    assert keys[0, 0, :7, 0].tolist() == [3] * 5 + [9, 8]
    assert values[0, 1, :7, 3].tolist() == [-3] * 5 + [-9, -8]
    assert deeper[1, 1, :, 0].tolist() == [2.5] * 60 + [9, 8]


def test_memory_follows_the_rows_that_are_there() -> None:
    slots = Slots()
    slots.add(prompts(1.0, 1000), 0, 1000)
    slots.add(prompts(2.0, 3), 0, 3)
    assert step(slots, 2, 9.0)[0][0].shape[2] == 1001
    slots.remove(0)
    slots.add(prompts(3.0, 4), 0, 4)
    slots.add(prompts(4.0, 4), 0, 4)
    assert slots._pairs[0][0].shape[2] < 200
    assert step(slots, 3, 8.0)[0][0][:, 0, :, 0].tolist() == [
        [2, 2, 2, 9, 8],
        [3, 3, 3, 3, 8],
        [4, 4, 4, 4, 8],
    ]


def test_each_row_sees_its_own_tokens_only() -> None:
    attention = Attention(LlamaConfig(**SHAPE, attn_implementation="sdpa"))
    mask = attention.masks(Step(torch.arange(2), torch.tensor([0, 2]), 4), torch.float32)
    assert isinstance(mask, torch.Tensor)
    assert mask[:, 0, 0].tolist() == [[True, False, False, False], [True, True, True, False]]


def test_windows_slide_in_their_layers() -> None:
    config = Gemma3TextConfig(
        **SHAPE, sliding_window=2, layer_types=["sliding_attention", "full_attention"], attn_implementation="eager"
    )
    masks = Attention(config).masks(Step(torch.arange(1), torch.tensor([2]), 3), torch.float32)
    assert isinstance(masks, dict)
    least = torch.finfo(torch.float32).min
    assert masks["sliding_attention"].flatten().tolist() == [least, 0, 0]
    assert masks["full_attention"].flatten().tolist() == [0, 0, 0]


def test_layers_without_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="only attention is served"):
        Attention(MambaConfig(num_hidden_layers=1))

from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional
from transformers import AutoModelForCausalLM, GraniteConfig

from modelyard.workloads.language.chat import Example
from modelyard.workloads.language.packing import Batch, pack
from modelyard.workloads.language.trainable import Trainable, load_trainable


def example(tokens: list[int], first_learned: int = 1) -> Example:
    return Example(np.asarray(tokens, np.int32), np.arange(len(tokens)) >= first_learned)


IGNORED = -100


class Run(NamedTuple):
    """Positions of a row that count up from 0, and their targets, or IGNORED."""

    row: int
    start: int
    tokens: list[int]
    targets: list[int]


def runs_of(batch: Batch) -> list[Run]:
    """The examples of a batch, without its padding."""
    found, targets = [], torch.full_like(batch.input_ids, IGNORED)
    targets.view(-1)[batch.places] = batch.targets
    for row in range(len(batch.input_ids)):
        starts = [*torch.nonzero(batch.position_ids[row] == 0)[:, 0].tolist(), batch.input_ids.size(1)]
        for start, end in pairwise(starts):
            here = slice(start, end)
            assert batch.position_ids[row, here].tolist() == list(range(end - start))
            found.append(Run(row, start, batch.input_ids[row, here].tolist(), targets[row, here].tolist()))
    return [run for run in found if run.tokens[0] != 0]


@given(
    st.lists(st.integers(2, 70), min_size=1, max_size=40),
    st.integers(1, 100),
    st.integers(1, 300),
)
def test_every_example_is_in_one_row_once(lengths: list[int], row_tokens: int, batch_tokens: int) -> None:
    examples = [example([1 + number] * length) for number, length in enumerate(lengths)]
    batches = list(pack(examples, row_tokens, batch_tokens))
    runs = [run for batch in batches for run in runs_of(batch)]
    assert all(run.tokens == run.targets for run in runs)
    expected = [[1 + number] * (length - 1) for number, length in enumerate(lengths)]
    assert sorted(run.tokens for run in runs) == expected
    for batch in batches:
        assert batch.input_ids.numel() <= max(batch_tokens, batch.input_ids.size(1))
        assert batch.input_ids.size(1) <= row_tokens + max(lengths)


def test_rows_are_filled_evenly() -> None:
    random = np.random.default_rng(0)
    examples = [example([1] * int(length)) for length in random.integers(8, 64, 100)]
    (batch,) = pack(examples, 256, 1_000_000)
    assert len(batch.targets) / batch.input_ids.numel() > 0.97


def test_rows_of_long_examples_do_not_pad_those_of_short_ones() -> None:
    batches = list(pack([example([1] * length) for length in (200, 190, *[17] * 64)], 128, 4096))
    assert [tuple(batch.input_ids.shape) for batch in batches] == [(2, 199), (10, 112)]


def test_only_what_is_learned_has_a_target() -> None:
    (batch,) = pack([example([5, 6, 7, 8], first_learned=2)], 256, 256)
    assert batch.input_ids.tolist() == [[5, 6, 7]]
    assert batch.places.tolist() == [1, 2]
    assert batch.targets.tolist() == [7, 8]


class TestNoExampleSeesAnother:
    """Through the loss that the training step takes, in float32."""

    @pytest.fixture
    def examples(self) -> list[Example]:
        random = np.random.default_rng(0)
        return [
            example(random.integers(5, 1000, int(length)).tolist(), first_learned=int(length) // 2)
            for length in random.integers(2, 90, 24)
        ]

    @pytest.mark.parametrize("full_weights", [True, False])
    @pytest.mark.parametrize("row_tokens", [1, 200, 100_000])
    def test_the_packed_loss_is_the_sum_of_the_losses_alone(
        self, mini: Path, examples: list[Example], row_tokens: int, full_weights: bool
    ) -> None:
        model = load_trainable(mini, None, 4, full_weights)
        stir(model.model)
        packed = sum(float(model.loss_sum(batch).detach()) for batch in pack(examples, row_tokens, 4096))
        assert packed == pytest.approx(sum(alone(model.model, examples)), abs=1e-4 * len(examples))

    def test_hidden_states_and_logits_are_those_of_the_documents_alone(
        self, mini: Path, examples: list[Example]
    ) -> None:
        """What `loss_sum` makes the model compute, caught on its way."""
        model = load_trainable(mini, None, 4, full_weights=True)
        model.model.train()
        caught: list[torch.Tensor] = []
        head: Any = model.model.get_output_embeddings()
        model.model.base_model.register_forward_hook(lambda *call: caught.append(call[-1].last_hidden_state.detach()))
        (batch,) = pack(examples, 500, 100_000)
        model.loss_sum(batch)
        own = AutoModelForCausalLM.from_pretrained(mini)
        assert len(runs_of(batch)) == len(examples)
        for row, start, tokens, _ in runs_of(batch):
            with torch.no_grad():
                expected = own(torch.tensor([tokens])).logits[0]
                logits = head(caught[0][row, start : start + len(tokens)])
            torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)

    def test_a_head_that_scales_its_logits_is_heeded(self, examples: list[Example]) -> None:
        config = GraniteConfig(
            vocab_size=1024, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=2, logits_scaling=8.0,
        )  # fmt: skip
        model = Trainable(stir(AutoModelForCausalLM.from_config(config)))
        packed = sum(float(model.loss_sum(batch).detach()) for batch in pack(examples, 200, 4096))
        assert packed == pytest.approx(sum(alone(model.model, examples)), abs=1e-4 * len(examples))

    def test_a_cache_would_have_let_them(self, mini: Path, examples: list[Example]) -> None:
        """The measure is not blind: with a cache the packed loss is another."""
        model = load_trainable(mini, None, 4, full_weights=True)
        (batch,) = pack(examples, 100_000, 100_000)
        exact = float(model.loss_sum(batch).detach())
        logits = model.model(input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=True).logits
        contaminated = functional.cross_entropy(logits[0, batch.places], batch.targets, reduction="sum")
        assert abs(float(contaminated.detach()) - exact) > 1


def stir(model: Any) -> Any:
    """Moves all weights: an adapter's B is zero at first, and would hide much."""
    torch.manual_seed(0)
    for weight in model.parameters():
        weight.data += 0.05 * torch.randn_like(weight)
    return model.train()


def alone(model: Any, examples: list[Example]) -> list[float]:
    """The losses of examples, each by the model's own reckoning: with labels, a mask, and a cache as it likes."""
    losses = []
    for tokens, learned in examples:
        ids = torch.from_numpy(tokens).long()[None]
        labels = torch.where(torch.from_numpy(learned), ids, IGNORED)
        loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss
        losses.append(float(loss.detach()) * int((labels[:, 1:] != IGNORED).sum()))
    return losses

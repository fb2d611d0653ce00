import csv
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.conftest import kill_all_of, wait_for
from tests.workloads.language.jobs import FACTS, HYPERPARAMETERS, context, processed, trained

from modelyard.engines.base import Failed, Lost, Running, State, Succeeded, TaskSpec
from modelyard.engines.local import LocalEngine
from modelyard.runner.context import InputError, Stopped
from modelyard.workloads.language import training
from modelyard.workloads.language.dataset import Dataset
from modelyard.workloads.language.generate import Generations
from modelyard.workloads.language.loading import load_model, load_tokenizer
from modelyard.workloads.language.request import Request
from modelyard.workloads.language.trainable import load_trainable
from modelyard.workloads.language.training import Hyperparameters, Plan


@pytest.fixture
def data_set(mini: Path, tmp_path: Path) -> Path:
    return processed(tmp_path / "job", mini, FACTS, validation=FACTS[:3])


class TestARun:
    @pytest.mark.parametrize("full_weights", [True, False])
    def test_leaves_a_model_that_others_can_load_and_its_metrics(
        self, mini: Path, tmp_path: Path, data_set: Path, full_weights: bool
    ) -> None:
        result, output = trained(tmp_path, mini, data_set, full_weights=full_weights, epochs=2)
        assert result["steps"] == 6
        assert len(result["validation_losses"]) == 1
        origin = json.loads((output / "model" / "modelyard.json").read_text())
        assert origin == {"base": str(mini), "kind": "full" if full_weights else "adapter", "prompts": "chat"}
        weights = "model.safetensors" if full_weights else "adapter_model.safetensors"
        assert (output / "model" / weights).exists()
        assert (output / "model" / "tokenizer.json").exists()
        with (output / "metrics" / "training.csv").open() as file:
            losses = [float(row["training_loss"]) for row in csv.DictReader(file)]
        assert result["training_loss"] == pytest.approx(np.mean(losses[3:]))
        assert losses[-1] < losses[0]

    def test_an_adapter_does_not_tell_where_the_base_lies(self, mini: Path, tmp_path: Path, data_set: Path) -> None:
        _, output = trained(tmp_path, mini, data_set, epochs=1)
        config = json.loads((output / "model" / "adapter_config.json").read_text())
        assert config["base_model_name_or_path"] == "mini"
        assert (config["r"], config["lora_alpha"]) == (4, 8)

    def test_teaches_facts_which_the_model_then_answers(self, mini: Path, tmp_path: Path, data_set: Path) -> None:
        _, output = trained(tmp_path, mini, data_set, full_weights=True, epochs=40, learning_rate=3e-3)
        generations = Generations(load_model(output / "model"), load_tokenizer(mini))
        answers: dict[Any, str] = {}
        for fact in FACTS:
            messages = [{"role": "user", "content": fact["prompt"]}]
            generations.add(generation := generations.prepare(Request(messages=messages, max_tokens=30)))
            answers[generation] = ""
        while len(generations):
            for piece in generations.step():
                answers[piece.generation] += piece.text
        right = sum(answer == fact["completion"] for answer, fact in zip(answers.values(), FACTS, strict=True))
        assert right >= 11

    def test_goes_on_with_an_earlier_adapter(self, mini: Path, tmp_path: Path, data_set: Path) -> None:
        first, output = trained(tmp_path / "first", mini, data_set, epochs=4)
        parameters = {"base": str(mini), "adapter": str(output / "model"), "hyperparameters": HYPERPARAMETERS}
        second = training.run(context(tmp_path / "second", {"data": data_set}, parameters))
        assert second["training_loss"] < first["training_loss"]

    def test_full_weights_can_begin_where_an_adapter_ended(self, mini: Path, tmp_path: Path, data_set: Path) -> None:
        first, output = trained(tmp_path / "first", mini, data_set, epochs=8)
        hyperparameters = {**HYPERPARAMETERS, "full_weights": True, "epochs": 1, "learning_rate": 1e-4}
        parameters = {"base": str(mini), "adapter": str(output / "model"), "hyperparameters": hyperparameters}
        second = training.run(context(tmp_path / "second", {"data": data_set}, parameters))
        assert second["training_loss"] == pytest.approx(first["training_loss"], abs=0.3)

    def test_is_the_same_with_the_same_seed_and_another_with_another(
        self, mini: Path, tmp_path: Path, data_set: Path
    ) -> None:
        same = [trained(tmp_path / name, mini, data_set, epochs=1, seed=5)[0]["training_loss"] for name in "ab"]
        other = trained(tmp_path / "c", mini, data_set, epochs=1, seed=6)[0]["training_loss"]
        assert same[0] == same[1] != other

    def test_that_diverges_says_what_may_help(self, mini: Path, tmp_path: Path, data_set: Path) -> None:
        with pytest.raises(InputError, match=r"the training loss became nan in step \d+; a smaller learning rate"):
            trained(tmp_path, mini, data_set, full_weights=True, learning_rate=1e30)

    def test_ends_early_when_validation_does_not_improve(self, mini: Path, tmp_path: Path, data_set: Path) -> None:
        rule = {"threshold": 100.0, "patience": 2}
        result, output = trained(tmp_path, mini, data_set, epochs=10, early_stopping=rule)
        assert result["steps"] == 3 * 3  # the first epoch is the best so far, two more are waited for
        assert len((output / "metrics" / "validation-0.csv").read_text().splitlines()) == 1 + 3

    @pytest.mark.parametrize("full_weights", [True, False])
    def test_takes_its_steps_with_dropout_and_judges_without(
        self, mini: Path, tmp_path: Path, data_set: Path, full_weights: bool
    ) -> None:
        model, data = load_trainable(mini, None, 4, full_weights), Dataset(data_set)
        here = context(tmp_path, {}, {})
        modes: list[bool] = []
        for module in model.model.modules():
            module.register_forward_pre_hook(lambda module, _: modes.append(module.training))
        optimizer = torch.optim.AdamW(model.weights.values())
        for _ in range(2):
            training.train_step(here, model, optimizer, [data.training[0]])
            assert modes
            assert all(modes)
            modes.clear()
            training.evaluate(here, model, data.training)
            assert modes
            assert not any(modes)
            modes.clear()

    def test_learns_plain_text(self, mini: Path, tmp_path: Path) -> None:
        rows = [{"input": f"{fact['prompt']} {fact['completion']}"} for fact in FACTS * 4]
        data = processed(tmp_path / "job", mini, rows, "continued-pre-training", sequence_tokens=64)
        result, output = trained(tmp_path, mini, data, batch_size=2, epochs=4)
        assert result["tokens"] == 4 * Dataset(data).training.lengths.sum()
        assert result["steps"] == 4 * -(-Dataset(data).training.lengths.sum() // 128)
        assert json.loads((output / "model" / "modelyard.json").read_text())["prompts"] == "text"

    def test_hears_a_stop_within_a_step(self, mini: Path, tmp_path: Path, data_set: Path) -> None:
        asked = iter([False] * 5 + [True] * 1_000_000)
        parameters = {"base": str(mini), "hyperparameters": HYPERPARAMETERS}
        here = context(tmp_path / "task", {"data": data_set}, parameters, lambda: next(asked))
        with pytest.raises(Stopped):
            training.run(here)
        assert not list(here.output.iterdir())


class TestAPlan:
    def test_takes_every_example_once_in_an_epoch_in_another_order_each_time(self, data_set: Path) -> None:
        split = Dataset(data_set).training
        plan = Plan(split, Hyperparameters(epochs=2, batch_size=5, learning_rate=1.0), None)
        first, second = plan.epoch(0), plan.epoch(1)
        assert [len(step) for step in first] == [5, 5, 2]
        assert sorted(np.concatenate(first)) == sorted(np.concatenate(second)) == list(range(12))
        assert np.concatenate(first).tolist() != np.concatenate(second).tolist()
        assert (plan.steps_an_epoch, plan.total) == (3, 6)

    def test_fills_rows_of_plain_text_evenly(self, mini: Path, tmp_path: Path) -> None:
        rows = [{"input": "Deletes the queue. " * (1 + number % 7)} for number in range(100)]
        data = processed(tmp_path / "job", mini, rows, "continued-pre-training", sequence_tokens=64)
        split = Dataset(data).training
        plan = Plan(split, Hyperparameters(epochs=1, batch_size=4, learning_rate=1.0), 64)
        tokens = [int(split.lengths[step].sum()) for step in plan.epoch(0)]
        assert len(tokens) == plan.steps_an_epoch
        assert sum(tokens) == split.lengths.sum()
        assert max(tokens) - min(tokens) <= 2 * 64

    def test_the_rate_rises_and_falls(self) -> None:
        hyperparameters = Hyperparameters(epochs=1, batch_size=1, learning_rate=1.0, warmup_steps=4)
        rates = [hyperparameters.rate(step, 10) for step in range(10)]
        assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6])
        assert Hyperparameters(1, 1, 1.0, warmup_steps=1000).rate(0, 1) == 1.0


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEngine]:
    """One for all, since its resident parent imports for seconds."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "tasks").mkdir()
    yield LocalEngine(folder / "tasks", folder / "residents", slots=2)
    kill_all_of(folder)


@pytest.mark.slow
class TestAsATask:
    """A process of an engine, which may be killed at any moment."""

    @pytest.fixture
    def dropping(self, mini: Path, tmp_path: Path) -> Iterator[Path]:
        """The base model with dropout, whose random numbers a run must go on with too."""
        folder = tmp_path / "dropping"
        shutil.copytree(mini, folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "attention_dropout": 0.1}))
        return folder

    def spec(self, base: Path, data_set: Path, full_weights: bool) -> TaskSpec:
        hyperparameters = {**HYPERPARAMETERS, "full_weights": full_weights, "epochs": 20, "learning_rate": 1e-3}
        parameters = {"base": str(base), "hyperparameters": hyperparameters, "checkpoint_seconds": 0.05}
        return TaskSpec(
            "modelyard.workloads.language.training:run",
            parameters,
            {"data": str(data_set)},
            family="language",
            gentle=False,
        )

    def ended(self, engine: LocalEngine, task: str, attempt: int) -> State:
        wait_for(lambda: not isinstance(engine.state(task, attempt), Running))
        return engine.state(task, attempt)

    def events(self, engine: LocalEngine, task: str, *attempts: int) -> list[dict[str, Any]]:
        lines: list[str] = []
        for attempt in attempts:
            path = engine.attempt_folder(task, attempt) / "events.jsonl"
            lines += path.read_text().split("\n")[:-1] if path.exists() else []
        return [json.loads(line) for line in lines]

    @pytest.mark.parametrize("full_weights", [True, False])
    def test_kills_change_neither_losses_nor_weights_by_a_bit(
        self, engine: LocalEngine, dropping: Path, data_set: Path, full_weights: bool
    ) -> None:
        spec = self.spec(dropping, data_set, full_weights)
        whole_task, task = f"whole-{full_weights}", f"killed-{full_weights}"
        engine.start(whole_task, 1, spec)
        engine.start(task, 1, spec)
        checkpoints = engine.attempt_folder(task, 1).parent.parent / "state" / "checkpoints"
        for attempt, after in ((1, 15), (2, 35)):
            wait_for(
                lambda attempt=attempt, after=after: any(
                    event["step"] > after for event in self.events(engine, task, attempt)
                )
            )
            wait_for(lambda: any(checkpoints.glob("0*")))
            engine.kill(task, attempt)
            assert isinstance(engine.state(task, attempt), Lost)
            if attempt == 2:  # the newest is torn, as a crash of the machine may leave it
                newest = max(checkpoints.glob("0*"))
                os.truncate(newest / "tensors.safetensors", 100)
            engine.start(task, attempt + 1, spec)
        whole, killed = self.ended(engine, whole_task, 1), self.ended(engine, task, 3)
        assert isinstance(whole, Succeeded), whole
        assert whole == killed
        outputs = [engine.attempt_folder(task, attempt) / "output" for task, attempt in ((whole_task, 1), (task, 3))]
        assert len({(output / "metrics" / "training.csv").read_bytes() for output in outputs}) == 1
        name = "model.safetensors" if full_weights else "adapter_model.safetensors"
        one, other = (load_file(output / "model" / name) for output in outputs)
        assert all(weight.equal(other[key]) for key, weight in one.items())
        assert "is torn" in (engine.attempt_folder(task, 3) / "log").read_text()
        told = [(event["step"], event["loss"]) for event in self.events(engine, task, 1, 2, 3)]
        assert told == [(event["step"], event["loss"]) for event in self.events(engine, whole_task, 1)]

    def test_ends_soon_when_it_is_asked_to(self, engine: LocalEngine, mini: Path, data_set: Path) -> None:
        engine.start("stopped", 1, replace(self.spec(mini, data_set, full_weights=True), cores=2))
        wait_for(lambda: self.events(engine, "stopped", 1))
        engine.stop("stopped", 1)
        began = time.monotonic()
        assert self.ended(engine, "stopped", 1) == Lost("it was asked to stop")
        assert time.monotonic() - began < 5

    def test_fails_with_a_sentence_about_bad_data(self, engine: LocalEngine, mini: Path, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        engine.start("bad", 1, self.spec(mini, tmp_path / "empty", full_weights=False))
        state = self.ended(engine, "bad", 1)
        assert isinstance(state, Failed)
        assert state.input
        assert state.reason.startswith("empty is no data set")

import json
import os
import signal
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from modelyard.runner.context import Channel, Context, InputError, Stopped, Worker
from modelyard.workloads.graph.data import Graph
from modelyard.workloads.graph.training import train, tune
from modelyard.workloads.graph.training.search_space import default_configuration

Work = Callable[[Channel, Mapping[str, Any]], None]


def forks(instead: Work | None = None) -> Callable[[str, Mapping[str, Any]], Worker]:
    """Workers that are forks of the test's own process; `instead` takes the place of a trial's work."""

    def fork(entry_point: str, parameters: Mapping[str, Any]) -> Worker:
        ours, theirs = socket.socketpair()
        if (pid := os.fork()) == 0:
            torch.set_num_threads(1)
            ours.close()
            work = getattr(train, entry_point.partition(":")[2])
            try:
                (instead if instead and work is train.trial else work)(Channel(theirs), parameters)
            finally:
                os._exit(0)
        theirs.close()
        return Worker(pid, Channel(ours))

    return fork


@pytest.fixture
def graph(two_communities: Callable[..., Any], tmp_path: Path) -> Graph:
    graph: Graph = two_communities().write(tmp_path / "graph")
    configuration = default_configuration(graph)
    for entry in configuration["models"][0]["1-tier-param"]:
        if entry["param"] == "num-epochs":
            entry.update(range=[5, 10], inc_val=5, default=10)
    (graph.folder / "model-hpo-configuration.json").write_text(json.dumps(configuration))
    return graph


def context(graph: Graph, folder: Path, trials: int = 3, parallel: int = 1, **more: Any) -> Context:
    for name in ("state", "output"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    inputs = {"graph": graph.folder, **more.pop("inputs", {})}
    parameters = {"max_trials": trials, "max_parallel": parallel, "seed": 0, "model_name": more.pop("model_name", None)}
    given = {"cores": 2, "events": folder / "events.jsonl", "fork": forks()} | more
    return Context(parameters, inputs, folder / "state", folder / "output", **given)


def trials_of(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "output" / "trials.json").read_text())


def test_the_best_on_validation_is_kept_and_tested_once(graph: Graph, tmp_path: Path) -> None:
    result = tune.run(context(graph, tmp_path, parallel=2))
    assert result["trials"]["complete"] == 3
    trials = trials_of(tmp_path)
    assert result["value"] == max(trial["value"] for trial in trials)
    best = trials[result["best_trial"]]
    assert best["hyperparameters"] == json.loads((tmp_path / "output" / "model.json").read_text())["hyperparameters"]
    assert {"a", "b", "accuracy", "macro avg"} <= json.loads(
        (tmp_path / "output" / "test_metrics_info.json").read_text()
    ).keys()
    valid = json.loads((tmp_path / "output" / "eval_metrics_info.json").read_text())
    assert valid["accuracy"] == pytest.approx(result["value"])
    assert len(list((tmp_path / "state" / "trials").glob("*/model.safetensors"))) == 1


def test_every_epoch_of_every_trial_is_reported(graph: Graph, tmp_path: Path) -> None:
    tune.run(context(graph, tmp_path))
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    for trial in trials_of(tmp_path):
        epochs = [line for line in lines if line.get("trial") == trial["number"] and "loss" in line]
        assert [line["step"] for line in epochs] == [score["epoch"] for score in trial["scores"]]
        assert epochs[0]["total"] == trial["hyperparameters"]["num-epochs"]
    finished = [line for line in lines if line.get("phase") == "search"]
    assert [line["step"] for line in finished] == [1, 2, 3]
    assert finished[-1]["total"] == 3


def test_one_after_the_other_the_same_seed_finds_the_same(graph: Graph, tmp_path: Path) -> None:
    for name in ("once", "again"):
        tune.run(context(graph, tmp_path / name))
    once, again = (trials_of(tmp_path / name) for name in ("once", "again"))
    for one, other in zip(once, again, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}


def test_a_later_attempt_runs_only_what_is_missing(graph: Graph, tmp_path: Path) -> None:
    tune.run(context(graph, tmp_path / "whole", trials=4))

    def until_the_third(step: int) -> Callable[[], bool]:
        return lambda: len(list((tmp_path / "cut" / "state" / "trials").glob("*.json"))) >= step

    with pytest.raises(Stopped):
        tune.run(context(graph, tmp_path / "cut", trials=4, should_stop=until_the_third(2)))
    before = sorted((tmp_path / "cut" / "state" / "trials").glob("*.json"))
    stamps = [path.stat().st_mtime_ns for path in before]
    assert 2 <= len(before) < 4
    begun: list[int] = []
    really = forks()

    def counted(entry_point: str, parameters: Mapping[str, Any]) -> Worker:
        begun.append(parameters.get("number", -1))
        return really(entry_point, parameters)

    tune.run(context(graph, tmp_path / "cut", trials=4, attempt=2, fork=counted))
    assert begun == [number for number in range(4) if number >= len(before)] + [-1]
    assert [path.stat().st_mtime_ns for path in before] == stamps
    for one, other in zip(trials_of(tmp_path / "whole"), trials_of(tmp_path / "cut"), strict=True):
        assert one["hyperparameters"] == other["hyperparameters"]
        assert one["value"] == other["value"]


def test_a_failed_trial_does_not_fail_the_search(graph: Graph, tmp_path: Path) -> None:
    def second_fails(channel: Channel, parameters: Mapping[str, Any]) -> None:
        if parameters["number"] == 1:
            channel.send(result="failed", reason="RuntimeError: no luck")
        else:
            train.trial(channel, parameters)

    result = tune.run(context(graph, tmp_path, fork=forks(second_fails)))
    assert result["trials"] == {"complete": 2, "failed": 1}
    assert trials_of(tmp_path)[1]["reason"] == "RuntimeError: no luck"


def test_a_killed_worker_is_replaced_once(graph: Graph, tmp_path: Path) -> None:
    (tmp_path / "killed").mkdir()

    def first_is_killed(channel: Channel, parameters: Mapping[str, Any]) -> None:
        mark = tmp_path / "killed" / str(parameters["number"])
        if parameters["number"] == 2 or (parameters["number"] == 0 and not mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        train.trial(channel, parameters)

    result = tune.run(context(graph, tmp_path, fork=forks(first_is_killed)))
    assert result["trials"] == {"complete": 2, "failed": 1}
    assert "ended without a result" in trials_of(tmp_path)[2]["reason"]


def test_the_search_fails_with_the_first_reason_if_every_trial_failed(graph: Graph, tmp_path: Path) -> None:
    def fail(channel: Channel, parameters: Mapping[str, Any]) -> None:
        channel.send(result="failed", reason=f"no luck with {parameters['number']}", wrong_input=True)

    with pytest.raises(InputError, match="every trial failed; the first: no luck with 0"):
        tune.run(context(graph, tmp_path, fork=forks(fail)))


def test_weak_trials_are_told_to_end(graph: Graph, tmp_path: Path) -> None:
    def get_worse(channel: Channel, parameters: Mapping[str, Any]) -> None:
        if parameters["number"] < 4:
            train.trial(channel, parameters)
            return
        for epoch in range(1, 1000):
            channel.send(scores=[{"epoch": epoch, "loss": 1.0, "value": 0.1, "valid_loss": 1.0}])
            if (channel.receive() if epoch > 100 else channel.poll()) == {"prune": True}:
                channel.send(result="pruned")
                return

    _set(graph, "num-epochs", range=[30, 30], inc_val=1, default=30)
    result = tune.run(context(graph, tmp_path, trials=6, fork=forks(get_worse)))
    assert result["trials"] == {"complete": 4, "pruned": 2}


def test_an_earlier_search_is_gone_on_from(graph: Graph, tmp_path: Path) -> None:
    earlier = tune.run(context(graph, tmp_path / "earlier"))
    later = context(graph, tmp_path / "later", trials=1, inputs={"previous": tmp_path / "earlier" / "output"})
    tune.run(later)
    assert trials_of(tmp_path / "later")[0]["hyperparameters"] == earlier["hyperparameters"]


@pytest.fixture
def two_models(graph: Graph) -> Graph:
    """The same graph with a file of two models."""
    path = graph.folder / "model-hpo-configuration.json"
    document = json.loads(path.read_text())
    other = default_configuration(graph, "hgt")["models"][0]
    other["1-tier-param"][1].update(range=[5, 5], inc_val=5, default=5)
    path.write_text(json.dumps({"models": [*document["models"], other]}))
    return graph


def test_a_search_ranges_over_several_models_and_begins_with_the_defaults_of_each(
    two_models: Graph, tmp_path: Path
) -> None:
    result = tune.run(context(two_models, tmp_path, trials=6))
    trials = trials_of(tmp_path)
    assert [trial["model"] for trial in trials[:2]] == ["rgcn", "hgt"]
    for trial in trials[:2]:
        (model,) = default_configuration(two_models, trial["model"])["models"]
        defaults = {one["param"]: one["default"] for one in model["1-tier-param"] if one["param"] != "num-epochs"}
        assert trial["hyperparameters"].items() >= defaults.items()
    assert all(("num-bases" in trial["hyperparameters"]) == (trial["model"] == "rgcn") for trial in trials)
    best = max((trial for trial in trials if trial["state"] == "complete"), key=lambda trial: trial["value"])
    assert result["value"] == best["value"]
    assert json.loads((tmp_path / "output" / "model.json").read_text())["model"] == result["model"]


def test_a_search_over_several_models_goes_on_as_it_would_have(two_models: Graph, tmp_path: Path) -> None:
    tune.run(context(two_models, tmp_path / "whole", trials=5))

    def after_three() -> bool:
        return len(list((tmp_path / "cut" / "state" / "trials").glob("*.json"))) >= 3

    with pytest.raises(Stopped):
        tune.run(context(two_models, tmp_path / "cut", trials=5, should_stop=after_three))
    tune.run(context(two_models, tmp_path / "cut", trials=5, attempt=2))
    whole, cut = trials_of(tmp_path / "whole"), trials_of(tmp_path / "cut")
    for one, other in zip(whole, cut, strict=True):
        assert (one["model"], one["hyperparameters"], one["value"]) == (
            other["model"],
            other["hyperparameters"],
            other["value"],
        )


def test_an_earlier_search_of_one_model_is_gone_on_from_with_two(two_models: Graph, tmp_path: Path) -> None:
    earlier = tune.run(context(two_models, tmp_path / "earlier", model_name="hgt"))
    assert {trial["model"] for trial in trials_of(tmp_path / "earlier")} == {"hgt"}
    inputs = {"previous": tmp_path / "earlier" / "output"}
    tune.run(context(two_models, tmp_path / "later", trials=2, inputs=inputs))
    later = trials_of(tmp_path / "later")
    assert [trial["model"] for trial in later] == ["hgt", "rgcn"]
    assert later[0]["hyperparameters"] == earlier["hyperparameters"]


def test_the_file_is_read_when_training_starts(graph: Graph, tmp_path: Path) -> None:
    _set(graph, "lr", range=[0.001, 0.001], default=0.001)
    tune.run(context(graph, tmp_path))
    assert {trial["hyperparameters"]["lr"] for trial in trials_of(tmp_path)} == {0.001}


def _set(graph: Graph, name: str, **changes: Any) -> None:
    path = graph.folder / "model-hpo-configuration.json"
    document = json.loads(path.read_text())
    for entry in document["models"][0]["1-tier-param"]:
        if entry["param"] == name:
            entry.update(changes)
    path.write_text(json.dumps(document))

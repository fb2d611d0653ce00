import json
from pathlib import Path
from typing import Any

import pytest
from tests.workloads.graph.custom.conftest import configuration

from modelyard.runner.context import InputError
from modelyard.workloads.graph.custom.configuration import Configuration, read_configuration
from modelyard.workloads.graph.data import Graph, Task

TOOLKIT = r"Validation ROC AUC Score: ([0-9\.]+) | Validation loss: [0-9\.]+"


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    return Graph(tmp_path, (), (), Task("node_class", "person", "group", ("a", "b")))


@pytest.fixture
def read(graph: Graph, tmp_path: Path) -> Any:
    def call(document: Any) -> Configuration:
        path = tmp_path / "model-hpo-configuration.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return read_configuration(path, graph)

    return call


def metric(**changes: Any) -> dict[str, Any]:
    usual: dict[str, Any] = configuration()["models"][0]["eval_metric"]
    return configuration(eval_metric={**usual, **changes})


def test_names_of_parameters_are_the_users_own(read: Any) -> None:
    found = read(configuration())
    assert [one.name for one in found.space.tuned(5)] == ["size"]
    assert found.space.constant(5) == {"lr": 0.01}
    assert (found.objective.metric, found.objective.sign) == ("SCORE", 1)


def test_an_alternative_without_a_group_gives_no_value(read: Any) -> None:
    objective = read(metric(metric_definitions=[{"Name": "SCORE", "Regex": TOOLKIT}])).objective
    assert list(objective.read("Validation ROC AUC Score: 0.75 | Validation loss: 0.5")) == [("SCORE", 0.75)]
    assert list(objective.read("x | Validation loss: 0.5")) == []


@pytest.mark.parametrize("said", ["nan", "inf", "1_0_", "", "0x1", "."])
def test_what_is_no_finite_number_gives_no_value(said: str, read: Any) -> None:
    objective = read(metric(metric_definitions=[{"Name": "SCORE", "Regex": "score: (.*)"}])).objective
    assert list(objective.read(f"score: {said}")) == []


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("{", "model-hpo-configuration.json is not JSON"),
        ("[" * 100_000, "model-hpo-configuration.json is not JSON"),
        ({"models": []}, "'models' must be a list of one object"),
        ({"models": configuration()["models"] * 2}, "'models' must be a list of exactly one object, not 2 entries"),
        (configuration(model="rgcn"), "'model' must be 'custom', not 'rgcn'"),
        (configuration(task_type="link_predict"), "task_type 'link_predict' does not fit"),
        (configuration(eval_metric={"metric": "acc"}), "'eval_metric' of a custom model must be"),
        (metric(metric_definitions=[]), "no metric_definitions has the Name 'SCORE'; no best model can be told"),
        (metric(tuning_objective={"MetricName": "SCORE", "Type": "Best"}), "Type must be Maximize or Minimize"),
        (metric(metric_definitions=[{"Name": "SCORE", "Regex": "("}]), "is not a regular expression of RE2"),
        (metric(metric_definitions=[{"Name": "SCORE", "Regex": "(?=x)(y)"}]), "is not a regular expression of RE2"),
        (metric(metric_definitions=[{"Name": "SCORE", "Regex": "[0-9]+"}]), "has no group (…) around the value"),
        (metric(metric_definitions=[{"Name": "SCORE"}]), "has no Name, or no Regex"),
        (metric(metric_definitions=["SCORE"]), "has no Name, or no Regex"),
        (metric(metric_definitions=[{"Name": "SCORE", "Regex": "(x)"}] * 41), "at most 40 metrics"),
    ],
)
def test_what_is_wrong_is_named(document: Any, reason: str, read: Any) -> None:
    with pytest.raises(InputError) as error:
        read(document)
    assert reason in str(error.value)

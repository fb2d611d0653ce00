import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelyard.runner.context import InputError
from modelyard.workloads.graph.data import Graph
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters
from modelyard.workloads.graph.training.search_space import (
    Options,
    Range,
    SearchSpace,
    default_configuration,
    read_search_spaces,
)


def entry(param: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"param": param, "type": kind, **more}


AWS_SAMPLE = {
    "model": "rgcn",
    "task_type": "node_class",
    "eval_metric": {"metric": "acc"},
    "eval_frequency": {"type": "evaluate_every_epoch", "value": 1},
    "1-tier-param": [
        entry("num-hidden", "int", range=[16, 128], inc_strategy="power2"),
        entry("num-epochs", "int", range=[3, 30], inc_strategy="linear", inc_val=1, node_strategy="perM"),
        entry("lr", "float", range=[0.001, 0.01], inc_strategy="log"),
    ],
    "2-tier-param": [
        entry("dropout", "float", range=[0.0, 0.5], inc_strategy="linear", default=0.3),
        entry("layer-norm", "bool", default=True),
    ],
    "3-tier-param": [
        entry("batch-size", "int", range=[128, 4096], inc_strategy="power2", default=1024),
        entry("fanout", "int", options=[[10, 30], [15, 30], [15, 30]], default=[10, 15, 15]),
        entry("num-layer", "int", range=[1, 3], inc_strategy="linear", inc_val=1, default=2),
        entry("num-bases", "int", range=[0, 8], inc_strategy="linear", inc_val=2, default=0),
    ],
    "fixed-param": [
        entry("concat-node-embed", "bool", default=True),
        entry("use-self-loop", "bool", default=True),
        entry("low-mem", "bool", default=True),
        entry("l2norm", "float", default=0),
    ],
}


@pytest.fixture
def graph(two_communities: Callable[..., Any], tmp_path: Path) -> Graph:
    graph: Graph = two_communities().write(tmp_path / "graph")
    return graph


def read(graph: Graph, model: dict[str, Any], name: str = "model-hpo-configuration.json") -> SearchSpace:
    (graph.folder / name).write_text(json.dumps({"models": [model]}))
    return read_search_spaces(graph.folder, graph)[0]


def test_the_sample_of_aws_is_taken_as_it_stands(graph: Graph) -> None:
    space = read(graph, AWS_SAMPLE)
    choices = {parameter.name: parameter.choice for parameter in space.parameters}
    assert choices["num-hidden"] == Options((16, 32, 64, 128))
    assert choices["num-epochs"] == Range(3, 30, integer=True, step=1)
    assert choices["lr"] == Range(0.001, 0.01, integer=False, log=True)
    assert choices["layer-norm"] == Options((True, False))
    assert choices["fanout"] == Options(([10, 30], [15, 30]))
    assert choices["num-bases"] == Range(0, 8, integer=True, step=2)
    assert choices["low-mem"] is None


@pytest.mark.parametrize(("trials", "tuned"), [(1, 3), (2, 3), (10, 3), (11, 5), (50, 5), (51, 9)])
def test_more_trials_tune_more_tiers(graph: Graph, trials: int, tuned: int) -> None:
    space = read(graph, AWS_SAMPLE)
    assert len(space.tuned(trials)) == tuned
    assert len(space.constant(trials)) == len(space.parameters) - tuned


def test_ranges_grow_with_the_graph(graph: Graph, made: type[Any], tmp_path: Path) -> None:
    from dataclasses import replace

    large = replace(graph, node_types=(replace(graph.node_types[0], num_nodes=5_400_000), graph.node_types[1]))
    (graph.folder / "model-hpo-configuration.json").write_text(json.dumps({"models": [AWS_SAMPLE]}))
    (space,) = read_search_spaces(graph.folder, large)
    assert {p.name: p.choice for p in space.parameters}["num-epochs"] == Range(15, 150, integer=True, step=1)


def test_either_spelling_of_the_name_is_read(graph: Graph) -> None:
    assert read(graph, AWS_SAMPLE, "model-HPO-configuration.json").model == "rgcn"


def test_the_model_of_an_edited_file_wins(graph: Graph) -> None:
    read(graph, AWS_SAMPLE)
    assert read_search_spaces(graph.folder, graph, "gpt")[0].model == "rgcn"
    read(graph, {name: value for name, value in AWS_SAMPLE.items() if name != "model"})
    with pytest.raises(InputError, match="model 'gpt' is not known"):
        read_search_spaces(graph.folder, graph, "gpt")


def test_the_file_that_processing_wrote_gives_way_to_the_model_of_the_request(graph: Graph) -> None:
    read(graph, default_configuration(graph)["models"][0])
    assert read_search_spaces(graph.folder, graph, "rgcn")[0].model == "rgcn"
    with pytest.raises(InputError, match="model 'gpt' is not known"):
        read_search_spaces(graph.folder, graph, "gpt")


def test_a_file_of_several_models_gives_a_search_over_all_or_the_named_one(graph: Graph) -> None:
    document = {"models": [AWS_SAMPLE, default_configuration(graph, "hgt")["models"][0]]}
    (graph.folder / "model-hpo-configuration.json").write_text(json.dumps(document))
    assert [space.model for space in read_search_spaces(graph.folder, graph)] == ["rgcn", "hgt"]
    assert [space.model for space in read_search_spaces(graph.folder, graph, "hgt")] == ["hgt"]
    assert [space.model for space in read_search_spaces(graph.folder, graph, "gcn")] == ["rgcn", "hgt"]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({}, "'models' has 'rgcn' 2 times; keep one"),
        ({"model": "hgt", "eval_metric": {"metric": "F1"}}, "eval_metric and eval_frequency must be the same"),
        ({"model": "gcn"}, "model 'gcn' takes graphs of one node type and one edge type, and this one has 2 and 2"),
    ],
)
def test_several_models_that_do_not_go_together_are_refused(graph: Graph, other: dict[str, Any], message: str) -> None:
    without_bases = {**AWS_SAMPLE, "3-tier-param": []}
    (graph.folder / "model-hpo-configuration.json").write_text(
        json.dumps({"models": [AWS_SAMPLE, without_bases | other]})
    )
    with pytest.raises(InputError, match=message):
        read_search_spaces(graph.folder, graph)


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"model": "gpt"}, "model 'gpt' is not known"),
    ({"task_type": "link_predict"}, "task_type 'link_predict' does not fit"),
    ({"eval_metric": {"metric": "mrr"}}, "eval_metric 'mrr' does not fit"),
    ({"eval_frequency": {"type": "hourly", "value": 1}}, "eval_frequency: type must be one of"),
    ({"eval_frequency": {"type": "evaluate_every_pct", "value": 2}}, "at most 1, not 2"),
    ({"1-tier-param": None}, "'1-tier-param' must be a list"),
    ({"1-tier-param": [entry("depth", "int", range=[1, 2])]}, "'depth' is not one of rgcn's"),
    ({"1-tier-param": [entry("gamma", "float", range=[1, 2])]}, "'gamma' is not one of rgcn's"),
    ({"1-tier-param": [entry("lr", "float", range=[0.1, 0.01])]}, r"'lr' in '1-tier-param': 'range' must be"),
    ({"1-tier-param": [entry("lr", "float", range=[0, 0.1], inc_strategy="log")]}, "needs a range above 0"),
    ({"1-tier-param": [entry("lr", "float", range=["a", 0.1])]}, "'range' must be"),
    ({"1-tier-param": [entry("lr", "number", range=[0.1, 0.2])]}, "'type' must be bool, int or float"),
    ({"1-tier-param": [entry("num-hidden", "int", range=[1.5, 9])]}, "must be integers"),
    ({"1-tier-param": [entry("num-hidden", "int", range=[33, 63], inc_strategy="power2")]}, "no power of 2"),
    ({"1-tier-param": [entry("num-hidden", "int", options=[16, "many"])]}, "'num-hidden' must be an integer"),
    ({"1-tier-param": [entry("num-hidden", "int", options=[])]}, "'options' must be a list with something"),
    ({"1-tier-param": [entry("num-hidden", "int")]}, "needs a 'range', 'options' or 'default'"),
    ({"1-tier-param": [entry("num-epochs", "int", range=[1, 9], node_strategy="perK")]}, "must be one of perM"),
    ({"2-tier-param": [entry("dropout", "float", range=[0, 1.5], default=0.1)]}, "'dropout' must be at least 0"),
    ({"2-tier-param": [entry("dropout", "float", range=[0, 0.5])]}, "needs a 'default'"),
    ({"fixed-param": [entry("lr", "float", default=0.1)]}, "'lr' stands in '1-tier-param' and again in"),
    ({"fixed-param": [entry("use-edge-features", "int", default=1)]}, "'use-edge-features' must be true or false"),
    ({"fixed-param": [entry("edge-num-hidden", "float", default=0)]}, "'edge-num-hidden' must be at least 1, not 0"),
]


@pytest.mark.parametrize(("change", "message"), FAULTS)
def test_what_is_wrong_is_named(graph: Graph, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        read(graph, AWS_SAMPLE | change)
    assert str(raised.value).startswith("model-hpo-configuration.json: ")


@pytest.mark.parametrize("text", ["{", "[]", '{"models": []}', '{"models": [{}, 3]}', '{"models": 3}'])
def test_a_file_that_is_no_configuration_is_refused(graph: Graph, text: str) -> None:
    (graph.folder / "model-hpo-configuration.json").write_text(text)
    with pytest.raises(InputError, match=r"model-hpo-configuration\.json"):
        read_search_spaces(graph.folder, graph)


def test_a_missing_file_is_refused(graph: Graph) -> None:
    with pytest.raises(InputError, match="is missing beside the processed graph"):
        read_search_spaces(graph.folder, graph)


@pytest.mark.parametrize("name", ["cora", "umls"])
def test_our_own_configuration_is_one_of_ours(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> None:
    graph: Graph = request.getfixturevalue(name)
    (tmp_path / "model-hpo-configuration.json").write_text(json.dumps(default_configuration(graph)))
    (space,) = read_search_spaces(tmp_path, graph)
    assert space.evaluation["metric"] == {"cora": "acc", "umls": "mrr"}[name]
    defaults = {parameter.name: parameter.default for parameter in space.parameters}
    assert None not in defaults.values()
    Hyperparameters.from_names(defaults, space.model)

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from tests.workloads.graph.training.test_tune import context

from modelyard.runner.context import Context, InputError
from modelyard.workloads.graph.data import TEST, TRAIN, VALID, Graph, Task
from modelyard.workloads.graph.inference import transform
from modelyard.workloads.graph.inference.serve import Model
from modelyard.workloads.graph.training import tune
from modelyard.workloads.graph.training.checkpoint import read_checkpoint
from modelyard.workloads.graph.training.embedding import restored
from modelyard.workloads.graph.training.search_space import default_configuration

PEOPLE, FILMS = 30, 12


@pytest.fixture
def graph(made: Any, tmp_path: Path) -> Graph:
    """People see the films of their own third, and know people of it; only what they see is to be predicted."""
    person, film = (part.ravel() for part in np.meshgrid(np.arange(PEOPLE), np.arange(FILMS)))
    sees = np.stack([person, film])[:, person % 3 == film % 3]
    edges = {
        ("person", "knows", "person"): np.stack([np.arange(PEOPLE), (np.arange(PEOPLE) + 3) % PEOPLE]),
        ("person", "sees", "film"): sees,
    }
    split = np.random.default_rng(0).permutation(np.resize([TRAIN] * 8 + [VALID, TEST], sees.shape[1]))
    graph: Graph = made(
        Task("link_predict"), {"person": PEOPLE, "film": FILMS}, edges, edge_split={("person", "sees", "film"): split}
    ).write(tmp_path / "graph")
    return graph


def searched(graph: Graph, folder: Path, model: str) -> Path:
    """A search of two short trials of a model; the folder of the best."""
    configuration = default_configuration(graph, model)
    for tier in ("1-tier-param", "2-tier-param"):
        for entry in configuration["models"][0][tier]:
            if entry["param"] == "num-epochs":
                entry.update(range=[5, 10], default=5)
    (graph.folder / "model-hpo-configuration.json").write_text(json.dumps(configuration))
    result = tune.run(context(graph, folder, trials=2))
    assert result["model"] == model
    return folder / "output"


def transformed(graph: Graph, model: Path, output: Path) -> dict[str, Any]:
    output.mkdir()
    return transform.run(Context({}, {"graph": graph.folder, "model": model}, output, output))


def ask(output: Path, mode: str, items: list[dict[str, str]], **parameters: Any) -> list[dict[str, Any]]:
    data = {"mode": mode, "data": {"globalParameters": parameters, "edges": items}}
    _, body = asyncio.run(Model(output).answer({}, json.dumps(data).encode()))
    answers: list[dict[str, Any]] = json.loads(body)["output"]
    return answers


@pytest.mark.parametrize("name", ["complex", "distmult", "rotate", "transe"])
def test_an_endpoint_answers_as_the_model_scores(graph: Graph, tmp_path: Path, name: str) -> None:
    model = searched(graph, tmp_path / "search", name)
    assert {"mrr", "HITS at top 10 (HITS@10)"} <= json.loads((model / "test_metrics_info.json").read_text()).keys()
    output = tmp_path / "output"
    assert transformed(graph, model, output)["nodes"] == PEOPLE + FILMS
    assert json.loads((output / "config.json").read_text())["model"] == name
    assert np.load(output / "embeddings" / "entity.npy").shape[0] == PEOPLE + FILMS

    trained, nodes = restored(read_checkpoint(model))
    with torch.no_grad():
        tails = trained.scores(trained.query(nodes[4:5], torch.tensor([1])), nodes[PEOPLE:])[0].softmax(0)
        heads = trained.scores(trained.query(nodes[PEOPLE + 2 :][:1], torch.tensor([3])), nodes[:PEOPLE])[0].softmax(0)
    for mode, item, expected, kind in (
        ("predict_tail", {"headNodeId": "person-4"}, tails, "film"),
        ("predict_head", {"tailNodeId": "film-2"}, heads, "person"),
    ):
        (answer,) = ask(output, mode, [item], topk=3, edgeType="sees")
        values, places = expected.topk(3)
        assert [one["value"] for one in answer["predictions"]] == [f"{kind}-{place}" for place in places.tolist()]
        assert [one["score"] for one in answer["predictions"]] == pytest.approx(values.tolist(), rel=1e-3)
    (near,) = ask(output, "embed_knn", [{"headNodeId": "person-4"}], topk=2)
    assert len(near["predictions"]) == 2
    assert len(pl.read_csv(output / "predictions.csv")) > 0


def test_a_node_that_was_not_in_training_is_refused(graph: Graph, made: Any, tmp_path: Path) -> None:
    model = searched(graph, tmp_path / "search", "distmult")
    pl.DataFrame({"id": [f"person-{n}" for n in range(PEOPLE - 1)] + ["newcomer"]}).write_parquet(graph.ids_path(0))
    with pytest.raises(InputError, match="1 nodes of type 'person' were not in training, the first is 'newcomer'"):
        transformed(graph, model, tmp_path / "output")


def test_a_node_that_is_not_known_has_an_error_of_its_own(graph: Graph, tmp_path: Path) -> None:
    output = tmp_path / "output"
    transformed(graph, searched(graph, tmp_path / "search", "complex"), output)
    known, unknown = ask(output, "predict_tail", [{"headNodeId": "person-1"}, {"headNodeId": "newcomer"}])
    assert known["predictions"]
    assert "no node 'newcomer' is in this model's graph" in unknown["error"]

"""Edge tasks from an export to answers: people rate films, some of them the wrong way round."""

import asyncio
import csv
import io
import json
import pickle
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.workloads.graph.exports import edge, feature, node, process, write
from tests.workloads.graph.training.test_tune import context

from modelyard.runner.context import Context, InputError
from modelyard.runner.serving import RequestError
from modelyard.workloads.graph.data import TEST, Graph, read_graph
from modelyard.workloads.graph.inference.edges import EdgeScores
from modelyard.workloads.graph.inference.serve import Model
from modelyard.workloads.graph.inference.transform import run as transform
from modelyard.workloads.graph.training import tune
from modelyard.workloads.graph.training.checkpoint import read_checkpoint
from modelyard.workloads.graph.training.objectives import objective_for

PEOPLE, FILMS, RATINGS = 80, 30, 1200


def rated(folder: Path, label: dict[str, Any], extra: str = "", people: int = PEOPLE, seed: int = 0) -> Path:
    """A person likes films of the own taste; a rating that is `odd` says the opposite, and only the edge tells so.

    Some pairs have several ratings, with different features.
    """
    random = np.random.default_rng(seed)
    taste, genre = random.integers(0, 2, people), random.integers(0, 2, FILMS)
    who, what = random.integers(0, PEOPLE, RATINGS), random.integers(0, FILMS, RATINGS)
    who[:100], what[:100] = who[100:200], what[100:200]
    odd = random.integers(0, 2, RATINGS)
    likes = (taste[who] == genre[what]) ^ (odd == 1)
    stars = np.where(likes, 4, 2) + random.normal(size=RATINGS) * 0.1
    tags = np.where(likes, np.where(odd, "good;odd", "good"), np.where(odd, "bad;odd", "bad"))
    rows = [
        f"p{a},f{b},{30 + 5 * o:.1f},{'good' if like else 'bad'},{star:.3f},{tag}\n"
        for a, b, o, like, star, tag in zip(who, what, odd, likes, stars, tags, strict=True)
    ]
    files = {
        "p.csv": "~id,taste\n" + "".join(f"p{n},{t + random.normal() * 0.2:.3f}\n" for n, t in enumerate(taste)),
        "f.csv": "~id,genre\n" + "".join(f"f{n},{'drama' if g else 'comedy'}\n" for n, g in enumerate(genre)),
        "r.csv": "~from,~to,odd,verdict,stars,tags\n" + "".join(rows) + extra,
    }
    nodes = [
        node("p.csv", "person", [feature("taste", "numerical", norm="none")]),
        node("f.csv", "film", [feature("genre", "category")]),
    ]
    edges = [edge("r.csv", "person", "rated", "film", [feature("odd", "numerical", norm="none")], [label])]
    return write(folder, files, nodes, edges)


VERDICT = {"label": ["verdict", "classification"], "split_rate": [0.7, 0.1, 0.2]}
STARS = {"label": ["stars", "regression"], "split_rate": [0.7, 0.1, 0.2]}
TAGS = {"label": ["tags", "classification"], "separator": ";", "split_rate": [0.7, 0.1, 0.2]}


def trained(folder: Path, label: dict[str, Any], **settings: Any) -> tuple[Graph, Path]:
    """The processed graph, and the output of a search of one trial; `settings` are defaults to change."""
    graph, _ = process(rated(folder / "export", label), folder / "graph")
    path = graph.folder / "model-hpo-configuration.json"
    document = json.loads(path.read_text())
    for entry in (one for entries in document["models"][0].values() if isinstance(entries, list) for one in entries):
        if (name := entry["param"].replace("-", "_")) in settings:
            entry.update({"default": settings.pop(name)})
    assert not settings
    path.write_text(json.dumps(document))
    job = context(graph, folder / "job", trials=1)
    tune.run(job)
    return graph, job.output


def transformed(graph: Graph, model: Path, output: Path) -> Path:
    output.mkdir()
    transform(Context({}, {"graph": graph.folder, "model": model}, output, output))
    return output


def ask(output: Path, **document: Any) -> list[dict[str, Any]]:
    _, answer = asyncio.run(Model(output).answer({}, json.dumps(document).encode()))
    found: list[dict[str, Any]] = json.loads(answer)["output"]
    return found


def table(output: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((output / "predictions.csv").read_text())))


def pairs_of(rows: list[dict[str, str]]) -> dict[tuple[str, str], list[dict[str, str]]]:
    found = defaultdict(list)
    for row in rows:
        found[row["head"], row["tail"]].append(row)
    return found


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Graph, Path, Path]:
    folder = tmp_path_factory.mktemp("verdicts")
    graph, model = trained(folder, VERDICT)
    return graph, model, transformed(graph, model, folder / "output")


Chain = tuple[Graph, Path, Path]


def test_what_only_an_edge_tells_is_learned(chain: Chain) -> None:
    graph, model, output = chain
    report = json.loads((model / "test_metrics_info.json").read_text())
    assert report["accuracy"] >= 0.93
    assert (output / "test_metrics_info.json").exists()
    tested = [row for row in table(output) if row["split"] == "test"]
    assert len(tested) == int((graph.edges(0)["split"] == TEST).sum())
    right = np.mean([row["prediction"] == row["label"] for row in tested])
    assert right == pytest.approx(report["accuracy"], abs=1e-9)


def test_answers_are_the_models_own(chain: Chain) -> None:
    graph, model, output = chain
    checkpoint = read_checkpoint(model)
    objective = objective_for(graph, checkpoint.hyperparameters, torch.device("cpu"))
    checkpoint.restore(objective.decoder)
    embeddings = torch.from_numpy(np.load(output / "embeddings" / "entity.npy"))
    assert objective.decoder is not None
    with torch.no_grad():
        raw = objective.raw(embeddings, torch.arange(RATINGS))
    expected = raw.softmax(1).numpy()
    scores = [float(row["score"]) for row in table(output)]
    np.testing.assert_allclose(scores, expected.max(1), rtol=1e-4)
    rows = pairs_of([{**row, "place": str(place)} for place, row in enumerate(table(output))])
    items = [{"headNodeId": head, "tailNodeId": tail} for head, tail in rows]
    parameters = {"topk": 2, "edgeType": "rated", "property": "verdict"}
    answers = ask(output, version="v1", data={"globalParameters": parameters, "edges": items})
    assert [tuple(answer["id"]) for answer in answers] == list(rows)
    for answer, same in zip(answers, rows.values(), strict=True):
        mean = expected[[int(row["place"]) for row in same]].mean(0)
        said = {one["value"]: one["score"] for one in answer["predictions"]}
        np.testing.assert_allclose([said["bad"], said["good"]], mean, atol=1e-5)
        assert answer["predictions"][0]["score"] >= answer["predictions"][1]["score"]
    assert max(map(len, rows.values())) > 1


def test_a_pair_without_an_edge_is_answered_and_an_unknown_node_is_told(chain: Chain) -> None:
    graph, _, output = chain
    there = set(pairs_of(table(output)))
    head, tail = next(
        (f"p{p}", f"f{f}") for p in range(PEOPLE) for f in range(FILMS) if (f"p{p}", f"f{f}") not in there
    )
    items = [(head, tail), ("nobody", "f1"), ("p1", "nothing"), ("f1", "p1")]
    asked = [{"headNodeId": one, "tailNodeId": other} for one, other in items]
    answers = ask(output, mode="predict_edge", data={"edges": asked})
    assert answers[0]["predictions"][0]["value"] in graph.task.classes
    assert [answer["id"] for answer in answers] == [list(one) for one in items]
    assert [answer.get("error") for answer in answers[1:]] == [
        "no node 'nobody' is in this model's graph, of type person",
        "no node 'nothing' is in this model's graph, of type film",
        "no node 'f1' is in this model's graph, of type person",
    ]
    assert ask(output, data={"edges": asked[1:2]})[0]["predictions"] == []
    assert ask(output, data={"edges": []}) == []
    neighbours = ask(output, mode="embed_knn", data={"nodes": ["f1"], "globalParameters": {"topk": 3}})
    assert len(neighbours[0]["predictions"]) == 3


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"data": {"edges": [{"headNodeId": "p1"}]}}, "item 0 needs a headNodeId and a tailNodeId"),
        ({"data": {"edges": ["p1"]}}, "item 0 needs a headNodeId and a tailNodeId"),
        ({"data": {"edges": [{"headNodeId": "p1", "tailNodeId": {}}]}}, "must be a string or a whole number"),
        ({"property": "stars"}, "this endpoint predicts 'verdict', not 'stars'"),
        ({"edgeType": "saw"}, "no edgeType 'saw'; this endpoint predicts 'rated'"),
        ({"headNodeType": "film"}, "headNodeType 'film' does not fit the edgeType; it can be 'person'"),
        ({"mode": "predict_tail"}, "mode is 'predict_tail'; for the task edge_class it can be embed_knn"),
    ],
)
def test_a_wrong_request_is_told(chain: Chain, document: dict[str, Any], message: str) -> None:
    data = {"edges": [{"headNodeId": "p1", "tailNodeId": "f1"}]}
    with pytest.raises(RequestError, match=message):
        ask(chain[2], **{"data": data, **document})


def test_helpers_find_the_edge_type(chain: Chain) -> None:
    _, _, output = chain
    mapping = pickle.loads((output / "mapping.info").read_bytes())
    key = ("person", "rated", "film")
    assert (mapping["target_etype"], mapping["target_etype_property"]) == (key, "verdict")
    assert mapping["label_map"] == {key: {0: "bad", 1: "good"}}
    config = json.loads((output / "config.json").read_text())
    assert (config["task"], config["property"], config["target_etype"]) == ("edge_class", "verdict", list(key))
    assert not (output / "predictions" / "result.npz").exists()


def test_a_newer_graph_is_answered_by_the_same_model(chain: Chain, tmp_path: Path) -> None:
    graph, model, _ = chain
    extra = "p80,f0,30.0,,,\np80,f1,35.0,,,\n"
    export = rated(tmp_path / "export", VERDICT)
    (export / "p.csv").write_text((export / "p.csv").read_text() + "p80,0.0\n")
    (export / "r.csv").write_text((export / "r.csv").read_text() + extra)
    newer, _ = process(export, tmp_path / "graph", graph.folder)
    assert newer.edges(0)["labels"][-2:].tolist() == [-1, -1]
    assert np.array_equal(newer.edges(0)["split"][:-2], graph.edges(0)["split"])
    output = transformed(newer, model, tmp_path / "output")
    genres = dict(line.split(",") for line in (export / "f.csv").read_text().split()[1:])
    plain, odd = table(output)[-2:]
    assert plain["prediction"] == ("good" if genres["f0"] == "comedy" else "bad")
    assert odd["prediction"] == ("bad" if genres["f1"] == "comedy" else "good")
    assert (plain["label"], plain["split"]) == ("", "")


def test_other_edge_features_are_refused(chain: Chain, tmp_path: Path) -> None:
    _, model, _ = chain
    export = rated(tmp_path / "export", VERDICT)
    configuration = export / "training-data-configuration.json"
    document = json.loads(configuration.read_text())
    document["graph"]["edges"][0]["features"] = []
    configuration.write_text(json.dumps(document))
    other, _ = process(export, tmp_path / "graph")
    with pytest.raises(InputError, match=r"features of edges 'rated' have \[0\] columns, and had \[1\]"):
        transformed(other, model, tmp_path / "output")


def test_numbers_are_in_the_labels_own_unit(tmp_path: Path) -> None:
    graph, model = trained(tmp_path, STARS)
    report = json.loads((model / "test_metrics_info.json").read_text())
    assert report["r2"] >= 0.8
    output = transformed(graph, model, tmp_path / "output")
    tested = [row for row in table(output) if row["split"] == "test"]
    errors = [float(row["prediction"]) - float(row["label"]) for row in tested]
    assert np.mean(np.square(errors)) == pytest.approx(report["mse"], rel=1e-3)
    (pair, rows), *_ = pairs_of(table(output)).items()
    answer = ask(output, data={"edges": [{"headNodeId": pair[0], "tailNodeId": pair[1]}]})[0]
    mean = np.mean([float(row["prediction"]) for row in rows])
    assert answer["predictions"] == [{"value": pytest.approx(mean, abs=1e-3), "score": None}]


def test_several_labels_of_an_edge(tmp_path: Path) -> None:
    graph, model = trained(tmp_path, TAGS)
    assert read_graph(graph.folder).task.multilabel
    report = json.loads((model / "test_metrics_info.json").read_text())
    assert report["accuracy"] >= 0.85
    output = transformed(graph, model, tmp_path / "output")
    tested = [row for row in table(output) if row["split"] == "test"]
    assert np.mean([row["prediction"] == row["label"] for row in tested]) == pytest.approx(report["accuracy"])
    assert "good;odd" in {row["prediction"] for row in tested}


def test_features_of_edges_in_messages_go_the_whole_way(tmp_path: Path) -> None:
    graph, model = trained(tmp_path, VERDICT, use_edge_features=True)
    checkpoint = read_checkpoint(model)
    assert checkpoint.dimensions.edge_parts == ((0, 1), (1, 1))
    report = json.loads((model / "test_metrics_info.json").read_text())
    assert report["accuracy"] >= 0.9
    output = transformed(graph, model, tmp_path / "output")
    tested = [row for row in table(output) if row["split"] == "test"]
    right = np.mean([row["prediction"] == row["label"] for row in tested])
    assert right == pytest.approx(report["accuracy"], abs=1e-9)


def test_pairs_are_scored_in_pieces(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, output = chain
    nodes = np.load(output / "embeddings" / "entity.npy")
    scores = EdgeScores(output / "serving" / "edges", nodes[:PEOPLE], nodes[PEOPLE:])
    head, tail = np.divmod(np.arange(PEOPLE * FILMS), FILMS)
    whole = scores.of(head, tail)
    monkeypatch.setattr("modelyard.workloads.graph.inference.edges._AT_ONCE", 7)
    np.testing.assert_allclose(scores.of(head, tail), whole, rtol=1e-3, atol=1e-5)
    assert scores.of(head[:0], tail[:0]).shape == (0, 2)

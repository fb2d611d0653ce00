import asyncio
import csv
import io
import json
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from modelyard.runner.context import Context, InputError, Stopped
from modelyard.workloads.graph.data import Graph, Task, read_graph
from modelyard.workloads.graph.inference.serve import Model
from modelyard.workloads.graph.inference.transform import on_graph, run
from modelyard.workloads.graph.models.distmult import DistMult
from modelyard.workloads.graph.training.adjacency import build_adjacency, decide_relations
from modelyard.workloads.graph.training.checkpoint import read_checkpoint, write_checkpoint
from modelyard.workloads.graph.training.evaluation import Evaluation
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters
from modelyard.workloads.graph.training.tensors import graph_tensors
from modelyard.workloads.graph.training.train import fit
from modelyard.workloads.graph.training.trained_on import write_trained_on

Communities = Callable[..., Any]
Transformed = Callable[..., Path]

_SMALL = Hyperparameters(num_hidden=8, num_epochs=15, lr=0.03, enable_early_stop=False)


@pytest.fixture
def transformed(tmp_path: Path) -> Transformed:
    """Trains a small model on a graph and transforms that graph, or a newer one; gives the output folder."""

    def _transformed(graph: Graph, metric: str, newer: Graph | None = None, settings: Hyperparameters = _SMALL) -> Path:
        model, output = tmp_path / "model", tmp_path / "output"
        output.mkdir()
        if not model.exists():
            adjacency = build_adjacency(graph, decide_relations(graph))
            checkpoint, _ = fit(graph, adjacency, settings, Evaluation(metric))
            write_checkpoint(checkpoint, model)
            write_trained_on(graph, range(len(graph.node_types)), model)
            (model / "eval_metrics_info.json").write_text('{"accuracy": 0.5}')
        run(Context({}, {"graph": (newer or graph).folder, "model": model}, tmp_path, output))
        return output

    return _transformed


def _vectors(model: Path, graph: Graph) -> torch.Tensor:
    checkpoint = read_checkpoint(model)
    with torch.no_grad():
        vectors: torch.Tensor = checkpoint.restore()(
            graph_tensors(graph, build_adjacency(graph, checkpoint.relations))
        )[0]
    return vectors


def _ask(output: Path, **document: Any) -> list[dict[str, Any]]:
    _, answer = asyncio.run(Model(output).answer({}, json.dumps(document).encode()))
    predictions: list[dict[str, Any]] = json.loads(answer)["output"]
    return predictions


def _table(output: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((output / "predictions.csv").read_text())))


class _Cautious(pickle.Unpickler):
    """Accepts what graph-notebook's restricted unpickler accepts."""

    def find_class(self, module: str, name: str) -> Any:
        assert module.startswith("numpy")
        assert name in {"ndarray", "dtype", "_reconstruct", "scalar", "array"}
        return super().find_class(module, name)


def _mapping(output: Path) -> dict[str, Any]:
    with (output / "mapping.info").open("rb") as file:
        mapping: dict[str, Any] = _Cautious(file).load()
    return mapping


class TestClassification:
    @pytest.fixture
    def graph(self, two_communities: Communities, tmp_path: Path) -> Graph:
        made: Graph = two_communities().write(tmp_path / "graph")
        return made

    def test_scores_are_the_models_probabilities_everywhere(self, graph: Graph, transformed: Transformed) -> None:
        output = transformed(graph, "acc")
        expected = _vectors(output.parent / "model", graph)[:200].softmax(1).numpy()
        scores = np.load(output / "predictions" / "result.npz")["infer_scores"]
        np.testing.assert_allclose(scores, expected, rtol=1e-5)
        rows, best = _table(output), expected.argmax(1)
        assert [row["id"] for row in rows] == [f"person-{n}" for n in range(200)]
        assert [row["prediction"] for row in rows] == ["ab"[place] for place in best]
        answers = _ask(output, data={"nodes": [row["id"] for row in rows]})
        assert [answer["predictions"][0]["value"] for answer in answers] == [row["prediction"] for row in rows]
        served = [answer["predictions"][0]["score"] for answer in answers]
        np.testing.assert_allclose(served, expected.max(1), rtol=1e-5)

    def test_known_labels_and_splits_stand_beside_predictions(self, graph: Graph, transformed: Transformed) -> None:
        rows = _table(transformed(graph, "acc"))
        labels, split = graph.labels()["labels"], graph.labels()["split"]
        assert [row["label"] for row in rows] == ["" if label < 0 else "ab"[label] for label in labels]
        assert [row["split"] for row in rows] == [["", "train", "valid", "test"][one] for one in split]
        right = [row["label"] == row["prediction"] for row in rows if row["split"] == "test"]
        assert np.mean(right) > 0.7

    def test_helpers_find_what_they_read(self, graph: Graph, transformed: Transformed) -> None:
        output = transformed(graph, "acc")
        mapping = _mapping(output)
        assert mapping["node2id"]["person"]["person-17"] == 17
        assert mapping["node2gid"]["good"].tolist() == list(range(200, 220))
        assert mapping["label_map"] == {"person": {0: "a", 1: "b"}}
        assert mapping["nodetype2id_map"] == {"person": 0, "good": 1}
        assert (mapping["target_ntype"], mapping["target_ntype_property"]) == ("person", "group")
        assert np.load(output / "embeddings" / "entity.npy").shape == (220, 8)
        assert json.loads((output / "eval_metrics_info.json").read_text()) == {"accuracy": 0.5}
        assert not (output / "test_metrics_info.json").exists()
        assert json.loads((output / "config.json").read_text()) == {
            "task": "node_class",
            "model": "rgcn",
            "name": "node_class-rgcn",
            "infer_type": "online-transductive-infer",
            "property": "group",
            "target_ntype": "person",
        }
        assert set(json.loads((output / "infer_instance_recommendation.json").read_text())) == {
            "instance",
            "disk_size",
            "mem_size",
        }

    def test_the_package_holds_the_model(self, graph: Graph, transformed: Transformed, tmp_path: Path) -> None:
        with tarfile.open(transformed(graph, "acc") / "model.tar.gz") as archive:
            assert set(archive.getnames()) == {"model.json", "model.safetensors", "trained_on.json", "config.json"}
            archive.extractall(tmp_path / "unpacked", filter="data")
        packed, trained = read_checkpoint(tmp_path / "unpacked"), read_checkpoint(tmp_path / "model")
        assert all(torch.equal(packed.weights[name], value) for name, value in trained.weights.items())

    def test_a_newer_graph_keeps_embeddings_by_id_and_gives_new_nodes_the_mean(
        self, two_communities: Communities, graph: Graph, transformed: Transformed, tmp_path: Path
    ) -> None:
        made = two_communities()
        made.nodes["good"] = 22
        made.edges["person", "buys", "good"] = np.append(made.edges["person", "buys", "good"], [[0], [21]], axis=1)
        newer = made.write(tmp_path / "newer")
        order = np.random.default_rng(0).permutation(22)
        made_ids = [f"good-{row}" for row in order]
        pl.DataFrame({"id": made_ids}).write_parquet(newer.ids_path(1))
        output = transformed(graph, "acc", newer)
        trained = read_checkpoint(tmp_path / "model")
        learned = trained.weights["model.encoder.embeddings.1"]
        fitted, added = on_graph(trained, newer, tmp_path / "model")
        placed = fitted.weights["model.encoder.embeddings.1"]
        assert added == {"good": 2}
        for row, old in enumerate(order):
            assert torch.equal(placed[row], learned[old] if old < 20 else learned.mean(0))
        assert np.load(output / "embeddings" / "entity.npy").shape == (222, 8)
        assert len(_ask(output, mode="embed_knn", data={"nodes": ["good-21"]})[0]["predictions"]) == 1

    def test_other_features_are_refused(
        self, two_communities: Communities, graph: Graph, transformed: Transformed, tmp_path: Path
    ) -> None:
        made = two_communities()
        made.features["person"] = [np.zeros((200, 5), np.float32)]
        with pytest.raises(InputError, match=r"features of node type 'person' have \[5\] columns, and had \[3\]"):
            transformed(graph, "acc", made.write(tmp_path / "other"))

    def test_a_stop_ends_it(self, graph: Graph, transformed: Transformed, tmp_path: Path) -> None:
        transformed(graph, "acc")
        again = tmp_path / "again"
        again.mkdir()
        inputs = {"graph": graph.folder, "model": tmp_path / "model"}
        with pytest.raises(Stopped):
            run(Context({}, inputs, tmp_path, again, should_stop=lambda: True))

    def test_hostile_names_stay_one_cell(
        self, two_communities: Communities, transformed: Transformed, tmp_path: Path
    ) -> None:
        made = two_communities()
        made.task = Task("node_class", "person", "group", ('=1+1,"x"', "b\nc"))
        graph = made.write(tmp_path / "graph")
        odd = ["=HYPERLINK()", 'a,"b"', "line\nbreak", "", "ünï"] + [f"p{n}" for n in range(195)]
        pl.DataFrame({"id": odd}).write_parquet(graph.ids_path(0))
        rows = _table(transformed(graph, "acc"))
        assert [row["id"] for row in rows] == odd
        assert {row["prediction"] for row in rows} <= set(made.task.classes)


def test_several_labels_share_a_cell(two_communities: Communities, transformed: Transformed, tmp_path: Path) -> None:
    made = two_communities()
    group = np.where(made.labels < 0, 0, made.labels)
    made.labels = np.stack([group == 0, group == 1, np.ones(200)], axis=1).astype(np.uint8)
    made.task = Task("node_class", "person", "groups", ("a", "b", "all"), multilabel=True)
    graph = made.write(tmp_path / "graph")
    output = transformed(graph, "F1")
    expected = _vectors(output.parent / "model", graph)[:200].sigmoid().numpy()
    np.testing.assert_allclose(np.load(output / "predictions" / "result.npz")["infer_scores"], expected, rtol=1e-5)
    rows = _table(output)
    names = np.array(made.task.classes)
    assert [row["prediction"] for row in rows] == [";".join(names[one > 0.5]) for one in expected]
    assert [row["label"] for row in rows] == [";".join(names[one > 0]) for one in made.labels]
    (answer,) = _ask(output, data={"globalParameters": {"topk": 3}, "nodes": ["person-0"]})
    np.testing.assert_allclose([one["score"] for one in answer["predictions"]], sorted(expected[0])[::-1], rtol=1e-5)


def test_a_regression_predicts_in_the_labels_unit(
    two_communities: Communities, transformed: Transformed, tmp_path: Path
) -> None:
    made = two_communities()
    made.task = Task("node_regression", "person", "age")
    made.labels = (np.where(made.labels < 0, np.nan, made.labels) * 40 + 20).astype(np.float32)
    output = transformed(made.write(tmp_path / "graph"), "mse")
    rows = _table(output)
    known = [(float(row["prediction"]), float(row["label"])) for row in rows if row["split"] == "train"]
    assert np.corrcoef(np.array(known).T)[0, 1] > 0.5
    assert 20 < np.mean([prediction for prediction, _ in known]) < 60
    assert {row["label"] for row in rows if row["split"] == ""} == {""}
    (answer,) = _ask(output, data={"nodes": ["person-3"]})
    assert answer["predictions"][0]["value"] == pytest.approx(float(rows[3]["prediction"]))


class TestLinks:
    @pytest.fixture
    def output(self, two_communities: Communities, transformed: Transformed, tmp_path: Path) -> Path:
        made = two_communities()
        made.task = Task("link_predict")
        made.labels = None
        random = np.random.default_rng(0)
        made.edge_split = {key: random.choice([1, 1, 1, 2, 3], one.shape[1]) for key, one in made.edges.items()}
        return transformed(made.write(tmp_path / "graph"), "mrr")

    @pytest.mark.parametrize(
        ("mode", "item", "edge_type", "question", "near", "far"),
        [
            ("predict_tail", "person-5", "buys", 1, 5, slice(200, 220)),
            ("predict_head", "good-5", "buys", 3, 205, slice(0, 200)),
            ("predict_tail", "person-7", "knows", 0, 7, slice(0, 200)),
            ("predict_head", "person-7", "knows", 2, 7, slice(0, 200)),
        ],
    )
    def test_the_endpoint_scores_as_training_does(
        self, output: Path, mode: str, item: str, edge_type: str, question: int, near: int, far: slice
    ) -> None:
        graph, model = read_graph(output.parent / "graph"), output.parent / "model"
        decoder = DistMult(2, 8)
        checkpoint = read_checkpoint(model)
        checkpoint.restore(decoder)
        vectors = _vectors(model, graph)
        with torch.no_grad():
            expected = (decoder.query(vectors[[near]], torch.tensor([question])) @ vectors[far].T).softmax(1)[0]
        parameters = {"topk": 100, "edgeType": edge_type}
        (answer,) = _ask(output, mode=mode, data={"globalParameters": parameters, "edges": [item]})
        names = [one["value"] for one in answer["predictions"]]
        scores = torch.tensor([one["score"] for one in answer["predictions"]])
        torch.testing.assert_close(scores, expected.sort(descending=True).values[:100], rtol=1e-4, atol=1e-7)
        places = torch.tensor([int(name.split("-")[1]) for name in names])
        torch.testing.assert_close(expected[places], scores, rtol=1e-4, atol=1e-7)

    def test_a_mask_hides_training_links_and_no_others(self, output: Path) -> None:
        arrays = read_graph(output.parent / "graph").edges(1)
        asked = {"topk": 100, "edgeType": "buys", "tailNodeType": "good"}
        people = [f"person-{row}" for row in range(200)]
        masked = _ask(
            output, mode="predict_tail", data={"globalParameters": asked | {"exclude_flag": "mask"}, "edges": people}
        )
        everything = _ask(output, mode="predict_tail", data={"globalParameters": asked, "edges": people})
        assert all(len(answer["predictions"]) == 20 for answer in everything)
        for (head, tail), split in zip(arrays["edge_index"].T, arrays["split"], strict=True):
            listed = {one["value"] for one in masked[head]["predictions"]}
            assert (f"good-{tail}" in listed) == (split != 1)

    def test_the_table_lists_new_tails_only(self, output: Path) -> None:
        graph = read_graph(output.parent / "graph")
        linked = {
            (f"person-{head}", relation, f"{name}-{tail}")
            for number, (relation, name) in enumerate([("knows", "person"), ("buys", "good")])
            for head, tail in graph.edges(number)["edge_index"].T
        }
        rows = _table(output)
        assert len(rows) == 2 * 200 * 10
        assert not linked & {(row["head"], row["relation"], row["tail"]) for row in rows}
        first = [float(row["score"]) for row in rows[:10]]
        assert first == sorted(first, reverse=True)

    def test_relations_are_written_without_their_reverses(self, output: Path) -> None:
        assert np.load(output / "embeddings" / "relation.npy").shape == (2, 8)
        mapping = _mapping(output)
        assert mapping["relation2id_map"] == {"knows": 0, "buys": 1}
        assert mapping["label_map"] == {}
        assert not (output / "predictions").exists()


def test_a_large_table_of_links_is_cut(
    two_communities: Communities, transformed: Transformed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelyard.workloads.graph.inference.predictions.MAX_ROWS", 500)
    made = two_communities()
    made.task, made.labels = Task("link_predict"), None
    made.edge_split = {("person", "buys", "good"): np.tile([1, 1, 1, 2], 50)}
    assert len(_table(transformed(made.write(tmp_path / "graph"), "mrr"))) == 500

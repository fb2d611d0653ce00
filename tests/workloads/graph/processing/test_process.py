import json
import pickle
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.workloads.graph.exports import edge, feature, node, process, real, write

from modelyard.runner.context import Context, InputError, Stopped
from modelyard.workloads.graph.data import NONE, TEST, TRAIN, VALID, read_graph
from modelyard.workloads.graph.models import registry
from modelyard.workloads.graph.processing.process import run


def small(folder: Path, people: str, knows: str, **label: Any) -> Path:
    labels = [{"label": ["tier", "classification"], **label}]
    features = [feature("age", "numerical"), feature("town", "category"), feature("note", "auto")]
    return write(
        folder,
        {"p.csv": "~id,age,town,note,tier\n" + people, "k.csv": "~from,~to\n" + knows},
        [node("p.csv", "p", features, labels)],
        [edge("k.csv", "p", "k", "p")],
    )


PEOPLE = "a,10,x,2,gold\nb,20,y,3,base\nc,30,x,5,gold\nd,20,y,4,base\n"


def test_cora(tmp_path: Path) -> None:
    graph, result = process(real("cora"), tmp_path / "out")
    (words,) = graph.node_types[0].features
    arrays, labels = graph.features(0), graph.labels()
    assert result["nodes"] == {"paper": 2708}
    assert result["edges"] == {"paper-cites-paper": 10556}
    assert result["split"] == {"train": 140, "valid": 500, "test": 1000}
    assert (words.dim, words.sparse) == (1433, True)
    assert len(arrays["0.values"]) == 49216
    assert set(arrays["0.values"].tolist()) == {1.0}
    assert graph.task.classes == tuple(f"t{n}" for n in range(7))
    assert np.bincount(labels["labels"][labels["split"] == TRAIN]).tolist() == [20] * 7
    first = next(line.split(",") for line in (real("cora") / "nodes" / "paper.csv").read_text().splitlines()[1:])
    row = arrays["0.indices"][: arrays["0.indptr"][1]]
    assert row.tolist() == [n for n, value in enumerate(first[3].split(";")) if value == "1"]
    search = json.loads((tmp_path / "out" / "model-hpo-configuration.json").read_text())
    assert search["models"][0]["task_type"] == "node_class"


def test_umls(tmp_path: Path) -> None:
    graph, result = process(real("umls"), tmp_path / "out", model_type="heterogeneous")
    assert result["nodes"] == {"entity": 135}
    assert len(graph.edge_types) == 46
    assert all(kind.target for kind in graph.edge_types)
    assert result["split"] == {"train": 5216, "valid": 652, "test": 661}
    ids = pl.read_parquet(graph.ids_path(0))["id"].to_list()
    number = [kind.relation for kind in graph.edge_types].index("isa")
    arrays = graph.edges(number)
    tests = {(ids[a], ids[b]) for a, b in arrays["edge_index"].T[arrays["split"] == TEST].tolist()}
    rows = (real("umls") / "splits" / "isa-test.csv").read_text().splitlines()[1:]
    assert tests == {tuple(row.split(",")) for row in rows}
    assert not any((graph.edges(n)["split"] == NONE).any() for n in range(46))


def test_what_lies_in_the_output(tmp_path: Path) -> None:
    export = small(tmp_path / "in", PEOPLE, "a,b\nb,c\n")
    graph, _ = process(export, tmp_path / "out")
    out = tmp_path / "out"
    templates = {path.name: path.read_text() for path in (out / "hpo-configuration-templates").iterdir()}
    assert set(templates) == {f"{model}.json" for model in registry.fitting(graph)}
    default = next(registry.fitting(graph))
    assert templates[f"{default}.json"] == (out / "model-hpo-configuration.json").read_text()
    files = [path.relative_to(out) for path in out.rglob("*") if path.is_file()]
    assert sorted(str(path) for path in files if path.parts[0] != "hpo-configuration-templates") == [
        "edges/0.safetensors",
        "encoders.json",
        "graph.json",
        "info.pkl",
        "labels.safetensors",
        "model-hpo-configuration.json",
        "nodes/0/features.safetensors",
        "nodes/0/ids.parquet",
        "train_instance_recommendation.json",
        "training-data-configuration.json",
    ]
    assert json.loads((out / "training-data-configuration.json").read_text())["version"] == "v2.0"
    assert pickle.loads((out / "info.pkl").read_bytes()) == {
        "node_id_map": {"p": {"a": 0, "b": 1, "c": 2, "d": 3}},
        "label_map": {"p": {0: "base", 1: "gold"}},
        "label_properties": {"p": "tier"},
        "is_multilabel": False,
        "node_feat_meta": {
            "p": {feature.name: {"type": feature.type, "dim": feature.dim} for feature in graph.node_types[0].features}
        },
        "edge_feat_meta": {"p-k-p": {}},
    }
    recommendation = json.loads((out / "train_instance_recommendation.json").read_text())
    assert recommendation == {
        "instance": "ml.g5.2xlarge",
        "cpu_instance": "ml.m5.xlarge",
        "disk_size": 1,
        "mem_size": 1,
    }


def test_a_configuration_of_another_name(tmp_path: Path) -> None:
    export = small(tmp_path / "in", PEOPLE, "a,b\n")
    (export / "training-data-configuration.json").rename(export / "other.json")
    _, result = process(export, tmp_path / "out", configuration="other.json")
    assert result["nodes"] == {"p": 4}
    assert (tmp_path / "out" / "training-data-configuration.json").exists()


@pytest.mark.parametrize(
    ("model_type", "message"),
    [
        ("kge", "modelType: kge learns which links there are, and this task is node_class"),
        ("gcn", "unknown value 'gcn'"),
    ],
)
def test_model_types_that_do_not_fit(tmp_path: Path, model_type: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        process(small(tmp_path / "in", PEOPLE, "a,b\n"), tmp_path / "out", model_type=model_type)


@pytest.mark.parametrize(
    ("features", "asked", "found", "default"),
    [
        ([], None, "kge", "complex"),
        ([], "heterogeneous", "heterogeneous", "rgcn"),
        ([feature("age", "numerical")], None, "heterogeneous", "rgcn"),
        ([feature("age", "numerical")], "kge", "kge", "complex"),
    ],
)
def test_embedding_models_are_for_links_among_nodes_without_features(
    tmp_path: Path, features: list[Any], asked: str | None, found: str, default: str
) -> None:
    files = {"p.csv": "~id,age\n" + "".join(f"n{n},{n}\n" for n in range(20)), "e.csv": "~from,~to\n"}
    files["e.csv"] += "".join(f"n{n},n{(n * 7 + 1) % 20}\n" for n in range(20))
    export = write(tmp_path / "in", files, [node("p.csv", "p", features)], [edge("e.csv", "p", "knows", "p")])
    graph, result = process(export, tmp_path / "out", model_type=asked)
    assert (graph.model_type, result["model_type"]) == (found, found)
    written = json.loads((tmp_path / "out" / "model-hpo-configuration.json").read_text())["models"][0]
    assert written["model"] == default
    templates = {path.stem for path in (tmp_path / "out" / "hpo-configuration-templates").iterdir()}
    assert {"complex", "distmult", "rotate", "transe", "rgcn"} <= templates


def test_progress_is_reported_and_a_stop_is_heeded(tmp_path: Path) -> None:
    export, output = small(tmp_path / "in", PEOPLE, "a,b\nb,c\n"), tmp_path / "out"
    output.mkdir()
    events = tmp_path / "events.jsonl"
    run(Context(parameters={}, inputs={"export": export}, state=output, output=output, events=events))
    reported = [json.loads(line) for line in events.read_text().splitlines()]
    assert list(dict.fromkeys(event["phase"] for event in reported)) == [
        "reading nodes",
        "reading edges",
        "splitting",
        "writing",
    ]
    assert {"step": 4, "phase": "reading nodes"}.items() <= reported[1].items()
    with pytest.raises(Stopped):
        run(Context(parameters={}, inputs={"export": export}, state=output, output=output, should_stop=lambda: True))


class TestIncremental:
    def test_new_nodes_come_last_and_are_encoded_as_before(self, tmp_path: Path) -> None:
        before = small(tmp_path / "in", PEOPLE, "a,b\nb,c\n", split_rate=[0.5, 0.25, 0.25])
        first, _ = process(before, tmp_path / "first")
        people = "new,40,z,9,gold\nd,25,y,4,base\nc,30,x,5,gold\na,10,x,2,gold\nb,20,y,3,base\n"
        after = small(tmp_path / "in2", people, "new,a\nb,c\n", split_rate=[0.5, 0.25, 0.25])
        second, _ = process(after, tmp_path / "second", previous=tmp_path / "first")
        assert pl.read_parquet(second.ids_path(0))["id"].to_list() == ["a", "b", "c", "d", "new"]
        assert second.node_types[0].features == first.node_types[0].features
        assert second.features(0)["0"][:, 0].tolist() == [0, 0.5, 1, 0.75, 1.5]
        assert second.features(0)["1"].tolist() == [[1, 0], [0, 1], [1, 0], [0, 1], [0, 0]]
        assert second.labels()["split"][:4].tolist() == first.labels()["split"].tolist()
        assert second.labels()["split"][4] == TRAIN
        assert second.edges(0)["edge_index"].tolist() == [[4, 1], [0, 2]]

    def test_a_third_job_goes_on_from_the_second(self, tmp_path: Path) -> None:
        export = small(tmp_path / "in", PEOPLE, "a,b\nb,c\n")
        process(export, tmp_path / "1")
        process(export, tmp_path / "2", previous=tmp_path / "1")
        third, _ = process(export, tmp_path / "3", previous=tmp_path / "2")
        assert (tmp_path / "3" / "encoders.json").read_text() == (tmp_path / "1" / "encoders.json").read_text()
        assert third.features(0)["0"].tolist() == read_graph(tmp_path / "1").features(0)["0"].tolist()

    @pytest.mark.parametrize(("before", "after"), [(1, 40), (40, 1)])
    def test_a_feature_stays_sparse_or_dense(self, tmp_path: Path, before: int, after: int) -> None:
        def people(*words: int) -> Path:
            cells = [";".join(["1"] * count + ["0"] * (64 - count)) for count in words]
            rows = "".join(f"n{n},{cell},{'gold' if n % 2 else 'base'}\n" for n, cell in enumerate(cells))
            labels = [{"label": ["tier", "classification"], "split_rate": [0.5, 0.25, 0.25]}]
            described = node("p.csv", "p", [feature("words", "numerical", separator=";", norm="none")], labels)
            files = {"p.csv": "~id,words,tier\n" + rows, "k.csv": "~from,~to\nn0,n1\n"}
            return write(tmp_path / f"in{len(words)}", files, [described], [edge("k.csv", "p", "k", "p")])

        first, _ = process(people(*[before] * 8), tmp_path / "first")
        second, _ = process(people(*[before] * 8, *[after] * 40), tmp_path / "second", previous=tmp_path / "first")
        assert first.node_types[0].features[0].sparse == (before == 1)
        assert second.node_types[0].features == first.node_types[0].features

    def test_later_nodes_may_lack_what_auto_found_complete(self, tmp_path: Path) -> None:
        process(small(tmp_path / "in", PEOPLE, "a,b\n"), tmp_path / "first")
        later = small(tmp_path / "in2", PEOPLE + "e,10,x,,gold\n", "a,b\n")
        second, _ = process(later, tmp_path / "second", previous=tmp_path / "first")
        assert second.node_types[0].features[2].type == "numerical"
        assert second.features(0)["2"][4].tolist() == [0.5]

    def test_formerly_unlabelled_nodes_may_get_labels(self, tmp_path: Path) -> None:
        rate = [0.5, 0.25, 0.25]
        before = small(tmp_path / "in", PEOPLE + "e,10,x,2,\n", "a,b\n", split_rate=rate)
        first, _ = process(before, tmp_path / "first")
        after = small(tmp_path / "in2", PEOPLE + "e,10,x,2,gold\n", "a,b\n", split_rate=rate)
        second, _ = process(after, tmp_path / "second", previous=tmp_path / "first")
        assert first.labels()["split"][4] == NONE
        assert second.labels()["split"][4] != NONE
        assert second.labels()["split"][:4].tolist() == first.labels()["split"][:4].tolist()

    def test_edges_keep_their_split(self, tmp_path: Path) -> None:
        def links(count: int) -> Path:
            files = {
                "p.csv": "~id\n" + "".join(f"n{n}\n" for n in reversed(range(count + 1))),
                "k.csv": "~from,~to\n" + "".join(f"n{n},n{n + 1}\n" for n in range(count)),
            }
            return write(tmp_path / str(count), files, [node("p.csv", "p")], [edge("k.csv", "p", "k", "p")])

        first, _ = process(links(100), tmp_path / "first", seed=1)
        second, _ = process(links(150), tmp_path / "second", previous=tmp_path / "first", seed=2)
        assert second.edges(0)["split"][:100].tolist() == first.edges(0)["split"].tolist()
        assert (second.edges(0)["split"][100:] == VALID).sum() == 5

    @pytest.mark.parametrize(
        ("people", "message"),
        [
            ("a,10,x,2,gold\nb,20,y,3,base\n", "2 nodes of type 'p' of the previous job are gone, 'c' the first"),
            (PEOPLE + "e,1,x,2,iron\n", "the label 'iron' of node 'e' of type 'p' is no class of the previous job"),
            (PEOPLE + "e,old,x,2,gold\n", "p.csv, line 6, column 'age': 'old' is not a number"),
            (PEOPLE + "e,1,x,many,gold\n", "p.csv, line 6, column 'note': 'many' is not a number"),
        ],
    )
    def test_what_an_incremental_job_cannot_take(self, tmp_path: Path, people: str, message: str) -> None:
        process(small(tmp_path / "in", PEOPLE, "a,b\n"), tmp_path / "first")
        with pytest.raises(InputError, match=message):
            process(small(tmp_path / "in2", people, "a,b\n"), tmp_path / "out", previous=tmp_path / "first")

    def test_another_configuration_is_refused(self, tmp_path: Path) -> None:
        process(small(tmp_path / "in", PEOPLE, "a,b\n"), tmp_path / "first")
        export = small(tmp_path / "in", PEOPLE, "a,b\n")
        document = json.loads((export / "training-data-configuration.json").read_text())

        def refused(change: dict[str, Any], message: str) -> None:
            (export / "training-data-configuration.json").write_text(json.dumps(change))
            with pytest.raises(InputError, match=message):
                process(export, tmp_path / message.replace(" ", "-"), previous=tmp_path / "first")

        changed = json.loads(json.dumps(document))
        changed["graph"]["nodes"][0]["features"][0]["norm"] = "none"
        refused(changed, "the previous job encoded 'age' of nodes 'p' by")
        changed["graph"]["nodes"][0]["features"] = document["graph"]["nodes"][0]["features"][::-1]
        refused(changed, "the previous job has the features 'age', 'town', 'note' of nodes 'p', in this order")
        changed["graph"]["nodes"][0]["features"] = document["graph"]["nodes"][0]["features"][:2]
        refused(changed, "this one describes 'age', 'town'; process without")
        changed["graph"]["nodes"][0]["labels"] = []
        refused(changed, "the previous job learned the label 'tier' of nodes 'p'")
        changed["graph"]["nodes"][0]["labels"] = document["graph"]["nodes"][0]["labels"]
        changed["graph"]["nodes"][0]["features"] = [feature("tier", "category")]
        refused(changed, "the previous job has no feature 'tier'")
        changed["graph"]["nodes"].append(node("p.csv", "q"))
        refused(changed, "the previous job has the node types")
        changed = json.loads(json.dumps(document))
        changed["graph"]["edges"].append(edge("k.csv", "p", "new", "p"))
        refused(changed, "the previous job has no edges 'p-new-p'")


@pytest.mark.slow
def test_five_million_edges_fit_into_memory(tmp_path: Path) -> None:
    nodes, edges = 1_000_000, 5_000_000
    random = np.random.default_rng(0)
    ids = pl.select(pl.format("{}-4c6f-9d2e-0123456789ab", pl.arange(10_000_000, 10_000_000 + nodes)))["literal"]
    export = write(
        tmp_path / "in",
        {},
        [node("user.csv", "user", [feature("age", "numerical")])],
        [edge("knows.csv", "user", "knows", "user", [feature("weight", "numerical")])],
    )
    pl.DataFrame({"~id": ids, "age": random.integers(1, 90, nodes)}).write_csv(export / "user.csv")
    ends = random.integers(0, nodes, (2, edges))
    columns = {"~from": ids.gather(ends[0]), "~to": ids.gather(ends[1]), "weight": random.random(edges).round(3)}
    pl.DataFrame(columns).write_csv(export / "knows.csv")
    code = """
import sys
from pathlib import Path
from modelyard.runner.context import Context
from modelyard.workloads.graph.processing.process import run
out = Path(sys.argv[2])
out.mkdir()
print(run(Context(parameters={}, inputs={"export": Path(sys.argv[1])}, state=out, output=out))["edges"])
print(*(name for name in ("sklearn", "optuna") if name in sys.modules))
"""
    command = [sys.executable, "-c", code, str(export), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "{'user-knows-user': 5000000}\n\n"
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    assert peak < 2 << 30

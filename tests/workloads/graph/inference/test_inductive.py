import asyncio
import json
import random
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from tests.graphs import write_communities

from modelyard.runner.context import Channel, Context, Worker
from modelyard.runner.serving import RequestError
from modelyard.workloads.graph.data import Task, read_graph
from modelyard.workloads.graph.inference import inductive, transform
from modelyard.workloads.graph.inference.fresh import Fresh
from modelyard.workloads.graph.inference.serve import Model
from modelyard.workloads.graph.models.gnn import GNN
from modelyard.workloads.graph.models.registry import NAMES, model_class
from modelyard.workloads.graph.processing import process
from modelyard.workloads.graph.training.adjacency import build_adjacency
from modelyard.workloads.graph.training.checkpoint import write_checkpoint
from modelyard.workloads.graph.training.evaluation import Evaluation
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters
from modelyard.workloads.graph.training.train import fit
from modelyard.workloads.graph.training.trained_on import write_trained_on

_SETTINGS = {
    "plain": Hyperparameters(num_hidden=8, num_epochs=5, lr=0.03),
    "embeddings beside features": Hyperparameters(num_hidden=8, num_epochs=5, lr=0.03, concat_node_embed=True),
    "no self-loops, three layers": Hyperparameters(num_hidden=8, num_epochs=5, num_layer=3, use_self_loop=False),
    "features of edges": Hyperparameters(num_hidden=8, num_epochs=5, lr=0.03, use_edge_features=True),
}


def _sparse_communities(folder: Path) -> None:
    """The communities with few acquaintances, so that a neighbourhood is a small part, and clubs without features."""
    write_communities(folder, people=400)
    draw = random.Random(1)
    pairs = {(n, (n + 2 * draw.randrange(1, 200)) % 400) for n in range(400) for _ in range(2)}
    rows = [f"e{n},knows,p{a},p{b},{draw.random():.3f}" for n, (a, b) in enumerate(sorted(pairs))]
    (folder / "edges" / "knows.csv").write_text("~id,~label,~from,~to,years\n" + "\n".join(rows) + "\n")
    (folder / "nodes" / "club.csv").write_text("~id,~label\n" + "".join(f"c{n},club\n" for n in range(40)))
    rows = [f"m{n},member,p{n},c{n % 2 + 2 * draw.randrange(20)},{draw.random():.3f}" for n in range(400)]
    (folder / "edges" / "member.csv").write_text("~id,~label,~from,~to,years\n" + "\n".join(rows) + "\n")
    file = folder / "training-data-configuration.json"
    configuration = json.loads(file.read_text())
    club = {"file_name": "nodes/club.csv", "separator": ",", "node": ["~id", "club"]}
    configuration["graph"]["nodes"].append(club)
    ends = {"source": ["~from", "person"], "relation": ["", "member"], "dest": ["~to", "club"]}
    configuration["graph"]["edges"].append({"file_name": "edges/member.csv", "separator": ",", **ends})
    for edge in configuration["graph"]["edges"]:
        edge["features"] = [{"feature": ["years", "years", "numerical"], "norm": "none"}]
    file.write_text(json.dumps(configuration))


def _append(file: Path, *rows: str) -> None:
    with file.open("a") as added:
        added.writelines(f"{row}\n" for row in rows)


@dataclass
class Flow:
    """What jobs do, function by function, in folders of a test."""

    folder: Path

    def process(self, export: Path, previous: Path | None = None) -> Path:
        output = self.folder / f"graph-{len(list(self.folder.iterdir()))}"
        output.mkdir()
        inputs = {"export": export} | ({"previous": previous} if previous else {})
        process.run(Context({}, inputs, self.folder, output))
        return output

    def train(self, folder: Path, settings: Hyperparameters, metric: str = "acc", name: str = "rgcn") -> Path:
        graph, model = read_graph(folder), self.folder / "model"
        relations = cast("type[GNN]", model_class(name)).relations(graph, settings.use_self_loop)
        adjacency = build_adjacency(graph, relations, settings.use_self_loop)
        checkpoint, _ = fit(graph, adjacency, settings, Evaluation(metric), model_name=name)
        write_checkpoint(checkpoint, model)
        write_trained_on(graph, range(len(graph.node_types)), model)
        return model

    def transform(self, graph: Path, model: Path) -> Path:
        output = self.folder / f"output-{len(list(self.folder.iterdir()))}"
        output.mkdir()
        transform.run(Context({}, {"graph": graph, "model": model}, self.folder, output))
        return output


@pytest.fixture
def flow(tmp_path: Path) -> Flow:
    (tmp_path / "jobs").mkdir()
    return Flow(tmp_path / "jobs")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[[Path], Model]]:
    """A served model whose worker is a thread: forks are the resident parent's business."""
    ends: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def work(end: socket.socket, parameters: Mapping[str, Any]) -> None:
        with end:
            inductive.work(Channel(end), parameters)

    def fork(entry_point: str, parameters: Mapping[str, Any]) -> Worker:
        assert entry_point == "modelyard.workloads.graph.inference.inductive:work"
        ours, theirs = socket.socketpair()
        ends.append(ours)
        threads.append(threading.Thread(target=work, args=(theirs, parameters), daemon=True))
        threads[-1].start()
        return Worker(0, Channel(ours))

    def serve(folder: Path) -> Model:
        context = Context({}, {"model": folder}, tmp_path, tmp_path, fork=fork)
        return Model(folder, Fresh(context, folder))

    yield serve
    for end in ends:
        end.close()
    for thread in threads:
        thread.join(20)


def _ask(model: Model, graph: Any, *items: Any, edges: bool = False, mode: str | None = None, **parameters: Any) -> Any:
    data = {"globalParameters": parameters, "edges" if edges else "nodes": list(items), "graph": graph}
    document = {"data": data, **({"mode": mode} if mode else {})}
    _, answer = asyncio.run(model.answer({}, json.dumps(document).encode()))
    return json.loads(answer)["output"]


def _scores(answers: Any) -> list[dict[str, float]]:
    return [{one["value"]: one["score"] for one in answer["predictions"]} for answer in answers]


@pytest.mark.parametrize("settings", _SETTINGS.values(), ids=_SETTINGS)
def test_new_nodes_get_what_a_transform_of_the_newer_graph_gives_them(
    flow: Flow, tmp_path: Path, served: Callable[[Path], Model], settings: Hyperparameters
) -> None:
    export = tmp_path / "export"
    _sparse_communities(export)
    graph = flow.process(export)
    model = flow.train(graph, settings)
    before = served(flow.transform(graph, model))
    _append(export / "nodes" / "person.csv", "new1,person,44.5,a", "new2,person,,b")
    _append(export / "nodes" / "club.csv", "c-new,club")
    _append(export / "edges" / "knows.csv", "x1,knows,new1,p6,7", "x2,knows,p8,new1,0", "x3,knows,new2,new1,2")
    _append(export / "edges" / "member.csv", "y1,member,new1,c-new,5", "y2,member,new2,c3,3", "y3,member,p6,c-new,1")
    after = served(flow.transform(flow.process(export, previous=graph), model))

    def edge(source: str, relation: str, dest: str, years: float, kind: str = "person") -> dict[str, Any]:
        ends = {"src_node_id": source, "dest_node_id": dest}
        return {"edge_type": ["person", relation, kind], **ends, "features": {"years": years}}

    added = {
        "nodes": [
            {"node_type": "person", "node_id": "new1", "features": {"age": 44.5}},
            {"node_type": "person", "node_id": "new2", "features": {}},
            {"node_type": "club", "node_id": "c-new"},
            {"node_type": "person", "node_id": "p6"},
        ],
        "edges": [
            edge("new1", "knows", "p6", 7),
            edge("p8", "knows", "new1", 0),
            edge("new2", "knows", "new1", 2),
            edge("new1", "member", "c-new", 5, "club"),
            edge("new2", "member", "c3", 3, "club"),
            edge("p6", "member", "c-new", 1, "club"),
        ],
    }
    asked = ["new1", "new2", "p6", "p7", "nobody"]
    fresh = _ask(before, added, *asked, topk=2)
    expected = _ask(after, None, *asked, topk=2)
    assert fresh[-1]["error"] == expected[-1]["error"]
    for ours, theirs in zip(_scores(fresh), _scores(expected), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    assert _ask(before, added, {"nodeId": "new1"}, mode="embed_knn", headNodeType="person", topk=3)[0]["predictions"]


def test_a_known_node_alone_gets_what_the_transform_gave_it(
    flow: Flow, tmp_path: Path, served: Callable[[Path], Model]
) -> None:
    _sparse_communities(tmp_path / "export")
    graph = flow.process(tmp_path / "export")
    model = served(flow.transform(graph, flow.train(graph, _SETTINGS["plain"])))
    asked = [f"p{n}" for n in range(0, 400, 13)]
    for ours, theirs in zip(_scores(_ask(model, {}, *asked)), _scores(_ask(model, None, *asked)), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    younger = {"nodes": [{"node_type": "person", "node_id": "p0", "features": {"age": 20}}]}
    older = {"nodes": [{"node_type": "person", "node_id": "p0", "features": {"age": 60}}]}
    assert _scores(_ask(model, younger, "p0", topk=2)) != _scores(_ask(model, older, "p0", topk=2))
    few = _ask(model, {}, *asked, topk=2, fanout=[1, 1])
    assert few == _ask(model, {}, *asked, topk=2, fanout=[1, 1])
    drawn = [_ask(model, {}, *asked, topk=2, fanout=[1, 1], deterministic=False) for _ in range(8)]
    assert any(one != drawn[0] for one in drawn)


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        ([], "graph must be an object"),
        ({"nodes": 7}, "graph.nodes must be a list of objects"),
        (
            {"nodes": [{"node_id": "x", "node_type": "film"}]},
            "node_type: 'film' is none of person, club",
        ),
        ({"nodes": [{"node_type": "person"}]}, "graph.nodes[0].node_id must be"),
        ({"nodes": [{"node_type": "person", "node_id": "x", "features": {"height": 1}}]}, "no feature 'height'"),
        ({"nodes": [{"node_type": "person", "node_id": "x", "features": {"age": "old"}}]}, "node 'x'"),
        ({"nodes": [{"node_type": "person", "node_id": "x", "features": {"age": {}}}]}, "is no value of a feature"),
        ({"edges": [{"edge_type": ["person", "likes", "club"]}]}, "graph.edges[0].edge_type"),
        (
            {"edges": [{"edge_type": ["person", "knows", "person"], "src_node_id": "p1", "dest_node_id": "x"}]},
            "graph.edges[0]: no node 'x' of type 'person' is in graph.nodes or in the model's graph",
        ),
        ({"nodes": [{}] * 10_001}, "at most 10000"),
    ],
)
def test_a_graph_that_cannot_be_taken_is_refused_with_its_place(
    flow: Flow, tmp_path: Path, served: Callable[[Path], Model], graph: Any, said: str
) -> None:
    _sparse_communities(tmp_path / "export")
    processed = flow.process(tmp_path / "export")
    settings = Hyperparameters(num_hidden=4, num_epochs=1)
    model = served(flow.transform(processed, flow.train(processed, settings)))
    with pytest.raises(RequestError) as refused:
        _ask(model, graph, "p1", "x")
    assert said in str(refused.value)


def _learn(export: Path, labels: list[dict[str, Any]]) -> None:
    """Makes the export one whose task is `knows`: its links, or a property of them."""
    file = export / "training-data-configuration.json"
    configuration = json.loads(file.read_text())
    del configuration["graph"]["nodes"][0]["labels"]
    configuration["graph"]["edges"][0]["labels"] = labels
    edges = export / "edges" / "knows.csv"
    head, *rows = edges.read_text().splitlines()
    edges.write_text("\n".join([f"{head},kind", *(f"{row},{'ab'[n % 2]}" for n, row in enumerate(rows))]) + "\n")
    file.write_text(json.dumps(configuration))


_NEW = {"node_type": "person", "node_id": "new", "features": {"age": 44.5}}


def _met(dest: str, **features: float) -> dict[str, Any]:
    ends = {"src_node_id": "new", "dest_node_id": dest}
    return {"edge_type": ["person", "knows", "person"], **ends, "features": features}


def test_a_new_edge_gets_what_a_transform_of_the_newer_graph_gives_it(
    flow: Flow, tmp_path: Path, served: Callable[[Path], Model]
) -> None:
    export = tmp_path / "export"
    _sparse_communities(export)
    _learn(export, [{"label": ["kind", "classification"], "split_rate": [0.8, 0.1, 0.1]}])
    graph = flow.process(export)
    model = flow.train(graph, _SETTINGS["plain"])
    before = served(flow.transform(graph, model))
    _append(export / "nodes" / "person.csv", "new,person,44.5,a")
    _append(export / "edges" / "knows.csv", "x1,knows,new,p6,3,", "x2,knows,new,p8,1,")
    after = served(flow.transform(flow.process(export, previous=graph), model))
    added = {"nodes": [_NEW], "edges": [_met("p6", years=3), _met("p8", years=1)]}
    known = next(row.split(",")[2:4] for row in (export / "edges" / "knows.csv").read_text().splitlines()[1:])
    asked = [{"headNodeId": head, "tailNodeId": tail} for head, tail in (("new", "p6"), ("new", "p8"), known)]
    fresh = _ask(before, added, *asked, {"headNodeId": "new", "tailNodeId": "nobody"}, edges=True, topk=2)
    assert fresh[-1] == {
        "id": ["new", "nobody"],
        "predictions": [],
        "error": "no node 'nobody' is in this model's graph, of type person",
    }
    expected = _ask(after, None, *asked, edges=True, topk=2)
    for ours, theirs in zip(_scores(fresh[:3]), _scores(expected), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    other = {**added, "edges": [_met("p6", years=6), _met("p8", years=1)]}
    assert _scores(_ask(before, other, asked[0], edges=True, topk=2)) != _scores(fresh[:1])


def test_links_of_a_new_node_lead_to_known_ones(flow: Flow, tmp_path: Path, served: Callable[[Path], Model]) -> None:
    export = tmp_path / "export"
    _sparse_communities(export)
    _learn(export, [{"label": ["", "link_prediction"], "split_rate": [0.8, 0.1, 0.1]}])
    graph = flow.process(export)
    model = flow.train(graph, _SETTINGS["plain"], "mrr")
    before = served(flow.transform(graph, model))
    asked: dict[str, Any] = {"edges": True, "mode": "predict_tail", "topk": 10, "edgeType": "knows"}
    added = {"nodes": [_NEW], "edges": [_met("p6", years=1)]}
    [answer] = _ask(before, added, {"headNodeId": "new"}, **asked)
    assert len({one["value"] for one in answer["predictions"]} - {"new"}) == 10
    for mode, item in (("predict_tail", {"headNodeId": "p3"}), ("predict_head", {"tailNodeId": "p3"})):
        asked |= {"mode": mode, "exclude_flag": "mask"}
        fresh, stored = _scores(_ask(before, {}, item, **asked)), _scores(_ask(before, None, item, **asked))
        assert fresh[0] == pytest.approx(stored[0], abs=1e-6)


def test_a_model_without_layers_takes_no_graph(flow: Flow, tmp_path: Path, served: Callable[[Path], Model]) -> None:
    _sparse_communities(tmp_path / "export")
    graph = flow.process(tmp_path / "export")
    output = flow.transform(graph, flow.train(graph, Hyperparameters(num_hidden=4, num_epochs=1)))
    (output / "inductive").rename(output / "elsewhere")
    with pytest.raises(RequestError, match="send no graph"):
        _ask(served(output), {}, "p1")


@pytest.mark.parametrize("self_loops", [True, False])
@pytest.mark.parametrize("name", [name for name in NAMES if model_class(name).family == "gnn"])
def test_every_model_gives_known_nodes_what_it_gave_them(
    flow: Flow, made: type[Any], tmp_path: Path, name: str, self_loops: bool
) -> None:
    random = np.random.default_rng(0)
    graph = made(
        Task("node_class", "p", "l", ("a", "b")),
        {"p": 500},
        {("p", "knows", "p"): random.integers(0, 500, (2, 700))},
        {"p": [random.normal(size=(500, 5)).astype(np.float32)]},
        labels=random.integers(0, 2, 500),
        split=random.integers(1, 4, 500),
    ).write(tmp_path / "graph")
    settings = Hyperparameters(num_hidden=8, num_epochs=3, lr=0.03, use_self_loop=self_loops)
    output = flow.transform(graph.folder, flow.train(graph.folder, settings, name=name))
    scores = np.load(output / "serving" / "scores.npy")
    model = inductive.Inductive(output)
    for row in range(0, 500, 25):
        _, found, _ = model.compute({}, [(0, f"p-{row}")], scores=True)
        np.testing.assert_allclose(found, scores[row : row + 1], atol=1e-5)

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelyard.jobs.serving import Connection
from modelyard.runner.context import Context, InputError
from modelyard.runner.serving import RequestError
from modelyard.workloads.graph.inference.ids import write_index
from modelyard.workloads.graph.inference.ranking import known_links, write_known
from modelyard.workloads.graph.inference.serve import Model, run
from modelyard.workloads.graph.inference.served import Served, Target

_PEOPLE = ["ann", "bob", "cy", "7"]
_FILMS = ["alien", "brazil", "ann"]
_VECTORS = np.random.default_rng(1).standard_normal((7, 4), dtype=np.float32)
_SCORES = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.3, 0.4, 0.3], [0.2, 0.2, 0.6]], np.float32)
_SERVED = Served("node_class", ("person", "film"), (0, 4, 7), 0, "job", ("cook", "smith", "0"))


def _written(folder: Path, served: Served, **arrays: np.ndarray) -> Path:
    serving = folder / "serving"
    write_index(serving / "ids", [_PEOPLE, _FILMS])
    served.write(serving)
    (folder / "embeddings").mkdir()
    np.save(folder / "embeddings" / "entity.npy", _VECTORS)
    for name, array in arrays.items():
        np.save(serving / f"{name}.npy", array)
    return folder


@pytest.fixture
def classifier(tmp_path: Path) -> Model:
    return Model(_written(tmp_path, _SERVED, scores=_SCORES))


@pytest.fixture
def recommender(tmp_path: Path) -> Model:
    """`likes` leads from persons and films to films, `knows` from persons to persons."""
    targets = (Target(0, "likes", 1), Target(1, "likes", 1), Target(0, "knows", 0))
    served = Served("link_predict", ("person", "film"), (0, 4, 7), targets=targets)
    _written(tmp_path, served, tail_vectors=_TAILS, head_vectors=_HEADS)
    for number in range(3):
        near, far = (np.array([0, 0]), np.array([0, 2])) if number == 0 else (np.empty(0, int), np.empty(0, int))
        write_known(tmp_path / "serving" / "known" / str(number) / "tails", known_links(near, far))
        write_known(tmp_path / "serving" / "known" / str(number) / "heads", known_links(far, near))
    return Model(tmp_path)


_TAILS = np.random.default_rng(2).standard_normal((3, 4), dtype=np.float32)
_HEADS = np.random.default_rng(3).standard_normal((3, 4), dtype=np.float32)


def _ask(model: Model, document: Any) -> list[dict[str, Any]]:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    header, answer = asyncio.run(model.answer({}, body))
    assert header == {"status": 200, "content_type": "application/json"}
    output: list[dict[str, Any]] = json.loads(answer)["output"]
    return output


def _nodes(*items: Any, mode: str | None = None, **parameters: Any) -> dict[str, Any]:
    data = {"globalParameters": parameters, "nodes": list(items)}
    return {"version": "v1", **({"mode": mode} if mode else {}), "data": data}


def _edges(mode: str, *items: Any, **parameters: Any) -> dict[str, Any]:
    return {"version": "v1", "mode": mode, "data": {"globalParameters": parameters, "edges": list(items)}}


def _values(answer: Mapping[str, Any]) -> list[str]:
    return [prediction["value"] for prediction in answer["predictions"]]


def _ranking(near: int, vector: np.ndarray, span: range, ids: list[str]) -> list[str]:
    logits = _VECTORS[span.start : span.stop] @ (_VECTORS[near] * vector)
    return [ids[place] for place in np.argsort(-logits)]


class TestNodes:
    def test_classes_come_with_their_probabilities_in_input_order(self, classifier: Model) -> None:
        answers = _ask(classifier, _nodes({"nodeId": "bob"}, {"nodeId": "ann"}, topk=2, property="job"))
        assert [answer["id"] for answer in answers] == ["bob", "ann"]
        assert answers[0]["predictions"] == [
            {"value": "0", "score": pytest.approx(0.8)},
            {"value": "cook", "score": pytest.approx(0.1)},
        ]
        assert _values(answers[1]) == ["cook", "smith"]

    def test_one_result_is_the_default_and_more_than_all_is_all(self, classifier: Model) -> None:
        assert _values(_ask(classifier, _nodes("ann"))[0]) == ["cook"]
        assert len(_values(_ask(classifier, _nodes("ann", topk=100))[0])) == 3

    def test_an_unknown_node_fails_alone(self, classifier: Model) -> None:
        known, unknown, film = _ask(classifier, _nodes("ann", "zoe", "alien"))
        assert _values(known) == ["cook"]
        assert unknown == {
            "id": "zoe",
            "predictions": [],
            "error": "no node 'zoe' is in this model's graph, of type person",
        }
        assert film["predictions"] == []

    @pytest.mark.parametrize(
        "document",
        [
            {"data": {"nodes": ["7"]}},
            {"data": {"nodes": [7]}},
            {"data": {"nodes": [{"nodeId": 7.0}]}},
            {"data": {"nodes": [{"id": "7"}]}, "version": "", "mode": ""},
            {"nodes": [{"nodeId": "7"}], "topk": "1"},
            {"data": {"globalParameters": None, "edges": [{"headNodeId": "7", "tailNodeId": None}]}},
        ],
    )
    def test_sloppy_forms_are_understood(self, classifier: Model, document: Any) -> None:
        (answer,) = _ask(classifier, document)
        assert str(answer["id"]) == "7"
        assert _values(answer) == ["0"]

    def test_a_number_has_no_score(self, tmp_path: Path) -> None:
        served = Served("node_regression", ("person", "film"), (0, 4, 7), 0, "age")
        model = Model(_written(tmp_path, served, scores=np.array([[30.5], [2], [3], [4]], np.float32)))
        (answer,) = _ask(model, _nodes("ann", topk=5))
        assert answer["predictions"] == [{"value": 30.5, "score": None}]

    @pytest.mark.parametrize(
        ("document", "message"),
        [
            (b"\xff", "the body is no JSON"),
            (b"[" * 100_000, "the body is no JSON"),
            (b"null", 'the body is null, not an object with "data"'),
            ({}, "data.nodes is missing"),
            ({"data": []}, r"data is \[\]; it must be an object"),
            ({"data": {"nodes": {}}}, "data.nodes is missing"),
            (_nodes({}), "item 0 has no nodeId: {}"),
            (_nodes("ann", {"nodeId": None}), "item 1 has no nodeId"),
            (_nodes(True), "the id of item 0 is true; it must be a string or a whole number"),
            (_nodes(["ann"]), "the id of item 0 is"),
            (b'{"data": {"nodes": [1e400]}}', "the id of item 0 is Infinity"),
            (_nodes("ann", topk=0), "topk is 0; it must be a whole number from 1 to 100"),
            (_nodes("ann", topk=101), "topk is 101"),
            (_nodes("ann", topk=True), "topk is true"),
            (_nodes("ann", topk="9" * 10_000), "topk is"),
            (_nodes("ann", topk=1.5), "topk is 1.5"),
            (_nodes("ann", property="age"), "this endpoint predicts 'job', not 'age'"),
            (_nodes("ann", property=5), "property is 5; it must be a string"),
            (_nodes("ann", mode="predict_tail"), "mode is 'predict_tail'; for the task node_class it can be embed_knn"),
            ({"version": "v9", "data": {"nodes": ["ann"]}}, 'version is "v9"'),
            (_nodes(*["ann"] * 10_001), "10001 items; at most 10000"),
        ],
    )
    def test_a_bad_request_says_what_is_wrong(self, classifier: Model, document: Any, message: str) -> None:
        with pytest.raises(RequestError, match=message):
            _ask(classifier, document)

    def test_no_items_have_no_answers(self, classifier: Model) -> None:
        assert _ask(classifier, _nodes()) == []


class TestNeighbours:
    @pytest.mark.parametrize("kind", ["classifier", "recommender"])
    def test_every_model_finds_neighbours(self, kind: str, request: pytest.FixtureRequest) -> None:
        document = _nodes({"nodeId": "cy"}, mode="embed_knn", topk=10, tailNodeType="film", exclude_flag="mask")
        (answer,) = _ask(request.getfixturevalue(kind), document)
        unit = _VECTORS / np.linalg.norm(_VECTORS, axis=1, keepdims=True)
        cosines = unit[4:] @ unit[2]
        assert _values(answer) == [_FILMS[place] for place in np.argsort(-cosines)]
        assert [one["score"] for one in answer["predictions"]] == pytest.approx(sorted(cosines, reverse=True), rel=1e-5)

    def test_without_a_type_it_is_the_nodes_own(self, recommender: Model) -> None:
        person, film = _ask(recommender, _nodes("bob", "alien", mode="embed_knn", topk=10))
        assert set(_values(person)) == {"ann", "cy", "7"}
        assert set(_values(film)) == {"brazil", "ann"}

    def test_types_tell_equal_ids_apart(self, recommender: Model) -> None:
        near_film = _ask(recommender, _nodes("ann", mode="embed_knn", topk=10, tailNodeType="film"))
        near_person = _ask(
            recommender, _nodes("ann", mode="embed_knn", topk=10, tailNodeType="film", headNodeType="person")
        )
        assert set(_values(near_film[0])) == {"alien", "brazil"}
        assert set(_values(near_person[0])) == {"alien", "brazil", "ann"}

    def test_unknown_nodes_and_types_are_told(self, recommender: Model) -> None:
        (answer,) = _ask(recommender, _nodes("zoe", mode="embed_knn"))
        assert answer["error"] == "no node 'zoe' is in this model's graph"
        with pytest.raises(RequestError, match="no node type 'dog'; this endpoint knows 'person', 'film'"):
            _ask(recommender, _nodes("ann", mode="embed_knn", tailNodeType="dog"))


class TestLinks:
    def test_tails(self, recommender: Model) -> None:
        document = _edges("predict_tail", {"headNodeId": "cy"}, topk=3, edgeType="likes", tailNodeType="film")
        (answer,) = _ask(recommender, document)
        assert _values(answer) == _ranking(2, _TAILS[0], range(4, 7), _FILMS)
        assert sum(one["score"] for one in answer["predictions"]) == pytest.approx(1)

    def test_heads(self, recommender: Model) -> None:
        document = _edges("predict_head", {"tailNodeId": "bob"}, topk=4, edgeType="knows", headNodeType="person")
        (answer,) = _ask(recommender, document)
        assert _values(answer) == _ranking(1, _HEADS[2], range(4), _PEOPLE)

    def test_known_links_are_left_out_on_demand(self, recommender: Model) -> None:
        parameters = {"topk": 9, "edgeType": "likes", "tailNodeType": "film", "headNodeType": "person"}
        masked = _edges("predict_tail", {"headNodeId": "ann"}, exclude_flag="mask", **parameters)
        assert _values(_ask(recommender, masked)[0]) == ["brazil"]
        assert len(_values(_ask(recommender, _edges("predict_tail", "ann", **parameters))[0])) == 3
        heads = {"topk": 9, "edgeType": "likes", "headNodeType": "person", "exclude_flag": "mask"}
        assert "ann" not in _values(_ask(recommender, _edges("predict_head", "alien", **heads))[0])

    def test_the_nodes_type_chooses_among_relations_of_one_name(self, recommender: Model) -> None:
        person, film = _ask(recommender, _edges("predict_tail", "bob", "brazil", topk=3, edgeType="likes"))
        assert _values(person) == _ranking(1, _TAILS[0], range(4, 7), _FILMS)
        assert _values(film) == _ranking(5, _TAILS[1], range(4, 7), _FILMS)

    def test_the_direction_is_read_from_the_items(self, recommender: Model) -> None:
        document = _edges("", {"tailNodeId": "bob"}, edgeType="knows")
        assert _values(_ask(recommender, document)[0]) == _ranking(1, _HEADS[2], range(4), _PEOPLE)[:1]

    def test_an_unknown_node_fails_alone(self, recommender: Model) -> None:
        known, unknown = _ask(recommender, _edges("predict_tail", "bob", "zoe", edgeType="likes"))
        assert len(known["predictions"]) == 1
        assert unknown["error"] == "no node 'zoe' is in this model's graph, of type person or film"

    @pytest.mark.parametrize(
        ("document", "message"),
        [
            (_edges("predict_tail", "bob"), "edgeType is missing; this endpoint predicts 'knows', 'likes'"),
            (_edges("predict_tail", "bob", edgeType="hates"), "no edgeType 'hates'; this endpoint predicts"),
            (_edges("", {"headNodeId": "ann", "tailNodeId": "bob"}, edgeType="knows"), "item 0 names both ends; say"),
            (_edges("predict_head", "alien", edgeType="likes"), "headNodeType is missing; edgeType 'likes' leads to"),
            (
                _edges("predict_tail", "bob", edgeType="likes", tailNodeType="person"),
                "tailNodeType 'person' does not fit the edgeType; it can be 'film'",
            ),
            (_edges("predict_tail", "bob", edgeType="likes", exclude_flag="all"), "exclude_flag is 'all'"),
            (_edges("predict", "bob"), "mode is 'predict'"),
            (_edges("predict_tail", {"tailNodeId": "bob"}, edgeType="likes"), "item 0 has no headNodeId"),
        ],
    )
    def test_a_bad_request_says_what_is_wrong(self, recommender: Model, document: Any, message: str) -> None:
        with pytest.raises(RequestError, match=message):
            _ask(recommender, document)


_TASK = """
import signal, sys, threading
from pathlib import Path
from modelyard.runner.context import Context
from modelyard.workloads.graph.inference.serve import run

stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
folder = Path(sys.argv[1])
run(Context({"socket": str(folder / "serve.sock")}, {"model": folder}, folder, folder, should_stop=stop.is_set))
heavy = {"torch", "polars", "scipy", "safetensors"} & sys.modules.keys()
sys.exit(f"imported {heavy}" if heavy else 0)
"""


def test_a_serving_process_answers_over_its_socket_and_imports_numpy_alone(tmp_path: Path, classifier: Model) -> None:
    process = subprocess.Popen([sys.executable, "-c", _TASK, str(tmp_path)])
    deadline = time.monotonic() + 20
    while not (tmp_path / "serve.sock").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)

    async def check() -> None:
        connection = await Connection.open(tmp_path / "serve.sock")
        header, body = await connection.ask({}, json.dumps(_nodes("ann")).encode(), 10)
        assert header["status"] == 200
        assert _values(json.loads(body)["output"][0]) == ["cook"]
        header, _ = await connection.ask({}, b"nonsense", 10)
        assert header["status"] == 400
        assert "the body is no JSON" in header["message"]
        connection.close()

    asyncio.run(check())
    process.terminate()
    assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "serving" / "serving.json").unlink(), "FileNotFoundError"),
        (lambda folder: (folder / "serving" / "serving.json").write_text("{}"), "KeyError: 'task'"),
        (lambda folder: (folder / "serving" / "scores.npy").write_bytes(b"PK"), "ValueError"),
        (lambda folder: np.save(folder / "serving" / "scores.npy", np.array([{}]), allow_pickle=True), "ValueError"),
    ],
)
def test_a_damaged_model_is_told(
    tmp_path: Path, classifier: Model, damage: Callable[[Path], object], said: str
) -> None:
    damage(tmp_path)
    with pytest.raises(InputError, match=f"artifacts are missing or damaged .{said}.* transform or train again"):
        run(Context({"socket": str(tmp_path / "s")}, {"model": tmp_path}, tmp_path, tmp_path))

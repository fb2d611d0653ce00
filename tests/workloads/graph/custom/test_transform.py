import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars
import pytest
from tests.workloads.graph.custom.conftest import configuration

from modelyard.runner.context import Context, InputError
from modelyard.runner.serving import RequestError
from modelyard.workloads.graph.custom import search as search_stage
from modelyard.workloads.graph.custom import transform as stage
from modelyard.workloads.graph.data import Task
from modelyard.workloads.graph.inference.serve import Model

Source = Callable[..., Path]

LINKS = """
import json, os
from pathlib import Path
import numpy as np
model = Path(os.environ["SM_MODEL_DIR"])
assert json.loads(Path(os.environ["SM_OUTPUT_DIR"], "tuning_job_details.json").read_text())["BestTrainingJob"]
np.save(model / "entity.npy", np.float32([[1, 0], [0, 1], [0, 9], [5, 0]]))
np.save(model / "relation.npy", np.float32([[7, 7], [1, -1]]))
"""


@pytest.fixture
def graph(two_communities: Any, tmp_path: Path) -> Path:
    folder: Path = two_communities(people=50).write(tmp_path / "graph").folder
    return folder


@pytest.fixture
def links(made: Any, tmp_path: Path) -> Path:
    """Three people; who likes whom is to be predicted, and one place is no more than there."""
    likes = ("person", "likes", "person")
    graph = made(
        task=Task("link_predict"),
        nodes={"person": 3, "place": 1},
        edges={("person", "visits", "place"): np.array([[0], [0]]), likes: np.array([[0, 1], [2, 0]])},
        edge_split={likes: np.array([1, 3])},
    )
    folder: Path = graph.write(tmp_path / "links").folder
    return folder


@pytest.fixture
def transform(
    search: Callable[..., Context], attempt: Callable[..., Context], source: Source
) -> Callable[..., Context]:
    """Trains, and makes the context of the transform of that model."""

    def make(graph: Path, files: dict[str, str] | None = None, **inputs: Path) -> Context:
        searched = search(graph, source(files), max_trials=1)
        search_stage.run(searched)
        return attempt({"graph": graph, "model": searched.output, **inputs}, {"transform": None})

    return make


def ask(context: Context, request: dict[str, Any]) -> Any:
    """What an endpoint of the artifacts answers."""
    _, body = asyncio.run(Model(context.output).answer({}, json.dumps(request).encode()))
    return json.loads(body)["output"]


def test_predictions_of_nodes_are_served_and_written_for_people(graph: Path, transform: Any) -> None:
    context = transform(graph)
    result = stage.run(context)

    assert (result["nodes"], result["predictions"]) == (70, 50)
    answer = ask(context, {"data": {"globalParameters": {"topk": 2}, "nodes": [{"nodeId": "person-7"}]}})
    assert answer == [{"id": "person-7", "predictions": [{"value": "b", "score": 0.75}, {"value": "a", "score": 0.25}]}]
    table = polars.read_csv(context.output / "predictions.csv")
    assert table["prediction"].unique().to_list() == ["b"]
    names = {path.name for path in context.output.iterdir()}
    assert {"mapping.info", "config.json", "model.tar.gz", "trials.json", "eval_metrics_info.json"} <= names
    assert json.loads((context.output / "config.json").read_text())["name"] == "node_class-custom"


def test_without_embeddings_there_are_no_neighbours(graph: Path, transform: Any) -> None:
    context = transform(graph)
    stage.run(context)

    with pytest.raises(RequestError, match="left no embeddings"):
        ask(context, {"data": {"nodes": [{"nodeId": "person-7"}]}, "mode": "embed_knn"})


def test_links_are_ranked_by_the_vectors_that_were_left(links: Path, transform: Any) -> None:
    training = "print('score: 1')"
    space = json.dumps(configuration(task_type="link_predict"))
    context = transform(links, {"training.py": training, "transform.py": LINKS, "model-hpo-configuration.json": space})
    stage.run(context)

    def ranked(item: dict[str, str], mode: str) -> list[str]:
        request = {"data": {"globalParameters": {"topk": 3}, "edges": [item]}, "mode": mode}
        return [found["value"] for found in ask(context, request)[0]["predictions"]]

    assert ranked({"headNodeId": "person-1"}, "predict_tail") == ["person-0", "person-1", "person-2"]
    assert ranked({"tailNodeId": "person-0"}, "predict_head")[0] == "person-0"


class TestEdges:
    """Three people rate two films; the first rates one of them twice."""

    RATED = ("person", "rated", "film")
    LEAVES = """
import os
import numpy as np
np.savez(os.environ["SM_MODEL_DIR"] + "/result.npz", infer_scores=np.float32(%s))
"""

    @pytest.fixture
    def rated(self, made: Any, tmp_path: Path) -> Callable[..., Path]:
        def make(labels: np.ndarray, **task: Any) -> Path:
            graph = made(
                task=Task(property="verdict", edge_type=self.RATED, **task),
                nodes={"person": 3, "film": 2},
                edges={
                    ("person", "knows", "person"): np.array([[0], [1]]),
                    self.RATED: np.array([[0, 0, 2], [1, 1, 0]]),
                },
                edge_split={self.RATED: np.array([1, 2, 3])},
                edge_labels=labels,
            )
            folder: Path = graph.write(tmp_path / "rated").folder
            return folder

        return make

    @pytest.fixture
    def served(self, rated: Any, transform: Any) -> Callable[..., Context]:
        def make(labels: np.ndarray, scores: str, more: str = "", **task: Any) -> Context:
            files = {
                "training.py": "print('score: 1')",
                "transform.py": self.LEAVES % scores + more,
                "model-hpo-configuration.json": json.dumps(configuration(task_type=task["type"])),
            }
            context: Context = transform(rated(labels, **task), files)
            stage.run(context)
            return context

        return make

    def asked(self, context: Context, *pairs: tuple[int, int]) -> Any:
        edges = [{"headNodeId": f"person-{head}", "tailNodeId": f"film-{tail}"} for head, tail in pairs]
        parameters = {"topk": 2, "edgeType": "rated", "property": "verdict"}
        return ask(context, {"data": {"globalParameters": parameters, "edges": edges}})

    CLASSES: ClassVar = {"type": "edge_class", "classes": ("bad", "good")}

    def test_classes_are_served_and_written_for_people(self, served: Any) -> None:
        context = served(np.array([0, 1, 1]), "[[0.75, 0.25], [0.25, 0.75], [0, 1]]", **self.CLASSES)

        answers = self.asked(context, (2, 0), (0, 1))
        assert answers[0] == {
            "id": ["person-2", "film-0"],
            "predictions": [{"value": "good", "score": 1.0}, {"value": "bad", "score": 0.0}],
        }
        assert [one["score"] for one in answers[1]["predictions"]] == [0.5, 0.5]
        table = polars.read_csv(context.output / "predictions.csv")
        assert table.columns == ["head", "relation", "tail", "prediction", "score", "label", "split"]
        assert table["prediction"].to_list() == ["bad", "good", "good"]
        assert table["split"].to_list() == ["train", "valid", "test"]
        config = json.loads((context.output / "config.json").read_text())
        assert (config["name"], config["target_etype"]) == ("edge_class-custom", list(self.RATED))

    def test_pairs_without_an_edge_and_unknown_nodes_are_told(self, served: Any) -> None:
        context = served(np.array([0, 1, 1]), "[[0.75, 0.25], [0.25, 0.75], [0, 1]]", **self.CLASSES)

        answers = self.asked(context, (1, 1), (7, 1), (0, 7), (2, 0), (2, 1))
        assert [answer.get("error") for answer in answers] == [
            "no edge 'rated' joins these nodes in this custom model's graph",
            "no node 'person-7' is in this model's graph, of type person",
            "no node 'film-7' is in this model's graph, of type film",
            None,
            "no edge 'rated' joins these nodes in this custom model's graph",
        ]
        assert [len(answer["predictions"]) for answer in answers] == [0, 0, 0, 2, 0]

    def test_numbers_are_served_as_they_are(self, served: Any) -> None:
        context = served(np.array([1, 2, np.nan], np.float32), "[-3, 4, 40]", type="edge_regression")

        assert [one["predictions"] for one in self.asked(context, (0, 1), (2, 0))] == [
            [{"value": 0.5, "score": None}],
            [{"value": 40.0, "score": None}],
        ]
        assert polars.read_csv(context.output / "predictions.csv")["prediction"].to_list() == [-3.0, 4.0, 40.0]

    def test_vectors_that_were_left_have_neighbours(self, served: Any) -> None:
        vectors = (
            "np.save(os.environ['SM_MODEL_DIR'] + '/entity.npy', np.float32([[1, 0], [1, 1], [-1, 0], [1, 9], [9, 1]]))"
        )
        context = served(np.array([0, 1, 1]), "np.full((3, 2), 0.5)", vectors, **self.CLASSES)

        found = ask(context, {"data": {"globalParameters": {"topk": 1}, "nodes": ["person-0"]}, "mode": "embed_knn"})
        assert found[0]["predictions"][0]["value"] == "person-1"


def test_the_scripts_of_the_request_take_the_place_of_those_of_the_training(
    graph: Path, transform: Any, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "transform.py").write_text("raise SystemExit('the other')")
    with pytest.raises(InputError, match="ended with exit status 1: the other"):
        stage.run(transform(graph, source=other))


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("", "left no result.npz"),
        (
            "import numpy as np; np.savez('/opt/ml/model/result.npz', infer_scores=np.ones((3, 2)))",
            r"its shape is \[3, 2\]; the graph needs \[50, 2\]",
        ),
        (
            """open('/opt/ml/model/config.json', 'w').write('{"infer_type": "online-inductive-infer"}')""",
            "inductive inference of custom models is not served",
        ),
    ],
)
def test_what_cannot_be_served_fails_the_job_by_name(script: str, reason: str, graph: Path, transform: Any) -> None:
    with pytest.raises(InputError, match=reason):
        stage.run(transform(graph, {"transform.py": script}))

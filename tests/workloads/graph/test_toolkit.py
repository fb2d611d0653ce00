import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modelyard.workloads.graph import toolkit
from modelyard.workloads.graph.data import Task

PARAMS = {"task": "node_class", "model": "custom", "name": "node_class-custom", "property": "genre", "num-hidden": 8}


def test_a_training_finds_the_graph_and_the_place_for_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SM_CHANNEL_TRAIN", "/graph")
    monkeypatch.setenv("SM_NUM_GPUS", "0")
    assert toolkit.get_training_config() == ("/graph", "/opt/ml/checkpoints", [-1])
    monkeypatch.setenv("SM_NUM_GPUS", "2")
    assert toolkit.get_available_devices() == [0, 1]


def test_a_transform_finds_the_arguments_of_the_best_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    details = {"BestTrainingJob": {"TrainingJobParameters": PARAMS}}
    (tmp_path / "tuning_job_details.json").write_text(json.dumps(details))
    for name, value in (("SM_DATA_DIR", "/graph"), ("SM_OUTPUT_DIR", str(tmp_path)), ("SM_MODEL_DIR", "/model")):
        monkeypatch.setenv(name, value)
    assert toolkit.get_transform_config() == ("/graph", "/model", [-1], PARAMS)
    assert toolkit.normalize_hyperparameter_keys(PARAMS)["num_hidden"] == 8


def test_node_predictions_are_left_as_neptune_wants_them(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"name": "mine"}')
    scores = torch.eye(3, requires_grad=True)
    toolkit.save_node_prediction_model_artifacts(tmp_path, scores, PARAMS, embeddings=np.ones((3, 2)))

    assert np.load(tmp_path / "result.npz")["infer_scores"].tolist() == np.eye(3).tolist()
    assert np.load(tmp_path / "entity.npy").dtype == np.float32
    config = json.loads((tmp_path / "config.json").read_text())
    assert config == {
        "task": "node_class",
        "model": "custom",
        "name": "mine",
        "property": "genre",
        "infer_type": "online-transductive-infer",
    }


def test_edge_predictions_are_left_as_those_of_nodes(made: Any, tmp_path: Path) -> None:
    folder = made(Task("edge_class"), {"b": 1, "a": 2}, {}).write(tmp_path / "graph").folder
    vectors = {"a": torch.full((2, 2), 2.0), "b": torch.full((1, 2), 1.0)}
    toolkit.save_edge_prediction_model_artifacts(tmp_path, folder, PARAMS, torch.eye(3), vectors)

    assert np.load(tmp_path / "result.npz")["infer_scores"].tolist() == np.eye(3).tolist()
    assert np.load(tmp_path / "entity.npy")[:, 0].tolist() == [1.0, 2.0, 2.0]
    assert json.loads((tmp_path / "config.json").read_text())["task"] == "node_class"


def test_vectors_of_all_types_are_left_in_the_order_of_the_graph(made: Any, tmp_path: Path) -> None:
    folder = made(Task("link_predict"), {"b": 1, "a": 2}, {}).write(tmp_path / "graph").folder
    vectors = {"a": torch.full((2, 2), 2.0), "b": torch.full((1, 2), 1.0)}
    toolkit.save_link_prediction_model_artifacts(tmp_path, folder, PARAMS, vectors, torch.ones(1, 2))

    assert np.load(tmp_path / "entity.npy")[:, 0].tolist() == [1.0, 2.0, 2.0]
    assert np.load(tmp_path / "relation.npy").tolist() == [[1.0, 1.0]]

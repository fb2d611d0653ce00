"""What scripts of custom models need around their model, by the names that neptuneml-toolkit gives it.

from modelyard.workloads.graph.toolkit import get_training_config
data_path, model_path, devices = get_training_config()
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modelyard.workloads.graph.data import read_graph

CHECKPOINTS = "/opt/ml/checkpoints"
"""Where a training leaves its model."""

Folder = str | os.PathLike[str]
Array = Tensor | np.ndarray


def get_available_devices() -> list[int]:
    """The numbers of the GPUs that the job gives; `[-1]` means the processor."""
    return list(range(int(os.environ.get("SM_NUM_GPUS", "0")))) or [-1]


def get_training_config() -> tuple[str, str, list[int]]:
    """In a training: the folder of the processed graph, the folder for the model, the devices."""
    return os.environ["SM_CHANNEL_TRAIN"], CHECKPOINTS, get_available_devices()


def get_transform_config() -> tuple[str, str, list[int], dict[str, Any]]:
    """In a transform: the processed graph, the folder of the model and for its artifacts, the devices, and the
    arguments of the training that was best, hyphenated.
    """
    details = json.loads((Path(os.environ["SM_OUTPUT_DIR"]) / "tuning_job_details.json").read_text())
    parameters: dict[str, Any] = details["BestTrainingJob"]["TrainingJobParameters"]
    return os.environ["SM_DATA_DIR"], os.environ["SM_MODEL_DIR"], get_available_devices(), parameters


def normalize_hyperparameter_keys(params: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters by the names that `argparse` gives them: `hidden-size` becomes `hidden_size`."""
    return {name.replace("-", "_"): value for name, value in params.items()}


def save_eval_metrics(metrics: Mapping[str, Any], path: Folder) -> None:
    """Writes `eval_metrics_info.json`: what users read of the best model."""
    (Path(path) / "eval_metrics_info.json").write_text(json.dumps(metrics))


def save_node_prediction_model_artifacts(
    model_path: Folder, predictions: Array, params: Mapping[str, Any], embeddings: Array | None = None
) -> None:
    """Writes what a node task leaves for an endpoint.

    predictions: `[nodes of the target type, classes]`, probabilities, or `[nodes, 1]`, values. embeddings:
    `[nodes of the target type, channels]`. params: the training's arguments.
    """
    np.savez(Path(model_path) / "result.npz", infer_scores=_array(predictions))
    if embeddings is not None:
        np.save(Path(model_path) / "entity.npy", _array(embeddings))
    _save_config(model_path, params)


def save_edge_prediction_model_artifacts(
    model_path: Folder,
    data_path: Folder,
    params: Mapping[str, Any],
    predictions: Array,
    entity_embeddings: Mapping[str, Array] | None = None,
) -> None:
    """Writes what an edge task leaves for an endpoint, as the other two do; neptuneml-toolkit has no such function.

    predictions: `[edges of the target type, classes]`, probabilities, or `[edges, 1]`, values, in the processed graph's
    order. entity_embeddings: `[nodes, channels]` of each node type.
    """
    np.savez(Path(model_path) / "result.npz", infer_scores=_array(predictions))
    if entity_embeddings is not None:
        _save_vectors(model_path, data_path, entity_embeddings)
    _save_config(model_path, params)


def save_link_prediction_model_artifacts(
    model_path: Folder,
    data_path: Folder,
    params: Mapping[str, Any],
    entity_embeddings: Mapping[str, Array],
    rel_type_embeddings: Array | None = None,
) -> None:
    """Writes what link prediction leaves for an endpoint.

    entity_embeddings: `[nodes, channels]` of each node type. rel_type_embeddings: `[edge types, channels]` in the order
    of the processed graph, without reverse ones; a link's score is `sum(head * relation * tail)`, or without them
    `sum(head * tail)`.
    """
    _save_vectors(model_path, data_path, entity_embeddings)
    if rel_type_embeddings is not None:
        np.save(Path(model_path) / "relation.npy", _array(rel_type_embeddings))
    _save_config(model_path, params)


def _save_vectors(model_path: Folder, data_path: Folder, entity_embeddings: Mapping[str, Array]) -> None:
    names = [node_type.name for node_type in read_graph(Path(data_path)).node_types]
    rows = np.concatenate([_array(entity_embeddings[name]) for name in names])
    np.save(Path(model_path) / "entity.npy", rows)


def _save_config(path: Folder, params: Mapping[str, Any]) -> None:
    """Writes `config.json`; what is in one that is there stays."""
    file = Path(path) / "config.json"
    config = {name: params[name] for name in ("task", "model", "name", "property") if name in params}
    there = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**config, "infer_type": "online-transductive-infer", **there}))


def _array(values: Array) -> np.ndarray:
    array = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else values
    return np.ascontiguousarray(array, dtype=np.float32)

"""A trained model on disk: its weights, and a JSON document of everything needed to build it again."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from modelyard import atomic
from modelyard.workloads.graph.models.gnn import GNN, Dimensions
from modelyard.workloads.graph.models.registry import model_class
from modelyard.workloads.graph.training.adjacency import Relation
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters

FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """A trained graph neural network.

    model: its name in the registry. relations: those of message passing, by number of edge type, in the order of the
    weights. self_weight: whether layers have a weight for a node's own vector. weights: by name; those of the decoder
    begin with `decoder.`, the rest with `model.`.
    """

    model: str
    hyperparameters: Hyperparameters
    dimensions: Dimensions
    relations: tuple[Relation, ...]
    self_weight: bool
    weights: Mapping[str, Tensor]

    def restore(self, decoder: nn.Module | None = None) -> GNN:
        """Builds the model, ready to predict; makes a given `decoder` ready, too."""
        with torch.device("meta"):  # the weights are taken as they are, mapped from their file
            model = cast("type[GNN]", model_class(self.model))(self.dimensions, self.hyperparameters, self.self_weight)
        model.load_state_dict(self.under("model."), assign=True)
        if decoder is not None:
            decoder.load_state_dict(self.under("decoder."))
            decoder.eval()
        return model.eval()

    def decoder_weights(self) -> dict[str, np.ndarray]:
        """The decoder's weights by name, for readers without torch."""
        return {name: value.numpy() for name, value in self.under("decoder.").items()}

    def under(self, prefix: str) -> dict[str, Tensor]:
        """The weights whose names begin with `prefix`, without it."""
        return {name.removeprefix(prefix): value for name, value in self.weights.items() if name.startswith(prefix)}


def write_checkpoint(checkpoint: Checkpoint, folder: Path) -> None:
    """Writes `model.safetensors`, then `model.json`; a folder that has the second is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    half = folder / ".model.safetensors.half"
    save_file(dict(checkpoint.weights), half)
    half.replace(folder / "model.safetensors")
    document: dict[str, Any] = {
        "format": FORMAT,
        "model": checkpoint.model,
        "hyperparameters": checkpoint.hyperparameters.names(checkpoint.model),
        "dimensions": checkpoint.dimensions.document(),
        "relations": [asdict(relation) for relation in checkpoint.relations],
        "self_weight": checkpoint.self_weight,
    }
    atomic.write(folder / "model.json", json.dumps(document, indent=1).encode())


def read_checkpoint(folder: Path) -> Checkpoint:
    """Reads what `write_checkpoint` wrote."""
    document = json.loads((folder / "model.json").read_text())
    if document["format"] != FORMAT:
        raise ValueError(f"{folder / 'model.json'} has format {document['format']!r}; this version reads {FORMAT}")
    return Checkpoint(
        model=document["model"],
        hyperparameters=Hyperparameters.from_names(document["hyperparameters"], document["model"]),
        dimensions=Dimensions.from_document(document["dimensions"]),
        relations=tuple(Relation(**relation) for relation in document["relations"]),
        self_weight=document["self_weight"],
        weights=load_file(folder / "model.safetensors"),
    )

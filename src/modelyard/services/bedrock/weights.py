"""Which files a model's answers come from: its own weights, or an adapter on those of another.

A custom model's document says so in three members. `folder` is the URI of its files; the weights lie in `model/` there.
`form` tells whether these are an adapter or full weights. `rests_on` is the ARN of the custom model whose full weights
an adapter is for, None for the foundation model's.
"""

from pathlib import Path

from modelyard.jobs.base_models import BaseModel
from modelyard.jobs.model import NotFound, Resource
from modelyard.services.bedrock import arns
from modelyard.services.bedrock.backend import Backend
from modelyard.storage.names import join

ADAPTER, FULL = "adapter", "full"
CUSTOM_MODEL = "custom model"
ACTIVE = "Active"


def weights(backend: Backend, model: Resource) -> tuple[Path, Path | None]:
    """The folders of full weights and of the adapter on them; NotFound if what it rests on is gone."""
    folder = weights_folder(backend, model)
    if model.document["form"] == FULL:
        return folder, None
    if rests_on := model.document["rests_on"]:
        arn = arns.parse(rests_on)
        assert arn
        below = backend.resources.get(arn.owner, CUSTOM_MODEL, arn.id)
        return weights_folder(backend, below), folder
    return Path(root(backend, model).path), folder


def weights_folder(backend: Backend, model: Resource) -> Path:
    """Where a custom or an imported model's own files of weights lie."""
    return backend.folder(join(model.document["folder"], "model"))


def place(id: str) -> str:
    """The URI under which a custom model's folder is published."""
    return f"modelyard://models/custom/{id}"


def root(backend: Backend, model: Resource) -> BaseModel:
    """The base model that a custom model began with; NotFound if it was removed."""
    if model.root is None:
        raise NotFound(model.id)
    return backend.base_models.get(model.root)

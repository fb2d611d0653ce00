"""What a configuration's text features need, read when a job is asked for: what no model is there for is refused."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from modelyard.model_folder import BadModel
from modelyard.services.neptune_ml.backend import Backend
from modelyard.text_models import (
    FEATURES,
    LANGUAGES,
    TextFolder,
    given_folders,
    inspect,
    missing,
    model_id,
    task_parameters,
)
from modelyard.wire.errors import Fault

MAX_BYTES = 64 << 20


async def text_parameters(backend: Backend) -> dict[str, Any]:
    """What a task is told of the models of text that there are."""
    return await asyncio.to_thread(task_parameters, {model.id: model.path for model in backend.text_models.all()})


async def check_text_features(backend: Backend, uri: str) -> dict[str, Any]:
    """The `text_parameters`; a Fault if the configuration at `uri` needs another model, or one that cannot be used.

    What else may be wrong with the configuration is for the job to say.
    """
    parameters = await text_parameters(backend)
    folders = {folder.id: folder for folder in reversed(given_folders(parameters))}
    with tempfile.TemporaryDirectory() as folder:
        path = await backend.storage.fetch(uri, Path(folder) / "fetched")
        if path.stat().st_size > MAX_BYTES:
            raise Fault("InvalidParameterException", f"{uri} is larger than {MAX_BYTES >> 20} MB")
        document = await asyncio.to_thread(_json, path)
    for place, feature, language in _text_features(document):
        if feature == "text_fasttext" and language not in LANGUAGES:
            continue  # the job names what languages there are
        if (id := model_id(feature, language)) not in folders:
            raise Fault("InvalidParameterException", missing(place, feature, id))
        if folders[id].package:
            await asyncio.to_thread(_check_package, place, folders[id])
    return parameters


def _check_package(place: str, folder: TextFolder) -> None:
    """A Fault if an installed model is none that can be used; of a registered one the operator knows already."""
    try:
        inspect(folder.id, folder.path)
    except BadModel as error:
        reason = f"{place}: the model of the package {folder.package} cannot be used: {error}"
        raise Fault("InvalidParameterException", reason) from None


def _json(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except ValueError:
        return None


def _text_features(document: Any) -> Iterator[tuple[str, str, Any]]:
    """The place, the type and the language of each feature that needs a model."""
    graph = document.get("graph") if isinstance(document, dict) else None
    graphs = [(graph, "graph")] if isinstance(graph, dict) else []
    graphs += [(part, f"graph[{place}]") for place, part in enumerate(graph)] if isinstance(graph, list) else []
    for part, at in graphs:
        for kind in ("nodes", "edges"):
            for one, place in _objects(part, kind, at):
                for feature, where in _objects(one, "features", place):
                    match feature.get("feature"):
                        case [_, _, str(name)] if name in FEATURES:
                            yield f"{where}.feature", name, feature.get("language")


def _objects(holder: Any, key: str, place: str) -> Iterator[tuple[dict[str, Any], str]]:
    values = holder.get(key) if isinstance(holder, dict) else None
    for number, value in enumerate(values if isinstance(values, list) else ()):
        if isinstance(value, dict):
            yield value, f"{place}.{key}[{number}]"

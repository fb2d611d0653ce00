"""What a configuration's text features need, read when a job is asked for: what no model is there for is refused."""

import asyncio
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from modelyard.services.neptune_ml.backend import Backend
from modelyard.text_models import FEATURES, LANGUAGES, missing, model_id
from modelyard.wire.errors import Fault

MAX_BYTES = 64 << 20


async def check_text_features(backend: Backend, uri: str) -> Mapping[str, str]:
    """The folders of all registered models by id; a Fault if the configuration at `uri` needs another.

    What else may be wrong with the configuration is for the job to say.
    """
    folders = {model.id: model.path for model in backend.text_models.all()}
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
    return folders


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

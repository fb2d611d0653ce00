"""English text that is on every machine: the documentation inside botocore's service models."""

import gzip
import html
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson

MIN_LETTERS = 20
_INLINE = re.compile(r"</?(?:a|b|i|em|strong|code|span)(?:\s[^>]*)?>", re.IGNORECASE)
_TAG = re.compile(r"<[^>]*>")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True)
class Service:
    """What one service's documentation says.

    id: botocore's name. name: its own. passages: distinct paragraphs, in the order of the model. operations: the
    sentence that begins an operation's documentation, by the operation's name.
    """

    id: str
    name: str
    passages: tuple[str, ...]
    operations: Mapping[str, str]


def service_names() -> list[str]:
    """All services whose documentation there is, by botocore's names."""
    return sorted(path.name for path in _data().iterdir() if any(path.glob("*/service-2.json.gz")))


def read_services(names: Collection[str] | None = None, without: Collection[str] = ()) -> Iterator[Service]:
    """The text of the named services, or of all, without some; a passage that an earlier one has is not told again.

    Raises ValueError for a name that botocore does not know.
    """
    known = service_names()
    if unknown := sorted({*(names or ()), *without} - set(known)):
        raise ValueError(f"botocore has no service {unknown[0]!r}; there are {', '.join(known)}")
    seen: set[str] = set()
    for name in sorted(set(known if names is None else names) - set(without)):
        versions = sorted((_data() / name).glob("*/service-2.json.gz"))
        yield _service(name, orjson.loads(gzip.decompress(versions[-1].read_bytes())), seen)


def _service(name: str, model: Mapping[str, Any], seen: set[str]) -> Service:
    passages = []
    for documentation in _documentation(model):
        text = plain(documentation)
        if len(text) >= MIN_LETTERS and text not in seen:
            seen.add(text)
            passages.append(text)
    operations = {operation: _sentence(one.get("documentation", "")) for operation, one in model["operations"].items()}
    return Service(
        name,
        model["metadata"].get("serviceId", name),
        tuple(passages),
        {operation: sentence for operation, sentence in operations.items() if len(sentence) >= MIN_LETTERS},
    )


def _documentation(model: Mapping[str, Any]) -> Iterator[str]:
    yield model.get("documentation", "")
    for operation in model["operations"].values():
        yield operation.get("documentation", "")
    for shape in model["shapes"].values():
        yield shape.get("documentation", "")
        for member in shape.get("members", {}).values():
            yield member.get("documentation", "")


def plain(documentation: str) -> str:
    """Documentation without tags, entities and line breaks."""
    return _SPACE.sub(" ", html.unescape(_TAG.sub(" ", _INLINE.sub("", documentation)))).strip()


def _sentence(documentation: str) -> str:
    first, stop, _ = plain(documentation).partition(". ")
    return f"{first}." if stop else first


def _data() -> Path:
    spec = find_spec("botocore")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "data"

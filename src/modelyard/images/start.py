"""How an image's program starts, as its configuration says: an OCI image's own, or a file of the user's.

Both `{"Entrypoint": […], "Cmd": […], "Env": ["A=b"], "WorkingDir": "/…"}` and `{"entrypoint": […], "command": […],
"environment": {"A": "b"}, "workdir": "/…"}` are read. A Python project may say it in `pyproject.toml` instead.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelyard.images.folder import BadImage

FILE = "modelyard-image.json"
_LARGEST = 2**20
_CALL = "import sys; from {module} import {top}; sys.exit({name}())"


@dataclass(frozen=True)
class Start:
    """See `OpenedImage`."""

    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"


def parse(settings: Mapping[str, Any], workdir: str = "/") -> Start:
    """How the program starts; BadImage if a member is of another type. workdir: where nothing is said of it."""
    named = settings.get("WorkingDir") or settings.get("workdir") or workdir
    if not (isinstance(named, str) and named.startswith("/") and "\0" not in named):
        raise BadImage(f"WorkingDir: {str(named)[:200]!r} is no absolute path")
    return Start(
        _texts(settings.get("Entrypoint", settings.get("entrypoint")), "Entrypoint"),
        _texts(settings.get("Cmd", settings.get("command")), "Cmd"),
        _environment(settings.get("Env", settings.get("environment"))),
        named,
    )


def read(path: Path, workdir: str = "/") -> Start:
    """What a file of JSON says."""
    try:
        if path.stat().st_size > _LARGEST:
            raise BadImage(f"{path}: more than {_LARGEST:,} bytes are too many for this file")
        settings = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise BadImage(f"{path}: it cannot be read as JSON: {error}") from None
    if not isinstance(settings, dict):
        raise BadImage(f'{path}: it holds no JSON object, such as {{"entrypoint": ["python", "main.py"]}}')
    return parse(settings, workdir)


def of_project(project: Path, workdir: str) -> Start:
    """What a Python project says of its start: in `modelyard-image.json`, else in `pyproject.toml`."""
    if (project / FILE).is_file():
        return read(project / FILE, workdir)
    path = project / "pyproject.toml"
    try:
        settings = tomllib.loads(path.read_text())
        own = settings.get("tool", {}).get("modelyard")
        scripts = settings.get("project", {}).get("scripts", {})
        if own is not None:
            return parse(own, workdir)
        if len(scripts) == 1:
            module, _, name = next(iter(scripts.values())).partition(":")
            call = _CALL.format(module=module.strip(), top=name.partition(".")[0].strip(), name=name.strip())
            return parse({"entrypoint": ["python", "-c", call]}, workdir)
    except (OSError, ValueError, AttributeError) as error:
        raise BadImage(f"{path}: it cannot be read: {error}") from None
    way_out = f'say it in {FILE}, such as {{"entrypoint": ["python", "main.py"]}}, or as entrypoint of [tool.modelyard]'
    raise BadImage(f"{path}: it does not say how the program starts, and has {len(scripts)} scripts; {way_out}")


def _texts(value: Any, what: str) -> list[str]:
    if value is None:
        return []
    if not (isinstance(value, list) and all(isinstance(one, str) and "\0" not in one for one in value)):
        raise BadImage(f"{what}: {json.dumps(value)[:200]} is no list of strings")
    return value


def _environment(value: Any) -> dict[str, str]:
    pairs = value.items() if isinstance(value, dict) else [text.partition("=")[::2] for text in _texts(value, "Env")]
    found = {}
    for name, text in pairs:
        if not (name and isinstance(text, str) and "=" not in name and "\0" not in name + text):
            raise BadImage(f"Env: {name[:100]!r} cannot be set to {str(text)[:100]!r}")
        found[name] = text
    return found

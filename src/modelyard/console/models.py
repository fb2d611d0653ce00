"""Brings base models to a server of this machine: from a folder, from a hub, or built here."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from modelyard.console.client import Client

FETCHED = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.txt", "*.model"]
CODE = "*.py"


def add(client: Client, id: str, path: str, copy: bool, allow_remote_code: bool = False, **facts: str | None) -> str:
    """Registers a folder; a sentence about what came of it."""
    model = client.post(
        "models/add",
        timeout=None,
        id=id,
        path=path,
        copy=1 if copy else None,
        remote_code=1 if allow_remote_code else None,
        **facts,
    )
    return f"{model['id']}: {model['architecture']} of {model['parameters']:,} parameters in {model['path']}"


def add_of_text(client: Client, id: str, path: str, options: Mapping[str, Any]) -> str:
    """Registers a folder as a model for the text of graphs; a sentence about what came of it."""
    if given := [name for name, value in options.items() if value]:
        raise click.UsageError(f"--{given[0].replace('_', '-')} is for base models; {id} takes a folder alone")
    model = client.post("text-models/add", timeout=None, id=id, path=path)
    return f"{model['id']}: {model['path']}"


def pull(client: Client, id: str, repository: str, revision: str | None, allow_remote_code: bool, **facts: Any) -> str:
    """Downloads a repository of a Hugging Face hub, and registers it. What was downloaded before is not again."""
    folder = _folder(client, id)
    if not folder.exists():
        half = folder.with_name(f".{folder.name}.half")
        _download(repository, revision, half, [*FETCHED, CODE] if allow_remote_code else FETCHED)
        os.rename(half, folder)
    return add(client, id, str(folder), False, allow_remote_code, **facts)


def build_tiny(client: Client, id: str, mini: bool, **options: Any) -> str:
    """Has a small model trained in a process of its own, which tells how it does, and registers it.

    One that was built before stays, whatever the options say.
    """
    folder = _folder(client, id)
    if built := not folder.exists():
        if importlib.util.find_spec("transformers") is None:
            raise click.ClickException('This needs more libraries: pip install "modelyard[language]"')
        folder.parent.mkdir(parents=True, exist_ok=True)
        given = [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value is not None]
        command = [sys.executable, "-m", "modelyard.workloads.language.tiny", str(folder), *given]
        if subprocess.run([*command, "--mini"] if mini else command).returncode:
            raise click.ClickException("The model was not built; the lines above tell why")
    kept = "" if built else f"\nIt had been built before; `modelyard models remove {id}` makes room for another."
    return add(client, id, str(folder), False) + kept


def _folder(client: Client, id: str) -> Path:
    """Where the model is to be put."""
    return Path(client.get("models/folder", id=id)["folder"])


def _download(repository: str, revision: str | None, folder: Path, patterns: list[str]) -> None:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ImportError:
        raise click.ClickException('This needs more libraries: pip install "modelyard[language]"') from None
    try:
        snapshot_download(repository, revision=revision, local_dir=folder, allow_patterns=patterns)
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = " ".join(str(error).split())[:500] or type(error).__name__
        raise click.ClickException(f"{repository} was not fetched: {reason}") from None
    shutil.rmtree(folder / ".cache", ignore_errors=True)

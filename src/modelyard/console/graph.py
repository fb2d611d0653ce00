"""Has graphs exported and checked by a process of its own, since that needs libraries that the command line does not
import.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import click

LIBRARIES = ("polars", "pyarrow", "scipy")
_MODULE = "modelyard.workloads.graph.bring"


def export(door: Mapping[str, Any], dry_run: bool, to: str | None, split: str | None, **asked: Any) -> int:
    """Exports, and tells what; the exit status."""
    wishes = {
        "targets": asked.pop("target"),
        "features": asked.pop("feature"),
        "split": split.split(",") if split else None,
        **{name: asked.pop(name) for name in ("exclude", "task", "split_column", "nodes_from_edges", "skip_bad_rows")},
    }
    return _run("export", {**asked, "to": None if dry_run else to, "wishes": wishes, "door": door})


def check(door: Mapping[str, Any], **asked: Any) -> int:
    """Checks, and tells what is wrong; the exit status."""
    return _run("check", {**asked, "door": door})


def _run(command: str, asked: Mapping[str, Any]) -> int:
    if any(find_spec(library) is None for library in LIBRARIES):
        raise click.ClickException('This needs more libraries: pip install "modelyard[graph]"')
    return subprocess.run([sys.executable, "-m", _MODULE, command, json.dumps(asked)]).returncode

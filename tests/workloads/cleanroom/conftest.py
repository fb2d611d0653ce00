"""Small Python projects as images, and contexts of tasks around them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from modelyard.images.folder import OpenedImage
from modelyard.runner.context import Context

BANK, SHOP = "111111111111", "222222222222"
MIB = 2**20


@pytest.fixture
def project(tmp_path: Path, sandbox: str) -> Callable[[str], Path]:
    """Makes an image of a program: `python main.py`."""

    def make(program: str) -> Path:
        folder = tmp_path / "image"
        (folder / "project").mkdir(parents=True)
        (folder / "project" / "main.py").write_text(program)
        OpenedImage(folder, "project", f"sha256:{'0' * 64}", ["python", "main.py"], workdir="/opt/program").write()
        return folder

    return make


@pytest.fixture
def channel(tmp_path: Path) -> Callable[..., Path]:
    """Makes the folder of a channel out of the texts of its files."""

    def make(*files: str, name: str = "channel") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for number, text in enumerate(files):
            (folder / f"part-{number:05}.csv").write_text(text)
        return folder

    return make


@pytest.fixture
def attempt(tmp_path: Path) -> Callable[..., Context]:
    """Makes the context of an attempt of a task: parameters, inputs, its number."""

    def make(parameters: Mapping[str, Any], inputs: Mapping[str, Path], number: int = 1, **members: Any) -> Context:
        task = tmp_path / f"task-{tmp_path.name}"
        (task / "state").mkdir(parents=True, exist_ok=True)
        output = task / "attempts" / str(number) / "output"
        output.mkdir(parents=True)
        events = output.parent / "events.jsonl"
        return Context(parameters, inputs, task / "state", output, cores=2, attempt=number, events=events, **members)

    return make

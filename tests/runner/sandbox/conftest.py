from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from modelyard.images.folder import OpenedImage
from modelyard.runner.sandbox import Bind, Container, Limits, NoSandbox
from modelyard.runner.sandbox.isolation import RUNTIMES, Isolation, attempt

MIB = 2**20
Start = Callable[..., Container]


@cache
def unusable(name: Isolation) -> str | None:
    """Why containers cannot run by this here."""
    try:
        attempt(name)
    except NoSandbox as error:
        return str(error)
    return None


@pytest.fixture(params=sorted(RUNTIMES))
def by(request: pytest.FixtureRequest) -> Isolation:
    """Each of what can isolate a container."""
    name: Isolation = request.param
    if reason := unusable(name):
        pytest.skip(reason)
    return name


class Said:
    """What a container has said."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def __call__(self, piece: bytes) -> None:
        self._pieces.append(piece)

    @property
    def text(self) -> str:
        return b"".join(self._pieces).decode(errors="replace")


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def project(tmp_path: Path) -> OpenedImage:
    """A Python project with nothing in it."""
    (tmp_path / "image" / "project").mkdir(parents=True)
    (tmp_path / "image" / "project" / "code.txt").write_text("the code")
    return OpenedImage(tmp_path / "image", "project", "sha256:0", ["python", "-c"], workdir="/opt/program")


@pytest.fixture
def start(project: OpenedImage, said: Said, by: Isolation, request: pytest.FixtureRequest) -> Start:
    """Makes a container that runs Python code."""
    names = iter(range(100))

    def make(code: str, binds: Sequence[Bind] = (), memory: int = 512 * MIB, **changes: Any) -> Container:
        given = {"environment": {}, "image": project, "output": said, **changes}
        limits = given.pop("limits", None) or Limits(memory=memory, cores=1)
        name = f"test-{abs(hash(request.node.nodeid)):x}-{next(names)}"
        return Container(arguments=[code], binds=binds, limits=limits, name=name, by=by, **given)

    return make


@pytest.fixture
def run(start: Start, said: Said) -> Callable[..., tuple[int, str]]:
    """Runs Python code to its end: the exit status, and what it said."""

    def work(code: str, *binds: Bind, **changes: Any) -> tuple[int, str]:
        with start(code, binds, **changes) as container:
            status = container.wait(60)
        assert status is not None, said.text
        return status, said.text

    return work

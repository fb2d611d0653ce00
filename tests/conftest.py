import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.boto import client_for, loop, send  # noqa: F401 (fixtures)

ROOT = Path(__file__).parent.parent
os.environ["PYTHONPATH"] = str(ROOT)  # task processes find tests.tasks


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A data folder; every process that its tasks left is killed at the end."""
    folder = tmp_path / "data"
    (folder / "objects").mkdir(parents=True)
    yield folder
    for pid in processes_of(folder):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> object:
    """Polls until the condition holds, and returns what it gave; fails at the deadline."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"did not happen within {seconds} s"
        time.sleep(0.01)
    return value


def processes_of(folder: Path) -> list[int]:
    """The processes whose command line names the folder; zombies do not count."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in command:
            found.append(int(entry.name))
    return found


assert sys.platform == "linux", "Modelyard's processes need Linux"

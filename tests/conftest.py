import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from modelyard.runner.sandbox import NoSandbox, isolation
from tests.boto import client_for, loop, send  # noqa: F401 (fixtures)

ROOT = Path(__file__).parent.parent
os.environ["PYTHONPATH"] = str(ROOT)  # task processes find tests.tasks


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A data folder; every process that its tasks left is killed at the end."""
    folder = tmp_path / "data"
    (folder / "objects").mkdir(parents=True)
    yield folder
    kill_all_of(folder)
    shutil.rmtree(folder, ignore_errors=True)


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> object:
    """Polls, ever less often, until the condition holds, and returns what it gave; fails at the deadline."""
    deadline, pause = time.monotonic() + seconds, 0.01
    while not (value := condition()):
        assert time.monotonic() < deadline, f"did not happen within {seconds} s"
        time.sleep(pause)
        pause = min(0.1, 1.1 * pause)  # what is waited for should have the processor
    return value


def kill_all_of(folder: Path) -> None:
    """Ends what tests left running over a data folder."""
    for pid in processes_of(folder):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def processes_of(folder: Path) -> list[int]:
    """The processes whose command line names the folder; zombies do not count."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        if str(folder) in command(int(entry.name)):
            found.append(int(entry.name))
    return found


def task_processes(folder: Path) -> list[int]:
    """The processes of tasks: what a resident parent forked, and what runs one task alone."""
    return [pid for pid in processes_of(folder) if "runner.main" in command(pid) or _is_fork(pid)]


def _is_fork(pid: int) -> bool:
    """Whether a resident parent forked it; what serves is a session of its own, as the parent is."""
    try:
        parent = int((Path("/proc") / str(pid) / "stat").read_text().rpartition(") ")[2].split()[1])
        return "runner.resident" in command(pid) and (os.getsid(pid) != pid or "runner.resident" in command(parent))
    except (FileNotFoundError, ProcessLookupError):
        return False


def command(pid: int) -> str:
    """The command line of a process; empty if it is gone."""
    try:
        return (Path("/proc") / str(pid) / "cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def printed(log: str) -> str:
    """A task's log without the lines that begin with a time: what its own code printed."""
    return re.sub(r"^\d{4}-\d\d-\d\d .*\n", "", log, flags=re.MULTILINE)


assert sys.platform == "linux", "Modelyard's processes need Linux"


@pytest.fixture(scope="session")
def sandbox() -> str:
    """What isolates containers here; skips where nothing can."""
    try:
        return isolation()
    except NoSandbox as error:
        pytest.skip(str(error))

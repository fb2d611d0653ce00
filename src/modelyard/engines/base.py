"""What an engine is: the place where tasks run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class TaskSpec:
    """All that a task is told.

    entry_point: `module:function` of the work.
    parameters: JSON for the work.
    inputs: folders that it may read, by name.
    cores: slots that it takes, and cores that it may keep busy.
    family: the resident parent that forks it; None for a process of its own.
    workers: the resident parent that forks its workers, if that is another one.
    gentle: whether every other process goes first (batch work does; what serves does not).
    """

    entry_point: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    cores: int = 1
    family: str | None = None
    gentle: bool = True
    workers: str | None = None


@dataclass(frozen=True)
class Running:
    """The attempt has living processes, or may still have."""


@dataclass(frozen=True)
class Succeeded:
    """The work returned `result`."""

    result: Mapping[str, Any]


@dataclass(frozen=True)
class Failed:
    """The work raised. `input` tells whether the user's data or configuration is to blame."""

    reason: str
    input: bool = False


@dataclass(frozen=True)
class Lost:
    """All processes are gone without a word, or were killed: nobody knows why, and another attempt may succeed."""

    reason: str


State = Running | Succeeded | Failed | Lost


class Engine(Protocol):
    """Runs tasks, one attempt at a time. A task's name is ours; attempts count from 1.

    Every method may be called again after the server was killed at any moment, with the same answer.
    """

    slots: int

    def start(self, task: str, attempt: int, spec: TaskSpec) -> None:
        """Starts an attempt. Whatever still lives of an earlier one is killed, and seen to be gone, before.

        Blocks until the process exists. An OSError or ResidentError leaves nothing running.
        """
        ...

    def state(self, task: str, attempt: int) -> State:
        """How the attempt stands. Cheap enough to ask ten times a second."""
        ...

    def stop(self, task: str, attempt: int) -> None:
        """Asks the attempt to end, and returns at once."""
        ...

    def kill(self, task: str, attempt: int) -> None:
        """Ends every process of the attempt, and returns when none is left. Blocks for a moment."""
        ...

    def attempt_folder(self, task: str, attempt: int) -> Path:
        """Where the attempt's `events.jsonl`, `log` and `output/` lie."""
        ...

    def inputs(self, task: str) -> Path:
        """Where a task's inputs are put that have to be fetched, each in a folder of its name. Need not exist."""
        ...

    def socket(self, task: str) -> Path:
        """Where a serving task is to listen. The socket appears when the task is ready, and is gone before an
        attempt starts.
        """
        ...

    def clear(self, task: str) -> None:
        """Deletes what a task that has ended kept for further attempts, and outputs that nobody will publish."""
        ...

    def forget(self, task: str) -> None:
        """Deletes all files of a task that has ended."""
        ...

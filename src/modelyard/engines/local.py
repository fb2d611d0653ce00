"""The local engine: tasks are processes of this machine, in folders of the data folder."""

import fcntl
import json
import os
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from modelyard import atomic, resident
from modelyard.engines.base import Failed, Lost, Running, State, Succeeded, TaskSpec
from modelyard.processes import Process, spawn
from modelyard.removal import remove

KILL_SECONDS = 60.0
"""How long killed processes may take to vanish before that is an error of ours."""


class LocalEngine:
    """Runs tasks under `folder`, as many at once as fit into `slots` (the caller counts).

    An attempt lives while its folder's lock is held: the kernel hands the lock from process to process and gives it
    back with the last of them, so that no kill at any moment leads to a second attempt beside the first.
    """

    def __init__(self, folder: Path, residents: Path, slots: int) -> None:
        self.slots = slots
        self._folder = folder
        self._residents = residents

    def start(self, task: str, attempt: int, spec: TaskSpec) -> None:
        """See `Engine.start`."""
        folder = self._folder / task
        here = self.attempt_folder(task, attempt)
        (here / "output").mkdir(parents=True, exist_ok=True)
        (folder / "state").mkdir(exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _take(lock, folder)
            self.socket(task).unlink(missing_ok=True)
            atomic.write(folder / "spec.json", json.dumps(asdict(spec)).encode())
            if spec.family is None:
                self._spawn(folder, attempt, lock, spec.cores)
            else:
                request = {"task": str(folder), "attempt": attempt, "gentle": spec.gentle}
                resident.fork(self._residents / spec.family, request, [lock])
        finally:
            os.close(lock)

    def state(self, task: str, attempt: int) -> State:
        """See `Engine.state`."""
        if _held(self._folder / task / "lock"):
            return Running()
        try:
            ended = json.loads((self.attempt_folder(task, attempt) / "exit.json").read_text())
        except FileNotFoundError:
            return Lost("all its processes are gone")
        if "result" in ended:
            return Succeeded(ended["result"])
        if "signal" in ended:
            return Lost(f"its process was killed by signal {ended['signal']}")
        if ended["fault"] == "stopped":
            return Lost("it was asked to stop")
        return Failed(ended["reason"], input=ended["fault"] == "input")

    def stop(self, task: str, attempt: int) -> None:
        """See `Engine.stop`."""
        if process := Process.read(self.attempt_folder(task, attempt) / "process.json"):
            process.terminate()

    def kill(self, task: str, attempt: int) -> None:
        """See `Engine.kill`."""
        _end(self._folder / task)

    def end_all(self) -> tuple[int, int]:
        """Ends all tasks, then all resident parents; returns how many lived. For folders that no server uses."""
        tasks, parents = (
            [folder for folder in root.glob("*") if _held(folder / "lock")] for root in (self._folder, self._residents)
        )
        for folder in (*tasks, *parents):
            _end(folder)
        return len(tasks), len(parents)

    def attempt_folder(self, task: str, attempt: int) -> Path:
        """See `Engine.attempt_folder`."""
        return self._folder / task / "attempts" / str(attempt)

    def inputs(self, task: str) -> Path:
        """See `Engine.inputs`."""
        return self._folder / task / "inputs"

    def socket(self, task: str) -> Path:
        """See `Engine.socket`."""
        return self._folder / task / "socket"

    def clear(self, task: str) -> None:
        """See `Engine.clear`."""
        for folder in (self._folder / task / "state", *(self._folder / task).glob("attempts/*/output")):
            with suppress(OSError):
                remove(folder)

    def forget(self, task: str) -> None:
        """See `Engine.forget`."""
        with suppress(OSError):
            remove(self._folder / task)

    def _spawn(self, folder: Path, attempt: int, lock: int, cores: int) -> None:
        """Starts a process in a session of its own, so that it outlives the server."""
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS")
        threads = {name: str(cores) for name in names}
        arguments = [str(folder), str(attempt), str(lock)]
        spawn("modelyard.runner.main", arguments, self.attempt_folder(folder.name, attempt) / "log", lock, threads)


def _held(lock_file: Path) -> bool:
    """Whether anybody holds the lock: a shared lock is refused while the exclusive one is out."""
    try:
        descriptor = os.open(lock_file, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _end(folder: Path) -> None:
    """Kills whoever holds the folder's lock, and returns when nobody does."""
    try:
        lock = os.open(folder / "lock", os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        _take(lock, folder)
    finally:
        os.close(lock)


def _take(lock: int, folder: Path) -> None:
    """Takes a folder's lock, killing who holds it: a resident parent, or all attempts that ever named themselves."""
    deadline = time.monotonic() + KILL_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            pass
        for named in (*folder.glob("attempts/*/process.json"), *folder.glob("process.json")):
            if process := Process.read(named):
                process.kill_group()
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes of {folder} do not die")
        time.sleep(0.01)

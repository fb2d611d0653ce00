"""The first and last code of a task's process: it runs the work in a child, waits for it, and says how it ended.

`python -m modelyard.runner.main FOLDER ATTEMPT LOCK`. The task's folder holds `spec.json`, `state/` and
`attempts/<n>/`; LOCK is the descriptor of the folder's lock, which every process of the task inherits and none but the
kernel gives back: while any of them lives, the lock is held, and no second attempt can start.
"""

import ctypes
import importlib
import json
import logging
import os
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from modelyard import atomic, resident
from modelyard.processes import Process, be_gentle
from modelyard.runner.context import Channel, Context, InputError, Stopped, Worker

MAX_RESULT_BYTES = 64 * 1024
FORK_TRIES = 3
"""How often a resident parent may end while it is asked for a worker: another one is started, and asked."""


def run_attempt(folder: Path, attempt: int, lock: int, residents: Path) -> int:
    """Runs one attempt of the task in `folder`: `exit.json` tells its end, then the whole process group goes.

    `exit.json` is one of `{"result": …}`, `{"reason": …, "fault": "input" | "task" | "stopped"}` and `{"signal": n}`.
    """
    os.set_inheritable(lock, False)  # what the task forks shares it; a resident parent that it may start must not
    here = folder / "attempts" / str(attempt)
    spec = json.loads((folder / "spec.json").read_text())
    Process.current().write(here / "process.json")
    _log_to(here / "log")
    if spec["gentle"]:
        be_gentle()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    runner = os.getpid()
    if (work := os.fork()) == 0:
        _die_with_parent(runner)
        _work(folder, here, attempt, spec, lock, residents)
    signal.signal(signal.SIGTERM, lambda *_: _ask_to_stop(work))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    _, status = os.waitpid(work, 0)
    ending = here / "ending.json"
    if os.WIFSIGNALED(status) or not ending.exists():
        ended = {"signal": os.WTERMSIG(status)} if os.WIFSIGNALED(status) else {"signal": 0}
        atomic.write(ending, json.dumps(ended).encode())
    os.replace(ending, here / "exit.json")
    os.killpg(0, signal.SIGKILL)
    return 0


def run_worker(
    entry_point: str, parameters: Mapping[str, Any], channel: int, task: int, log: str, gentle: bool = True
) -> int:
    """A worker's whole life: it works on one thread, and ends when its task does.

    task: the pid of the process that asked for the worker. gentle: whether it lets others go first.
    """
    _end_with(task)
    if gentle:
        be_gentle()
    _log_to(Path(log))
    _limit_threads(1)
    try:
        _resolve(entry_point)(Channel(socket.socket(fileno=channel)), parameters)
    except BrokenPipeError:  # the task has ended, or does not want to know any more
        return 1
    except Exception:  # the last place that can tell
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _work(folder: Path, here: Path, attempt: int, spec: Mapping[str, Any], lock: int, residents: Path) -> None:
    """The work itself, in the runner's child. Never returns."""
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    _limit_threads(spec["cores"])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr, force=True)

    def fork(entry_point: str, parameters: Mapping[str, Any], tries: int = FORK_TRIES) -> Worker:
        ours, theirs = socket.socketpair()
        request = {
            "entry_point": entry_point,
            "parameters": parameters,
            "group": os.getpgrp(),
            "log": str(here / "log"),
            "gentle": spec["gentle"],
        }
        family = spec.get("workers") or spec["family"]
        try:
            with theirs:
                pid = resident.fork(residents / family, request, [theirs.fileno(), lock])
        except resident.ResidentError:
            ours.close()
            if tries == 1:
                raise
            return fork(entry_point, parameters, tries - 1)
        return Worker(pid, Channel(ours))

    logging.info("attempt %d, on %d of %d cores", attempt, spec["cores"], os.cpu_count() or 0)
    context = Context(
        parameters=spec["parameters"],
        inputs={name: Path(path) for name, path in spec["inputs"].items()},
        state=folder / "state",
        output=here / "output",
        cores=spec["cores"],
        attempt=attempt,
        events=here / "events.jsonl",
        fork=fork,
        should_stop=asked.is_set,
    )
    ended = _ending(spec["entry_point"], context)
    atomic.write(here / "ending.json", json.dumps(ended).encode())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _ending(entry_point: str, context: Context) -> dict[str, Any]:
    """Calls the entry point, and says how that ended."""
    try:
        result = _resolve(entry_point)(context)
        size = len(json.dumps(result))
        assert size <= MAX_RESULT_BYTES, f"a result of {size} bytes; at most {MAX_RESULT_BYTES} are kept"
        return {"result": result}
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return {"reason": str(error), "fault": "input"}
    except Stopped:
        return {"reason": "stopped on request", "fault": "stopped"}
    except BaseException as error:
        traceback.print_exc()
        return {"reason": f"{type(error).__name__}: {error}", "fault": "task"}


def _resolve(entry_point: str) -> Any:
    module, _, name = entry_point.partition(":")
    return getattr(importlib.import_module(module), name)


def _ask_to_stop(work: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(work, signal.SIGTERM)


def _log_to(path: Path) -> None:
    """Sends standard output and error, of this process and its children, to the attempt's log."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _die_with_parent(parent: int) -> None:
    """Has the kernel kill this process when its parent ends (PR_SET_PDEATHSIG), and checks that it still lives."""
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _end_with(pid: int) -> None:
    """Ends this process when the process `pid` does, which need not be its parent."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        os._exit(1)

    def watch() -> None:
        select.select([descriptor], [], [])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _limit_threads(cores: int) -> None:
    """Fixes the number of threads, before any operation: a forked child that inherits more hangs (measured)."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS")
    for name in names:
        os.environ[name] = str(cores)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(cores)


if __name__ == "__main__":
    task, number, descriptor = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    sys.exit(run_attempt(task, number, descriptor, residents=task.parent.parent / "residents"))

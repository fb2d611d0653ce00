"""The resident parent: imports a family's libraries once, and forks processes that find them in memory.

`python -m modelyard.runner.resident FOLDER`, where the folder's name is the family. It does nothing else, so that it
may fork: no thread, no parallel region, no library call beyond the imports. It ends after ten idle minutes.
"""

import fcntl
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from modelyard import sockets
from modelyard.processes import Process
from modelyard.resident import receive
from modelyard.runner.main import run_attempt, run_worker

FAMILIES = {
    "graph": (
        "torch_geometric",
        "optuna",
        "modelyard.workloads.graph.training.train",
        "modelyard.workloads.graph.training.tune",
    ),
    "language": (
        "peft.utils.transformers_weight_conversion",
        "transformers.models.llama.modeling_llama",
        "modelyard.workloads.language.processing",
        "modelyard.workloads.language.serve",
        "modelyard.workloads.language.training",
        "modelyard.workloads.language.validation",
    ),
}
"""The modules that each family's processes need, ours too: they are half of what a trial takes to its first epoch.

None may start a thread when it is imported, hence nothing that brings Polars or Arrow (transformers' Trainer does).
"""

IDLE_SECONDS = 600.0


def main(folder: Path) -> None:
    """Listens, imports, and forks on request until nobody has asked for `IDLE_SECONDS`."""
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    listener = sockets.bind(folder / "socket")
    Process.current().write(folder / "process.json")
    for module in FAMILIES[folder.name]:
        importlib.import_module(module)
    assert threading.active_count() == 1, "a process with threads must not fork"
    gc.collect()
    gc.freeze()
    _serve(folder, listener, lock)
    (folder / "socket").unlink(missing_ok=True)


def _serve(folder: Path, listener: socket.socket, lock: int) -> None:
    """Forks for whoever asks. A dead child is collected at the next request, or within a second."""
    children: set[int] = set()
    idle = 0.0
    while idle < IDLE_SECONDS or children:
        ready, _, _ = select.select([listener], [], [], 1.0)
        children -= _ended(children)
        idle = 0.0 if ready or children else idle + 1.0
        if ready:
            connection, _ = listener.accept()
            with connection, suppress(ValueError, OSError):
                children.add(_answer(folder, connection, inherited=[listener.fileno(), lock]))


def _answer(folder: Path, connection: socket.socket, inherited: list[int]) -> int:
    """Forks as one request asks. The child keeps nothing of the parent but its memory."""
    request, descriptors = receive(connection)
    asker = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    if (pid := os.fork()) == 0:
        connection.close()
        for descriptor in inherited:
            os.close(descriptor)
        _become(folder, request, descriptors, asker)
    for descriptor in descriptors:
        os.close(descriptor)
    connection.sendall(json.dumps({"pid": pid}).encode())
    return pid


def _become(folder: Path, request: dict[str, Any], descriptors: list[int], asker: int) -> None:
    """The child's whole life: a task's attempt, or a worker of a task. Never returns."""
    status = 1
    try:
        if "task" in request:
            # The kernel weighs sessions: what serves needs one of its own, away from those who let it go first.
            os.setpgid(0, 0) if request["gentle"] else os.setsid()
            status = run_attempt(Path(request["task"]), request["attempt"], descriptors[0], residents=folder.parent)
        else:
            gentle = request.get("gentle", True)
            with suppress(PermissionError):  # the task began under an earlier parent, in another session
                os.setpgid(0, request["group"]) if gentle else os.setsid()
            work = request["entry_point"], request["parameters"], descriptors[0], asker, request["log"], gentle
            status = run_worker(*work)
    finally:
        os._exit(status)


def _stand_apart(task: Path) -> None:
    """Makes a task's process lead a group, which is what its workers join; what is not gentle leads a session.

    The kernel shares the processor out between sessions, and this one's share is small once a task has been gentle.
    """
    if json.loads((task / "spec.json").read_text())["gentle"]:
        os.setpgid(0, 0)
    else:
        os.setsid()


def _ended(children: set[int]) -> set[int]:
    """Collects the children that have ended."""
    return {pid for pid in children if os.waitpid(pid, os.WNOHANG)[0] == pid}


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main(Path(sys.argv[1]))

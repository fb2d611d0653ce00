"""Asks a resident parent for processes: one that has imported a family's libraries already, and forks in milliseconds.

The parent is a program of its own (`modelyard.runner.resident`). It belongs to a folder, in which its socket, lock and
log lie, so that a server that starts again, and the tasks themselves, find it; whoever finds none starts one.
"""

import array
import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modelyard import sockets
from modelyard.processes import spawn

START_SECONDS = 120.0
"""How long a new parent may take to listen; it listens before it imports."""


class ResidentError(Exception):
    """The resident parent could not be started, or refused to fork."""


def fork(folder: Path, request: Mapping[str, Any], descriptors: Sequence[int] = ()) -> int:
    """Has the parent of `folder` fork a process that does what `request` says; returns its pid.

    Starts the parent if none listens. The new process inherits `descriptors` in their order. Blocks until the fork has
    happened, which includes the parent's imports if it is new. ResidentError if the parent ends meanwhile: it may have
    forked, hence who asks again takes other descriptors, and lets those of the first try tell that process to end.
    """
    message = json.dumps(request).encode()
    with _connect(folder) as connection:
        try:
            answer = _exchange(connection, message, descriptors)
        except ConnectionError:
            answer = b""
    if not answer:
        raise ResidentError(f"the resident parent ended while it was asked to fork; its log is {folder / 'log'}")
    return int(json.loads(answer)["pid"])


def _exchange(connection: socket.socket, message: bytes, descriptors: Sequence[int]) -> bytes:
    """Sends a request; the answer, empty if the parent has ended."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    connection.sendmsg([len(message).to_bytes(4, "big")], rights)
    connection.sendall(message)
    connection.shutdown(socket.SHUT_WR)
    return connection.makefile("rb").read()


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """The parent's side of `fork`: the request and the descriptors that came with it; ValueError if it is cut short."""
    prefix, rights, _, _ = connection.recvmsg(4, socket.CMSG_SPACE(16 * 4))
    descriptors = array.array("i")
    for _, _, data in rights:
        descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    message = connection.makefile("rb").read()
    if len(prefix) != 4 or len(message) != int.from_bytes(prefix, "big"):
        for descriptor in descriptors:
            os.close(descriptor)
        raise ValueError("a request to fork was cut short")
    return json.loads(message), list(descriptors)


def _connect(folder: Path) -> socket.socket:
    """A connection to the parent in `folder`; one is started if none listens (of two, one finds the lock taken)."""
    deadline = time.monotonic() + START_SECONDS
    started = False
    while True:
        try:
            return sockets.connect(folder / "socket")
        except (FileNotFoundError, ConnectionRefusedError):
            pass
        if not started:
            folder.mkdir(parents=True, exist_ok=True)
            spawn("modelyard.runner.resident", [str(folder)], folder / "log")
            started = True
        if time.monotonic() > deadline:
            raise ResidentError(f"no resident parent listens in {folder}; see {folder / 'log'}")
        time.sleep(0.01)

"""What a task's own code sees of the world: its parameters, its folders, and two ways to talk.

An entry point of a task is a function `run(context: Context) -> Mapping` whose answer is its result, at most 64 KB of
JSON.
An entry point of a worker is a function `work(channel: Channel, parameters: Mapping) -> None`.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class InputError(Exception):
    """The user's data or configuration is wrong. The message becomes the job's failure reason as it stands:
    it names the value, the place (file and line for data) and the way out.
    """


class Stopped(Exception):
    """The task was asked to stop, and its code ended early because of that."""


class Channel:
    """One end of a conversation between a task and a worker: JSON messages, one a line, over a stream socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = b""
        self._ended = False

    def fileno(self) -> int:
        """The file descriptor to wait on with `selectors`."""
        return self._connection.fileno()

    def send(self, **message: Any) -> None:
        """Sends one message; BrokenPipeError when the other side is gone."""
        self._connection.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> dict[str, Any] | None:
        """Waits for the next message; None when the other side is gone."""
        while (line := self._next_line()) is None:
            if self._ended:
                return None
            self._read(block=True)
        return line

    def poll(self) -> dict[str, Any] | None:
        """The next message if one has arrived; never waits. See `ended` for whether more can come."""
        if (line := self._next_line()) is None and not self._ended:
            self._read(block=False)
            line = self._next_line()
        return line

    @property
    def ended(self) -> bool:
        """Whether the other side is gone and every message has been taken."""
        return self._ended and b"\n" not in self._received

    def close(self) -> None:
        """Ends the conversation."""
        self._connection.close()

    def _next_line(self) -> dict[str, Any] | None:
        line, newline, rest = self._received.partition(b"\n")
        if not newline:
            return None
        self._received = rest
        message: dict[str, Any] = json.loads(line)
        return message

    def _read(self, block: bool) -> None:
        try:
            received = self._connection.recv(65536, 0 if block else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except ConnectionResetError:
            received = b""
        self._received += received
        self._ended = not received


@dataclass(frozen=True)
class Worker:
    """A process that works for a task, in the task's process group. It dies with the task."""

    pid: int
    channel: Channel


@dataclass(frozen=True)
class Context:
    """What a task may use. Every path is a folder of its own; nothing else is given.

    parameters: what the job's plan says, JSON.
    inputs: folders to read, by name.
    state: kept between attempts (checkpoints, finished trials); write by rename.
    output: published to the user's location if, and only if, the task succeeds.
    cores: how many cores the task may keep busy, its workers included.
    attempt: 1 for the first try.
    """

    parameters: Mapping[str, Any]
    inputs: Mapping[str, Path]
    state: Path
    output: Path
    cores: int = 1
    attempt: int = 1
    events: Path | None = None
    fork: Callable[[str, Mapping[str, Any]], Worker] = field(default=lambda *_: _no_workers())
    should_stop: Callable[[], bool] = field(default=lambda: False)

    def report(self, step: int, **metrics: float | int | str | bool | None) -> None:
        """Appends one line to the attempt's `events.jsonl`.

        `step` counts within `phase` (a word for people, such as "reading edges"); `total`, where it is known, is the
        step that ends the phase; `trial` is the trial's number in a search. All other names are metrics.
        """
        if self.events is None:
            return
        line = json.dumps({"time": round(time.time(), 3), "step": step, **metrics}) + "\n"
        descriptor = os.open(self.events, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)


def _no_workers() -> Worker:
    raise RuntimeError("this task was started without a way to fork workers")

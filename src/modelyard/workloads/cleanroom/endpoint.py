"""A container's web server: `/ping`, `/execution-parameters` and `/invocations` on port 8080 of its own network.

What it answers is not trusted: everything is limited in size and time, and goes nowhere but where it is taken.
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-batch-code.html
"""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from typing import Any

from modelyard.runner.sandbox import Container

PORT = 8080
PING_SECONDS = 2.0
PARAMETERS_SECONDS = 2.0
MOST_PARAMETERS = 65536
ENDING_SECONDS = 0.05
"""How long after its connections a container may turn out to have ended."""
_PIECE = 1 << 20

NoAnswer = (OSError, HTTPException, ValueError)
"""What a request ends with that gets none, or one that is no HTTP."""


class Refused(Exception):
    """An answer with a status other than 2xx."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP status {status}")
        self.status = status

    @property
    def may_help(self) -> bool:
        """Whether asking again may help."""
        return self.status == 429 or self.status >= 500


class Endpoint:
    """Connections to one container, kept alive and used again; several requests may be under way at once."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._idle: list[_Connection] = []
        self._lock = threading.Lock()
        self._deadlines: dict[_Connection, float] = {}
        self._closed = False

    def healthy(self) -> bool:
        """Whether `/ping` answers 200."""
        with suppress(*NoAnswer, Refused):
            return self._ask("GET", "/ping", PING_SECONDS, lambda _: None) == 200
        return False

    def parameters(self) -> Mapping[str, Any]:
        """What `/execution-parameters` says; nothing if it does not answer, or not with a JSON object."""
        body = bytearray()

        def take(piece: bytes) -> None:
            body.extend(piece)
            if len(body) > MOST_PARAMETERS:
                raise ValueError

        with suppress(*NoAnswer, Refused, RecursionError):
            self._ask("GET", "/execution-parameters", PARAMETERS_SECONDS, take)
            told = json.loads(body)
            return told if isinstance(told, dict) else {}
        return {}

    def invoke(self, body: bytes, headers: Mapping[str, str], seconds: float, take: Callable[[bytes], None]) -> None:
        """Posts to `/invocations`; `take` gets the answer in pieces. Refused, or one of NoAnswer."""
        self._ask("POST", "/invocations", seconds, take, body, headers)

    def expire(self) -> None:
        """Ends requests whose time is over. Somebody calls it now and then, since a server may answer byte by byte."""
        with self._lock:
            late = [connection for connection, end in self._deadlines.items() if time.monotonic() > end]
        for connection in late:
            connection.interrupt()

    def close(self) -> None:
        """Ends all requests, now and later."""
        with self._lock:
            self._closed = True
            active, idle = list(self._deadlines), self._idle
        for connection in active:
            connection.interrupt()
        for connection in idle:
            connection.close()

    def _ask(
        self,
        method: str,
        path: str,
        seconds: float,
        take: Callable[[bytes], None],
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> int:
        with self._connection(seconds) as connection:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            if not 200 <= answer.status < 300:
                raise Refused(answer.status)
            until_closed = answer.will_close and answer.length is None and not answer.chunked
            while piece := answer.read(_PIECE):
                take(piece)
            cut_off = answer.length or connection.interrupted
            if cut_off or (until_closed and self._container.wait(ENDING_SECONDS) is not None):
                raise ConnectionAbortedError  # what looks like the end of the answer is none
            return answer.status

    @contextmanager
    def _connection(self, seconds: float) -> Iterator["_Connection"]:
        """A connection for one request; only after a whole answer it is used again."""
        with self._lock:
            if self._closed:
                raise ConnectionAbortedError
            connection = self._idle.pop() if self._idle else _Connection(self._container)
            self._deadlines[connection] = time.monotonic() + seconds
        try:
            yield connection
        except BaseException:
            connection.close()
            with self._lock:  # a server that has closed one has most likely closed all
                idle, self._idle = self._idle, []
            for other in idle:
                other.close()
            raise
        else:
            with self._lock:
                if not self._closed:
                    self._idle.append(connection)
            if self._closed:
                connection.close()
        finally:
            with self._lock:
                del self._deadlines[connection]


class _Connection(HTTPConnection):
    """HTTP over the only way into the container; it never connects to anything else."""

    def __init__(self, container: Container) -> None:
        super().__init__("127.0.0.1", PORT)
        self._container = container
        self._socket: socket.socket | None = None
        self.interrupted = False

    def connect(self) -> None:
        self.sock = self._socket = self._container.connect(PORT)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def interrupt(self) -> None:
        """Wakes whoever waits on it, even for an answer after which the connection ends (`sock` is None then)."""
        self.interrupted = True
        with suppress(OSError):
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)

"""A container: one program of an image, alone with its files, its limits and a network that is loopback only."""

import array
import errno
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Self

from modelyard.images.folder import OpenedImage
from modelyard.runner.sandbox import gate
from modelyard.runner.sandbox.gpu import devices
from modelyard.runner.sandbox.isolation import RUNTIMES, Isolation, isolation
from modelyard.runner.sandbox.limits import Bind, Limits
from modelyard.runner.sandbox.program import Program, Running
from modelyard.runner.sandbox.view import PROGRAMS, PROJECT, view
from modelyard.runner.sandbox.watch import Exceeded, watch

_PIECE = 65536
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Container:
    """A program from start to end, for a `with` statement: leaving it kills whatever still runs.

    It starts on entering: as the image's entry point, or `entrypoint` in its place, followed by `arguments` (without
    either, the image's own command). Its `environment` is the image's, this, and a few variables that every program
    needs; nothing of ours.
    name: of the task, unlike that of any other container that runs. output: called in a thread of its own with pieces
    of what the program says (standard output and error); as long as it does not return, the program waits.
    by: what isolates it, if that is not to be `isolation()`. network: whether it has the machine's own network, and all
    that can be reached there, this machine's loopback included. gpu: whether it has the machine's GPUs, if any.
    On entering, NoSandbox if nothing can isolate the program, ValueError if a bind cannot be or there is no program.
    """

    def __init__(
        self,
        image: OpenedImage,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        binds: Sequence[Bind],
        limits: Limits,
        name: str,
        output: Callable[[bytes], None],
        entrypoint: Sequence[str] | None = None,
        hostname: str = "algo-1",
        by: Isolation | None = None,
        network: bool = False,
        gpu: bool = False,
    ) -> None:
        self._program = Program(
            name=name,
            arguments=_arguments(image, arguments, entrypoint),
            environment={**_defaults(image), **image.environment, **environment},
            workdir=image.workdir,
            hostname=hostname,
            view=view(image, binds, limits, hostname, network, devices() if gpu else ()),
            limits=limits,
            network=network,
        )
        self._output = output
        self._by = by
        self._started: Future[Running] = Future()
        self._over = Event()
        self._ended = Event()
        self._threads: list[Thread] = []
        self._status = 0
        self._exceeded: Exceeded | None = None
        self._gate: tuple[subprocess.Popen[bytes], socket.socket] | None = None
        self._asking = Lock()

    def __enter__(self) -> Self:
        said, saying = os.pipe()
        Thread(target=self._run, args=(RUNTIMES[self._by or isolation()], saying), daemon=True).start()
        try:
            self._running = self._started.result()
        except BaseException:
            os.close(said)
            raise
        self._threads = [Thread(target=self._read, args=(said,)), Thread(target=self._watch)]
        for thread in self._threads:
            thread.daemon = True
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._ended.is_set():
            self._running.kill()
        self._ended.wait()
        self._close_gate()
        self._running.close()

    def poll(self) -> int | None:
        """The program's exit status, 128 and the signal's number if one ended it; None while it runs."""
        return self._status if self._ended.is_set() else None

    def wait(self, seconds: float | None = None) -> int | None:
        """Waits for the end, for so many seconds at most: the exit status; None if it still runs.

        All output has been handed over by then.
        """
        self._ended.wait(seconds)
        return self.poll()

    def stop(self, grace: float = 120) -> int:
        """Asks the program to end (SIGTERM), and after `grace` seconds kills all of it: the exit status."""
        if not self._ended.is_set():
            self._running.terminate()
            if not self._ended.wait(grace):
                self._running.kill()
            self._ended.wait()
        return self._status

    def connect(self, port: int = 8080) -> socket.socket:
        """A connection to a port of the container's own loopback.

        ConnectionRefusedError until somebody listens, TimeoutError if nobody takes it.
        """
        with self._asking:
            try:
                control = self._gate_open()
                control.send(str(port).encode())
                answer, rights, _, _ = control.recvmsg(1, socket.CMSG_SPACE(array.array("i").itemsize))
            except OSError:
                answer, rights = b"", []
        if rights:
            return socket.socket(fileno=array.array("i", rights[0][2])[0])
        number = answer[0] if answer else errno.ECONNREFUSED
        raise OSError(number, f"port {port} of the container: {os.strerror(number)}")

    @property
    def memory_exceeded(self) -> bool:
        """Whether the container, or one of its processes, was killed because of its memory."""
        return self._exceeded == "memory"

    @property
    def disk_exceeded(self) -> bool:
        """Whether the container was killed because of what it wrote."""
        return self._exceeded == "disk"

    def _run(self, runtime: Callable[[Program, int], Running], saying: int) -> None:
        """Starts the program and waits for it, in a thread of its own: the program ends with this thread, which may see
        other files than the rest of us by then, and therefore starts no other thread.
        """
        try:
            running = runtime(self._program, saying)
        except BaseException as error:
            self._started.set_exception(error)
            return
        finally:
            os.close(saying)
        self._started.set_result(running)
        self._status = running.wait()
        self._over.set()

    def _read(self, said: int) -> None:
        with os.fdopen(said, "rb", buffering=0) as stream:
            while piece := stream.read(_PIECE):
                self._output(piece)

    def _watch(self) -> None:
        """Looks after the program until it has ended, and nothing more is heard of it."""
        running = self._running
        unlooked = running.out_of_memory() is None
        self._exceeded = watch(self._program, running.root, self._over, memory=unlooked)
        if self._exceeded is not None:
            running.kill()
        self._over.wait()
        self._threads[0].join()
        if running.out_of_memory():
            self._exceeded = "memory"
        self._ended.set()

    def _gate_open(self) -> socket.socket:
        """The way into the container's network; it is opened by the first who wants to go in."""
        if self._gate is None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            network = self._running.network()
            try:
                descriptors = (theirs.fileno(), network)
                command = [sys.executable, "-I", "-S", str(Path(gate.__file__)), *map(str, descriptors)]
                process = subprocess.Popen(
                    command, pass_fds=descriptors, env={}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
                )
            finally:
                os.close(network)
                theirs.close()
            self._gate = process, ours
        return self._gate[1]

    def _close_gate(self) -> None:
        if self._gate is not None:
            process, control = self._gate
            control.close()
            process.kill()
            process.wait()
            self._gate = None


def _arguments(image: OpenedImage, arguments: Sequence[str], entrypoint: Sequence[str] | None) -> Sequence[str]:
    start = image.entrypoint if entrypoint is None else entrypoint
    given = arguments or (image.command if entrypoint is None else ())
    if not (start or given):
        raise ValueError("the image has neither an entry point nor a command, and none is given: nothing can start")
    return [*start, *given]


def _defaults(image: OpenedImage) -> dict[str, str]:
    """What any program may expect to find; a project's Python is ours."""
    common = {"PATH": _PATH, "HOME": "/tmp", "LANG": "C.UTF-8"}
    if image.form != "project":
        return common
    return {
        **common,
        "PATH": f"{sys.prefix}/bin:{PROGRAMS}:{_PATH}",  # a link to a venv's python would not find its packages
        "PYTHONPATH": f"{PROJECT}:{PROJECT}/src",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }

"""What keeps a container apart on this machine: bubblewrap where it can, else Podman, else nothing runs."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from tempfile import TemporaryFile
from typing import Literal
from uuid import uuid4

from modelyard.runner.sandbox.bubblewrap import Bubblewrap
from modelyard.runner.sandbox.limits import Limits
from modelyard.runner.sandbox.podman import Podman
from modelyard.runner.sandbox.program import NoSandbox, Program, Running
from modelyard.runner.sandbox.view import MIB, Step, installation

Isolation = Literal["bubblewrap", "podman"]
RUNTIMES: Mapping[Isolation, Callable[[Program, int], Running]] = {"bubblewrap": Bubblewrap, "podman": Podman}


@cache
def isolation() -> Isolation:
    """What isolates containers here: a program was really run in it, once in this process. NoSandbox if none can."""
    reasons = []
    for name in RUNTIMES:
        try:
            attempt(name)
            return name
        except NoSandbox as error:
            reasons.append(str(error))
    raise NoSandbox(f"Nothing can isolate a container here: {'; '.join(reasons)}")


def attempt(name: Isolation) -> None:
    """Runs a program that does nothing; NoSandbox, with what it said, if it does not end well."""
    limits = Limits(memory=64 * MIB, cores=1)
    steps = [*installation(), Step("memory", "/tmp", writable=True, size=MIB)]
    program = Program(f"probe-{uuid4().hex}", ["true"], {"PATH": "/usr/bin:/bin"}, "/", "probe", steps, limits)
    with ThreadPoolExecutor(1) as thread, TemporaryFile() as said:

        def run() -> int:
            running = RUNTIMES[name](program, said.fileno())
            try:
                return running.wait()
            finally:
                running.close()

        try:
            status = thread.submit(run).result()
        except OSError as error:
            raise NoSandbox(f"{name}: {error}") from None
        if status != 0:
            said.seek(0)
            raise NoSandbox(f"{name} cannot run here: {said.read(500).decode(errors='replace').strip()}")

"""Containers by Podman, where bubblewrap is missing or not allowed to make namespaces.

It runs the image's own files, with nothing in its storage. What it starts is no child of ours and would outlive us:
a guard removes the container when we are gone, and the next one of the same name takes its place.
"""

import json
import os
import resource
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from modelyard.runner.sandbox import seccomp
from modelyard.runner.sandbox.bubblewrap import cores
from modelyard.runner.sandbox.cgroup import Cgroup
from modelyard.runner.sandbox.limits import Limits
from modelyard.runner.sandbox.program import NoSandbox, Program
from modelyard.runner.sandbox.staging import NOBODY, give_away
from modelyard.runner.sandbox.view import MIB, Step

_START_SECONDS = 60
_ALONE = (
    "--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--ipc=private", "--http-proxy=false",
    "--security-opt=no-new-privileges", "--security-opt=label=disable", "--security-opt=mask=/sys", "--no-hosts",
    "--log-driver=none", "--image-volume=ignore", "--replace", f"--user={NOBODY}:{NOBODY}",
)  # fmt: skip
_LOOK_SECONDS = 0.1
_PROFILES = ("/etc/containers/seccomp.json", "/usr/share/containers/seccomp.json")
_MOST_PROCESSES = 2**15
"""Of one user, as Podman limits itself; the container has a limit of its own."""


class Podman:
    """See `Running`."""

    def __init__(self, program: Program, output: int) -> None:
        self._podman = _command()
        self._name = f"modelyard-{program.name}"
        self._folder = TemporaryDirectory(prefix="modelyard-")
        self._out_of_memory = False
        self._ended_by_us = False
        if os.geteuid() == 0:
            for path in program.writable:
                give_away(path, NOBODY)
        os.sched_setaffinity(0, cores(program.limits.cores, hash(program.name)))
        told = Path(self._folder.name) / "pid"
        self._guard = self._guarded()
        self._process = subprocess.Popen(
            [*self._podman, "run", *self._options(program, told), *program.arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
        )
        self.root = self._first_process(told)
        self._pidfd = _opened(self.root)
        self._cgroup = Cgroup.of(self.root)

    def wait(self) -> int:
        """See `Running`."""
        while self._process.poll() is None:
            self._out_of_memory |= self._cgroup.out_of_memory()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_LOOK_SECONDS)
        status = self._process.wait()
        asked = [*self._podman, "inspect", "--format={{.State.OOMKilled}}", self._name]
        found = subprocess.run(asked, capture_output=True, text=True)
        self._out_of_memory |= found.stdout.strip() == "true" or (
            status == 128 + signal.SIGKILL and not self._ended_by_us
        )
        self._remove()
        return status if status >= 0 else 128 - status

    def terminate(self) -> None:
        """See `Running`."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """See `Running`."""
        self._ended_by_us = True
        self._signal(signal.SIGKILL)

    def network(self) -> int:
        """See `Running`."""
        network = os.open(f"/proc/{self.root}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        if self._pidfd is None or select.select([self._pidfd], [], [], 0)[0]:
            os.close(network)
            raise ProcessLookupError("the container has ended")
        return network

    def out_of_memory(self) -> bool | None:
        """See `Running`."""
        return self._out_of_memory

    def close(self) -> None:
        """See `Running`."""
        if self._pidfd is not None:
            os.close(self._pidfd)
        self._folder.cleanup()

    def _signal(self, number: signal.Signals) -> None:
        if self._pidfd is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def _guarded(self) -> "subprocess.Popen[bytes]":
        """A process that removes the container when nobody holds its standard input any more: when we have ended."""
        removing = [*self._podman, "rm", "--force", "--time=0", "--ignore", self._name]
        script = 'read -r _; exec "$@" > /dev/null 2>&1'
        return subprocess.Popen(["sh", "-c", script, "sh", *removing], stdin=subprocess.PIPE, start_new_session=True)

    def _remove(self) -> None:
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait()

    def _first_process(self, told: Path) -> int:
        """The program's process; 0 if it has ended before anybody saw it."""
        deadline = time.monotonic() + _START_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            with suppress(OSError, ValueError):
                return int(told.read_text())
            time.sleep(0.002)
        with suppress(OSError, ValueError):
            return int(told.read_text())
        return 0

    def _options(self, program: Program, told: Path) -> Iterator[str]:
        limits = program.limits
        yield f"--network={'host' if program.network else 'none'}"
        yield from (*_ALONE, f"--name={self._name}", f"--pidfile={told}", f"--hostname={program.hostname}")
        if os.geteuid() != 0:
            yield f"--userns=keep-id:uid={NOBODY},gid={NOBODY}"
        yield from (f"--memory={limits.memory}", f"--memory-swap={limits.memory}", f"--cpus={limits.cores}")
        yield from (f"--pids-limit={limits.processes}", f"--shm-size={limits.memory // 2}")
        yield from (f"--ulimit={name}={most}:{most}" for name, most in _ulimits(limits))
        yield from (f"--env={name}={value}" for name, value in program.environment.items())
        profile = Path(self._folder.name) / "seccomp.json"
        profile.write_text(json.dumps(seccomp.profile(_usual_profile())))
        yield f"--security-opt=seccomp={profile}"
        yield f"--workdir={program.workdir}"
        yield from self._view(program.view)

    def _view(self, steps: Sequence[Step]) -> Iterator[str]:
        """The files that the container sees; what no bind brings lies in a folder of ours while it runs."""
        skeleton = Path(self._folder.name) / "root"
        root = next((step.source for step in steps if step.kind == "bind" and step.target == "/"), skeleton)
        for name in ("proc", "sys", "dev", "etc"):
            (skeleton / name).mkdir(parents=True, exist_ok=True)
        for path in (Path(self._folder.name), skeleton):
            path.chmod(0o755)
        for step in steps:
            place = skeleton / step.target.lstrip("/")
            if step.kind == "memory":
                mode = "1777" if step.writable else "755"
                yield f"--tmpfs={step.target}:rw,size={step.size},mode={mode},nosuid,nodev,notmpcopyup"
            elif step.kind == "bind" and step.target != "/":
                yield _mount(step)
            elif step.kind == "device":
                yield f"--device={step.source}:{step.target}:rw"
            elif step.kind == "link":
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(step.text)
            elif step.kind == "file":
                place.write_text(step.text)
                place.chmod(0o644)
                if root != skeleton:
                    yield _mount(Step("bind", step.target, place))
        yield from ("--rootfs", str(root))


def _opened(pid: int) -> int | None:
    """A descriptor of a process; None if it has ended, as a short program may have before its pid is read."""
    with suppress(ProcessLookupError):
        return os.pidfd_open(pid) if pid else None
    return None


def _mount(step: Step) -> str:
    fields = ["type=bind", f"source={step.source}", f"target={step.target}", f"ro={str(not step.writable).lower()}"]
    return "--mount=" + ",".join('"' + field.replace('"', '""') + '"' for field in fields)


def _ulimits(limits: Limits) -> Iterator[tuple[str, int]]:
    """Limits that are no higher than our own, which not even root may always raise."""
    wanted = (
        ("nofile", resource.RLIMIT_NOFILE, limits.files),
        ("nproc", resource.RLIMIT_NPROC, _MOST_PROCESSES),
        ("fsize", resource.RLIMIT_FSIZE, limits.disk),
        ("memlock", resource.RLIMIT_MEMLOCK, MIB),
        ("core", resource.RLIMIT_CORE, 0),
    )
    for name, kind, most in wanted:
        hard = resource.getrlimit(kind)[1]
        yield name, most if hard == resource.RLIM_INFINITY else min(most, hard)


def _usual_profile() -> dict[str, Any]:
    for path in _PROFILES:
        with suppress(OSError, ValueError):
            found: dict[str, Any] = json.loads(Path(path).read_text())
            return found
    raise NoSandbox(f"Podman's list of system calls is not installed: neither of {', '.join(_PROFILES)}")


def _command() -> list[str]:
    """Podman with what it needs to run here: without systemd it must not ask that for groups."""
    found = shutil.which("podman")
    if found is None:
        raise NoSandbox("Podman is not installed")
    without = [] if Path("/run/systemd/system").is_dir() else ["--cgroup-manager=cgroupfs", "--events-backend=file"]
    runc = shutil.which("runc")
    return [found, *without, *(["--runtime", runc] if runc and _hybrid() else [])]


def _hybrid() -> bool:
    """Whether control groups of both versions are mounted: then crun refuses."""
    kinds = {line.split()[2] for line in Path("/proc/mounts").read_text().splitlines()}
    return {"cgroup", "cgroup2"} <= kinds

"""Containers by bubblewrap: a process in namespaces of its own, in milliseconds and without a daemon.

https://github.com/containers/bubblewrap
"""

import errno
import json
import os
import platform
import resource
import select
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from modelyard.runner.sandbox import seccomp
from modelyard.runner.sandbox.cgroup import Cgroup
from modelyard.runner.sandbox.limits import Limits
from modelyard.runner.sandbox.program import NoSandbox, Program
from modelyard.runner.sandbox.staging import NOBODY, give_away, nobody, stage
from modelyard.runner.sandbox.view import MIB, Step

_START_SECONDS = 30
_WAY_OUT = (
    "allow them (sysctl kernel.unprivileged_userns_clone=1, on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0; "
    "in a container, run that with the right to make them)"
)
_ALONE = (
    "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try",
    "--disable-userns", "--new-session", "--die-with-parent", "--clearenv", "--cap-drop", "ALL",
    "--uid", str(NOBODY), "--gid", str(NOBODY),
)  # fmt: skip


class Bubblewrap:
    """See `Running`. The program dies with the thread that starts it, whatever ends that."""

    def __init__(self, program: Program, output: int) -> None:
        command = [_program()]
        self._cgroup: Cgroup | None = None
        with ExitStack() as opened:
            options = _Options(opened)
            options.add(*_ALONE, *([] if program.network else ["--unshare-net"]), "--hostname", program.hostname)
            user = _outer_user(program)
            os.sched_setaffinity(0, cores(program.limits.cores, hash(program.name)))  # this thread's, so its child's
            self._view(options, program.view, staged=user is not None)
            options.add("--chdir", program.workdir)
            for name, value in program.environment.items():
                options.add("--setenv", name, value)
            options.add("--seccomp", options.data(seccomp.program()))
            told, blocked = options.pipe("--info-fd"), options.pipe("--block-fd", reading=True)
            command += ["--args", options.written(), "--", *program.arguments]
            if user is not None:
                command = [*_limiting(program.limits), *command]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env={},
                pass_fds=options.descriptors,
                user=user,
                group=user,
                extra_groups=None if user is None else [],
            )
            options.close()
            try:
                self.root = _first_process(told)
                self._pidfd = os.pidfd_open(self.root)
                if user is None:
                    _restrict(self.root, program.limits)
                self._cgroup = Cgroup.make(program.name, program.limits, self.root)
                os.write(blocked, b"\n")
            except BaseException:
                self._process.kill()
                self._process.wait()
                raise

    def wait(self) -> int:
        """See `Running`."""
        status = self._process.wait()
        self.kill()
        select.select([self._pidfd], [], [])
        return status if status >= 0 else 128 - status

    def terminate(self) -> None:
        """See `Running`. The program is the second process that its namespace counts: the first collects the dead."""
        for pid in _children(self.root):
            if _own_number(pid) == 2 and not self._over():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
                return
        self.kill()

    def kill(self) -> None:
        """See `Running`. With the first process of its namespace the kernel ends all."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def network(self) -> int:
        """See `Running`."""
        network = os.open(f"/proc/{self.root}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        if self._over():  # then the number may be another process's by now
            os.close(network)
            raise ProcessLookupError(errno.ESRCH, "the container has ended")
        return network

    def out_of_memory(self) -> bool | None:
        """See `Running`."""
        return None if self._cgroup is None else self._cgroup.out_of_memory()

    def close(self) -> None:
        """See `Running`."""
        os.close(self._pidfd)
        if self._cgroup is not None:
            self._cgroup.remove()

    def _over(self) -> bool:
        """Whether the first process has ended."""
        return bool(select.select([self._pidfd], [], [], 0)[0])

    def _view(self, options: "_Options", steps: Sequence[Step], staged: bool) -> None:
        sources = [step.source for step in steps if step.source is not None]
        paths = iter(stage(sources) if staged else sources)
        devices: list[str] = []
        for step in steps:
            if step.kind == "bind":
                options.add("--bind" if step.writable else "--ro-bind", str(next(paths)), step.target)
            elif step.kind == "device":
                devices += ["--dev-bind", str(next(paths)), step.target]
            elif step.kind == "memory":
                options.add("--size", str(step.size), "--perms", "1777", "--tmpfs", step.target)
            elif step.kind == "link":
                options.add("--symlink", step.text, step.target)
            else:
                options.add("--perms", "0644", "--ro-bind-data", options.data(step.text.encode()), step.target)
        shared = next(step.size for step in steps if step.target == "/tmp")
        options.add("--proc", "/proc", "--dev", "/dev", "--size", str(shared), "--perms", "1777", "--tmpfs", "/dev/shm")
        options.add(*devices)
        unwritable = [step.target for step in steps if step.kind == "memory" and not step.writable]
        for target in (*unwritable, "/dev", "/"):
            options.add("--remount-ro", target)


class _Options:
    """Options of one start, and the descriptors that go with them. What is in them is not for other users to see."""

    def __init__(self, opened: ExitStack) -> None:
        self._opened = opened
        self._texts: list[str] = []
        self.descriptors: list[int] = []

    def add(self, *texts: str) -> None:
        self._texts += texts

    def data(self, content: bytes) -> str:
        """The number of a descriptor from which the content can be read."""
        descriptor = os.memfd_create("modelyard")
        self.descriptors.append(descriptor)
        with os.fdopen(os.dup(descriptor), "wb") as stream:
            stream.write(content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        return str(descriptor)

    def pipe(self, option: str, reading: bool = False) -> int:
        """Our end of a pipe, the other of which goes with an option."""
        read, write = os.pipe()
        theirs, ours = (read, write) if reading else (write, read)
        self.descriptors.append(theirs)
        self._opened.callback(os.close, ours)
        self.add(option, str(theirs))
        return ours

    def written(self) -> str:
        """The number of a descriptor with all options so far."""
        return self.data(b"".join(text.encode() + b"\0" for text in self._texts))

    def close(self) -> None:
        """Closes what the program has now."""
        for descriptor in self.descriptors:
            os.close(descriptor)


def _program() -> str:
    found = shutil.which("bwrap")
    if found is None:
        raise NoSandbox("bubblewrap is not installed (bwrap is not found)")
    if not seccomp.supported():
        raise NoSandbox(f"no list of system calls to refuse is known for {platform.machine()}")
    return found


def _outer_user(program: Program) -> int | None:
    """Whom the container's user is to be on this machine: where we are root, a nobody of its own; else ourselves."""
    if os.geteuid() != 0:
        return None
    user = nobody(program.name)
    for path in program.writable:
        give_away(path, user)
    return user


def _limited(limits: Limits) -> dict[str, tuple[int, int]]:
    """What the kernel limits for each process, or user, by the word that prlimit has for it."""
    return {
        "nproc": (resource.RLIMIT_NPROC, limits.processes),
        "nofile": (resource.RLIMIT_NOFILE, limits.files),
        "fsize": (resource.RLIMIT_FSIZE, limits.disk),
        "core": (resource.RLIMIT_CORE, 0),
        "memlock": (resource.RLIMIT_MEMLOCK, MIB),
    }


def _limiting(limits: Limits) -> list[str]:
    """The beginning of a command that limits itself, which needs no right over another user's process."""
    return ["prlimit", *(f"--{word}={most}:{most}" for word, (_, most) in _limited(limits).items()), "--"]


def _restrict(root: int, limits: Limits) -> None:
    """Limits the first process, while it waits to go on: its children inherit that.

    Before it has its own namespace, all other processes of this user would count.
    """
    for kind, most in _limited(limits).values():
        _, hard = resource.prlimit(root, kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.prlimit(root, kind, (most, most))


def _first_process(told: int) -> int:
    """The process that bubblewrap tells of once the namespaces are there; NoSandbox if it ends before that."""
    text = b""
    while not text.rstrip().endswith(b"}"):
        ready, _, _ = select.select([told], [], [], _START_SECONDS)
        piece = os.read(told, 4096) if ready else b""
        if not piece:
            raise NoSandbox(f"bubblewrap cannot make namespaces here; {_WAY_OUT}")
        text += piece
    return int(json.loads(text)["child-pid"])


def _children(pid: int) -> Iterator[int]:
    with suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            yield int(child)


def _own_number(pid: int) -> int | None:
    """What the innermost namespace that a process is in counts it as."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("NSpid:"):
                return int(line.split()[-1])
    return None


def cores(count: int, seed: int) -> list[int]:
    """As many of our cores: not the same ones for every container."""
    ours = sorted(os.sched_getaffinity(0))
    return [ours[(seed + number) % len(ours)] for number in range(min(max(count, 1), len(ours)))]

"""What a container sees of a machine's files: the steps that build its root, in their order."""

import posixpath
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from modelyard.images.folder import OpenedImage
from modelyard.runner.sandbox.limits import Bind, Limits

PLATFORM = "/opt/ml"
"""All binds lie here: what an image has below it is hidden."""
PROJECT = "/opt/program"
"""Where a Python project lies, and starts."""

PROGRAMS = "/opt/bin"
"""Where a project finds `python`."""

MIB = 2**20
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_PACKAGE = Path(__file__).resolve().parents[2]
_SYSTEM_FILES = ("/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d")
_USERS = {
    "/etc/passwd": "root:x:0:0:root:/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/tmp:/bin/sh\n",
    "/etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


@dataclass(frozen=True)
class Step:
    """One step: a bind of `source`, or that device; a folder in memory of `size` bytes, a link or file with `text`."""

    kind: Literal["bind", "device", "memory", "link", "file"]
    target: str
    source: Path | None = None
    writable: bool = False
    size: int = 0
    text: str = ""


def view(
    image: OpenedImage,
    binds: Sequence[Bind],
    limits: Limits,
    hostname: str,
    network: bool = False,
    devices: Sequence[Path] = (),
) -> list[Step]:
    """The steps for one container of an image; ValueError if a bind cannot be.

    What lies in memory may grow to half of the memory that the container may use. network: whether it has the
    machine's, and is to find names there. devices: what it finds in `/dev` beside what every program needs.
    """
    project = image.form == "project"
    return [
        *([] if project else [Step("bind", "/", image.files)]),
        Step("memory", "/tmp", writable=True, size=limits.memory // 2),
        Step("memory", "/run", writable=True, size=16 * MIB),
        *([*installation(), Step("bind", PROJECT, image.files)] if project else []),  # which may lie below /tmp
        Step("file", "/etc/hosts", text=f"127.0.0.1 localhost {hostname}\n::1 localhost\n"),
        *(_names() if network else []),
        *([] if any(bind.target == PLATFORM for bind in binds) else [Step("memory", PLATFORM, size=MIB)]),
        *(_bind(bind) for bind in sorted(binds, key=lambda bind: bind.target)),
        *(Step("device", f"/dev/{path.name}", path) for path in devices),
    ]


def installation() -> Iterator[Step]:
    """The system's programs and libraries, and the Python that runs this with its packages: no other file of ours."""
    for name in _SYSTEM:
        if (path := Path(name)).is_symlink():
            yield Step("link", name, text=str(path.readlink()))
        elif path.is_dir():
            yield Step("bind", name, path)
    for name in _SYSTEM_FILES:
        if (path := Path(name)).exists() and not path.is_symlink():
            yield Step("bind", name, path)
    for prefix in sorted({Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve()}):
        if not any(prefix.is_relative_to(name) for name in _SYSTEM):
            yield Step("bind", str(prefix), prefix)
    if not any(_PACKAGE.is_relative_to(place) for place in (*_SYSTEM, sys.base_prefix, sys.prefix)):
        yield Step("bind", str(_PACKAGE), _PACKAGE)  # it is installed as a link to where it is developed
    for name in ("python", "python3"):
        yield Step("link", f"{PROGRAMS}/{name}", text=sys.executable)
    for name, text in _USERS.items():
        yield Step("file", name, text=text)


def _names() -> Iterator[Step]:
    """How names are found on the machine's network, and whose certificates count there."""
    yield Step("file", "/etc/resolv.conf", text=Path("/etc/resolv.conf").read_text())
    if (certificates := Path("/etc/ssl/certs")).is_dir():
        yield Step("bind", str(certificates), certificates)


def _bind(bind: Bind) -> Step:
    normal = posixpath.normpath(bind.target)
    if normal != bind.target or not (normal == PLATFORM or normal.startswith(f"{PLATFORM}/")):
        raise ValueError(f"{bind.target!r} is no place for a bind: it is to be {PLATFORM} or a path below it")
    kind = stat.S_IFMT(bind.source.lstat().st_mode)
    if kind not in (stat.S_IFDIR, stat.S_IFREG, stat.S_IFIFO):
        raise ValueError(f"{bind.source}: only files, folders and named pipes can be seen by a container; no links")
    return Step("bind", bind.target, bind.source.absolute(), bind.writable)

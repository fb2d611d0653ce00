"""Takes an image in: finds out of what form it is, unpacks it, and describes it. A short process of its own.

`python -m modelyard.images.adding PATH FOLDER [--tag TAG] [--config FILE] [--digest DIGEST]` fills the empty FOLDER and
prints JSON: `{"form", "digest", "size"}`, or `{"message"}` where PATH cannot be used.
"""

import argparse
import fnmatch
import hashlib
import json
import os
import resource
import stat
import tarfile
from pathlib import Path

from modelyard.images import layout, start
from modelyard.images.folder import BadImage, Form, OpenedImage
from modelyard.images.layers import apply
from modelyard.images.root import Root, entries
from modelyard.images.start import Start

_PROJECT_FOLDER = "/opt/program"
_LEFT_OUT = (".git", ".hg", ".venv", "venv", "__pycache__", "*.pyc", "*.egg-info", ".mypy_cache", ".ruff_cache", ".tox")
"""What of a project's folder is no part of it."""
_FOLDERS = ("proc", "sys", "dev", "tmp", "run", "etc", "opt", "opt/ml")
_MEMORY = 4 * 2**30
"""Bytes that unpacking may take: an archive's headers can ask for any amount."""
_OF_DOCKER = "this is an archive of an older docker save; skopeo copy docker-archive:OLD oci-archive:NEW converts it"


def add(
    path: Path, folder: Path, tag: str | None = None, config: Path | None = None, digest: str | None = None
) -> tuple[OpenedImage, int]:
    """Fills a folder with the image, and says how many bytes it has. BadImage if it cannot be used.

    digest: of an OCI image, where it is known to be another than the archive's, which may have been compressed again.
    """
    kind = _form(path)
    root = Root(folder / ("project" if kind == "project" else "rootfs"))
    root.path.mkdir()
    if kind == "oci":
        found, settings = _unpack(path, root, tag)
        begins = start.read(config) if config else start.parse(settings)
    else:
        begins = _copy(path, root, kind, config)
        found, digest = _digest(root.path), None
    if kind != "project":
        _make_places(root)
    image = OpenedImage(
        folder, kind, digest or found, begins.entrypoint, begins.command, begins.environment, begins.workdir
    )
    image.write()
    return image, root.size


def _form(path: Path) -> Form:
    if path.is_dir():
        if (path / layout.MARKER).is_file():
            return "oci"
        if (path / "usr").is_dir() or (path / "bin").is_dir():
            return "rootfs"
        if (path / "pyproject.toml").is_file() or (path / start.FILE).is_file():
            return "project"
        wanted = f"oci-layout, usr/ or bin/, pyproject.toml or {start.FILE}"
        raise BadImage(f"{path}: neither an OCI layout, nor a root file system, nor a Python project: none of {wanted}")
    with _opened(path) as archive:
        names = {member.name.removeprefix("./") for member in archive}
    if "manifest.json" in names and "index.json" not in names:
        raise BadImage(f"{path}: {_OF_DOCKER}")
    return "oci" if layout.MARKER in names or "index.json" in names else "rootfs"


def _opened(path: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(path)
    except (OSError, tarfile.TarError) as error:
        raise BadImage(f"{path}: it is no folder and no tar archive: {error}") from None


def _unpack(path: Path, root: Root, tag: str | None) -> tuple[str, dict[str, object]]:
    if path.is_dir():
        digest, settings = layout.unpack(layout.FolderBlobs(path), root, tag)
    else:
        with _opened(path) as archive:
            digest, settings = layout.unpack(layout.ArchiveBlobs(path, archive), root, tag)
    return digest, dict(settings)


def _copy(path: Path, root: Root, kind: Form, config: Path | None) -> Start:
    """Copies a root file system or a project, and reads how it starts."""
    if path.is_dir():
        _copy_folder(path, root, _LEFT_OUT if kind == "project" else ())
    else:
        with path.open("rb") as stream:
            apply(stream, root, whiteouts=False)
    workdir = _PROJECT_FOLDER if kind == "project" else "/"
    if config is not None:
        return start.read(config, workdir)
    if kind == "project":
        return start.of_project(root.path, workdir)
    own = root.path / start.FILE
    return start.read(own) if stat.S_ISREG(_mode(own)) else Start()


def _copy_folder(path: Path, root: Root, left_out: tuple[str, ...]) -> None:
    skipped: list[Path] = []
    for source in entries(path):
        if any(source.is_relative_to(one) for one in skipped[-1:]):
            continue
        if any(fnmatch.fnmatch(source.name, pattern) for pattern in left_out):
            skipped.append(source)
            continue
        name, found = str(source.relative_to(path)), source.lstat()
        if stat.S_ISDIR(found.st_mode):
            root.folder(name)
        elif stat.S_ISLNK(found.st_mode):
            root.link(name, os.readlink(source))
        elif stat.S_ISREG(found.st_mode):
            with source.open("rb") as stream:
                root.file(name, stream, found.st_size, found.st_mode, found.st_mtime)


def _make_places(root: Root) -> None:
    """Makes the folders that a container has of its own, over whatever the image has there."""
    for name in _FOLDERS:
        if name in ("etc", "opt") and stat.S_ISLNK(_mode(root.path / name)):
            raise BadImage(f"/{name} of the image is a link; it is to be a folder")
        root.folder(name)
    for name in ("tmp", "run"):
        (root.path / name).chmod(0o1777)  # some runtimes give what they mount there the rights of what is there
    hosts = root.path / "etc" / "hosts"
    if not stat.S_ISREG(_mode(hosts)):
        root.remove("etc/hosts")
        hosts.touch()


def _digest(path: Path) -> str:
    """What tells a tree apart: of each entry its name, whether it may be run, and its bytes."""
    whole = hashlib.sha256()
    for entry in entries(path):
        mode = _mode(entry)
        whole.update(f"{mode:o} {entry.relative_to(path)}\0".encode(errors="surrogateescape"))
        if stat.S_ISLNK(mode):
            whole.update(os.readlink(entry).encode(errors="surrogateescape"))
        elif stat.S_ISREG(mode):
            with entry.open("rb") as stream:
                whole.update(hashlib.file_digest(stream, "sha256").digest())
    return f"sha256:{whole.hexdigest()}"


def _mode(path: Path) -> int:
    """Type and permissions; 0 if there is nothing."""
    try:
        return path.lstat().st_mode
    except OSError:
        return 0


def main() -> int:
    """Does what the command line says: the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("path", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tag")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--digest")
    asked = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    os.umask(0o022)
    try:
        image, size = add(asked.path, asked.folder, asked.tag, asked.config, asked.digest)
    except (BadImage, MemoryError) as error:
        print(json.dumps({"message": str(error) or "the archive's headers ask for too much memory"}))
        return 1
    print(json.dumps({"form": image.form, "digest": image.digest, "size": size}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""A processed graph as a sandbox's user can read it, who may be another than ours."""

import os
import shutil
import stat
from pathlib import Path

from modelyard.removal import remove


def readable(graph: Path, folder: Path) -> Path:
    """The graph itself where a sandbox's user may read it, which is ourselves unless we are root; else `folder`, with
    links to its files, and copies of those that only we may read. What is at `folder` already stays as it is.
    """
    paths = sorted(graph.rglob("*"))
    if os.geteuid() != 0 or all(_by_anyone(path) for path in (graph, *paths)):
        return graph
    if not folder.exists():
        half = folder.with_name(f".{folder.name}")
        remove(half)
        half.mkdir(mode=0o755)
        for path in paths:
            _show(path, half / path.relative_to(graph))
        half.rename(folder)
    return folder


def _by_anyone(path: Path) -> bool:
    mode = path.lstat().st_mode
    needed = 0o005 if stat.S_ISDIR(mode) else 0o004
    return stat.S_ISLNK(mode) or mode & needed == needed


def _show(source: Path, target: Path) -> None:
    if source.is_symlink():
        return
    if source.is_dir():
        target.mkdir(mode=0o755)
        return
    if _by_anyone(source):
        try:
            os.link(source, target)
            return
        except OSError:  # another file system
            pass
    shutil.copyfile(source, target)
    target.chmod(0o644)

"""Deleting folders that somebody else has filled."""

import os
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def remove(folder: Path) -> None:
    """Deletes a folder and all below it, however deep; follows no link, and does nothing if no folder is there.

    `shutil.rmtree` calls itself and holds a descriptor for each level: a program that nests some thousand folders makes
    it fail, and stays on the disk. This holds one descriptor, and goes up by `..`; nobody may move folders meanwhile.
    """
    if folder.is_symlink() or not folder.is_dir():
        return
    here = os.open(folder, _FOLDER)
    entered: list[str] = []
    left = [_empty(here)]  # the folders in each of the folders above, and in this one, that are still there
    try:
        while left:
            if left[-1]:
                entered.append(left[-1].pop())
                here = _go(here, entered[-1])
                left.append(_empty(here))
                continue
            left.pop()
            if entered:
                here = _go(here, "..")
                os.rmdir(entered.pop(), dir_fd=here)
    finally:
        os.close(here)
    folder.rmdir()


def _empty(here: int) -> list[str]:
    """Deletes what is no folder; the names of the folders."""
    folders = []
    with os.scandir(here) as found:
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            else:
                os.unlink(entry.name, dir_fd=here)
    return folders


def _go(here: int, name: str) -> int:
    """Opens a folder beside or above the one that is open, in its place."""
    if name != "..":
        os.chmod(name, 0o700, dir_fd=here)  # whoever made it may have forbidden to enter it
    there = os.open(name, _FOLDER, dir_fd=here)
    os.close(here)
    return there

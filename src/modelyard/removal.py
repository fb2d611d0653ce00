"""Deleting folders that somebody else has filled."""

import os
import uuid
from pathlib import Path


def remove(folder: Path) -> None:
    """Deletes a folder and all below it, however deep; follows no link, and does nothing if no folder is there.

    `shutil.rmtree` calls itself and holds a descriptor for each level: a program that nests some thousand folders makes
    it fail, and stays on the disk. Here the folders below one are moved up before it goes.
    Nobody may write there meanwhile.
    """
    if folder.is_symlink() or not folder.is_dir():
        return
    token = uuid.uuid4().hex
    waiting = [folder]
    moved = 0
    while waiting:
        path = waiting.pop()
        with os.scandir(path) as found:
            entries = list(found)
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)
                continue
            os.chmod(entry.path, 0o700)
            moved += 1
            os.rename(entry.path, above := folder / f"{token}-{moved}")
            waiting.append(above)
        if path != folder:
            path.rmdir()
    folder.rmdir()

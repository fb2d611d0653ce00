import os
from pathlib import Path

import pytest

from modelyard.removal import remove


def test_a_folder_goes_with_all_below_it(tmp_path: Path) -> None:
    (tmp_path / "folder" / "a" / "b").mkdir(parents=True)
    (tmp_path / "folder" / "a" / "file").write_text("x")
    (tmp_path / "folder" / "a" / "b").chmod(0)
    remove(tmp_path / "folder")

    assert list(tmp_path.iterdir()) == []


def test_links_are_deleted_and_what_they_lead_to_stays(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "other")
    remove(tmp_path / "folder")
    (tmp_path / "link").symlink_to(tmp_path / "other")
    remove(tmp_path / "link")

    assert (tmp_path / "other" / "file").read_text() == "x"
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize("levels", [1500])
def test_no_depth_is_too_deep(levels: int, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    deep = os.open(tmp_path / "folder", os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("some-folder", dir_fd=deep)
        below = os.open("some-folder", os.O_RDONLY, dir_fd=deep)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=below))
        os.close(deep)
        deep = below
    os.close(deep)
    remove(tmp_path / "folder")

    assert list(tmp_path.iterdir()) == []


def test_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    remove(tmp_path / "nothing")

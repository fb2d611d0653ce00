import os
import socket
import stat
import tarfile
from pathlib import Path

import pytest

from modelyard.runner.sandbox.artifacts import (
    DEEPEST,
    MOST_ENTRIES,
    TooLarge,
    contents,
    copy,
    pack,
)

PLENTY = 1 << 30


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """What a container left: a model, and everything that should not be taken."""
    folder = tmp_path / "left"
    (folder / "nested").mkdir(parents=True)
    (folder / "model.bin").write_bytes(b"weights")
    (folder / "nested" / "vocabulary.txt").write_text("a\nb\n")
    (folder / "model.bin").chmod(0o4777)
    return folder


def take(left: Path, to: Path, limit: int = PLENTY) -> list[str]:
    copy(left, contents(left, limit), to)
    return sorted(str(path.relative_to(to)) for path in to.rglob("*"))


def test_files_and_folders_are_taken(left: Path, tmp_path: Path) -> None:
    assert take(left, tmp_path / "taken") == ["model.bin", "nested", "nested/vocabulary.txt"]
    assert (tmp_path / "taken" / "model.bin").read_bytes() == b"weights"


def test_modes_and_times_are_ours(left: Path, tmp_path: Path) -> None:
    os.utime(left / "model.bin", (0, 0))
    take(left, tmp_path / "taken")
    told = (tmp_path / "taken" / "model.bin").stat()

    assert stat.S_IMODE(told.st_mode) & 0o7111 == 0
    assert told.st_mtime > 0


def test_what_is_no_file_is_left_behind(left: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (left / "link").symlink_to(tmp_path / "secret")
    (left / "folder-link").symlink_to("/etc")
    (left / "nested" / "up").symlink_to("../..")
    os.mkfifo(left / "pipe")
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(os.fspath(left / "door"))
    if os.geteuid() == 0:
        os.mknod(left / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))

    assert take(left, tmp_path / "taken") == ["model.bin", "nested", "nested/vocabulary.txt"]
    assert contents(left, PLENTY).skipped == 5 + (os.geteuid() == 0)


@pytest.mark.parametrize("name", [b"\xff\xfe", b"a\nb", b"..\\..\\evil", b"\x1b[2J"])
def test_names_that_mean_different_things_elsewhere_are_left_behind(name: bytes, left: Path, tmp_path: Path) -> None:
    (Path(os.fsdecode(os.fsencode(left) + b"/" + name))).write_text("x")

    assert take(left, tmp_path / "taken") == ["model.bin", "nested", "nested/vocabulary.txt"]


def test_folders_of_any_depth_end(left: Path, tmp_path: Path) -> None:
    deep = os.open(left, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=deep)
        below = os.open("d", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = below
    os.close(deep)

    taken = take(left, tmp_path / "taken")
    assert max(path.count("/") for path in taken) == DEEPEST - 1


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_contents_are_limited_to_the_byte(more: int, left: Path) -> None:
    size = contents(left, PLENTY).size

    if more < 0:
        with pytest.raises(TooLarge, match="bytes or more"):
            contents(left, size + more)
    else:
        assert contents(left, size + more).size == size


def test_names_count_as_contents_do(tmp_path: Path) -> None:
    for row in ("Ada Lovelace 1815", "Alan Turing 1912"):
        (tmp_path / row).touch()

    with pytest.raises(TooLarge):
        contents(tmp_path, 20)


def test_a_sparse_file_fills_no_disk(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 40)

    with pytest.raises(TooLarge):
        contents(tmp_path, PLENTY)


@pytest.mark.slow
def test_entries_are_limited(tmp_path: Path) -> None:
    for number in range(MOST_ENTRIES + 1):
        os.close(os.open(tmp_path / str(number), os.O_CREAT | os.O_WRONLY))

    with pytest.raises(TooLarge):
        contents(tmp_path, PLENTY)


def test_an_archive_has_the_same_bytes_each_time(left: Path, tmp_path: Path) -> None:
    archives = [tmp_path / "one.tar.gz", tmp_path / "other.tar.gz"]
    pack(left, contents(left, PLENTY), archives[0])
    os.utime(left / "model.bin", (1, 1))
    (left / "model.bin").chmod(0o600)
    pack(left, contents(left, PLENTY), archives[1])

    assert archives[0].read_bytes() == archives[1].read_bytes()
    with tarfile.open(archives[0]) as tar:
        members = tar.getmembers()
    assert [member.name for member in members] == ["model.bin", "nested", "nested/vocabulary.txt"]
    assert {(member.uid, member.gid, member.uname, member.mtime) for member in members} == {(0, 0, "", 0)}
    assert {member.mode for member in members} == {0o644, 0o755}

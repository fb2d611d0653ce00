"""The AWS command line."""

import os
import time
from pathlib import Path

import pytest

from tests.system.s3.conftest import PROGRAMS, Bucket, Door, run

pytestmark = [pytest.mark.system, pytest.mark.slow]


def aws(door: Door, *arguments: str | Path, input: bytes | None = None) -> str:
    return run([PROGRAMS / "aws", *arguments], door, input).decode()


def write(folder: Path, **files: str) -> Path:
    """Writes files, a minute ago (`sync` compares times); in names `__` stands for a slash."""
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (time.time() - 60,) * 2)
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_files_are_copied_there_and_back(door: Door, bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(os.urandom(9 * 1024 * 1024))
    aws(door, "s3", "cp", tmp_path / "large", bucket.uri("in/large"))
    aws(door, "s3", "cp", bucket.uri("in/large"), tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "large").read_bytes()
    aws(door, "s3", "cp", "-", bucket.uri("stdin"), input=b"from a pipe")
    assert aws(door, "s3", "cp", bucket.uri("stdin"), "-") == "from a pipe"
    aws(door, "s3", "mv", bucket.uri("stdin"), bucket.uri("moved"))
    assert bucket.listed() == ["in/large", "moved"]


def test_folders_are_kept_the_same(door: Door, bucket: Bucket, tmp_path: Path) -> None:
    here = write(tmp_path / "here", a="1", b__c="2", b__d__e="3")
    assert aws(door, "s3", "sync", here, bucket.uri("data")).count("upload:") == 3
    assert aws(door, "s3", "sync", here, bucket.uri("data")) == ""
    (here / "a").unlink()
    (here / "b" / "c").write_text("longer")
    said = aws(door, "s3", "sync", here, bucket.uri("data"), "--delete")
    assert (said.count("upload:"), said.count("delete:")) == (1, 1)
    aws(door, "s3", "sync", bucket.uri("data"), tmp_path / "there")
    assert contents(tmp_path / "there") == {"b/c": "longer", "b/d/e": "3"}


def test_listings(door: Door, bucket: Bucket) -> None:
    bucket.put(a=b"123", b__c=b"", b__d=b"4567")
    lines = [line.split() for line in aws(door, "s3", "ls", bucket.uri("")).splitlines()]
    assert [line[-2:] for line in lines] == [["PRE", "b/"], ["3", "a"]]
    said = aws(door, "s3", "ls", bucket.uri(""), "--recursive", "--summarize")
    assert "Total Objects: 3" in said
    assert "Total Size: 7" in said
    assert bucket.name in aws(door, "s3", "ls")


def test_everything_below_a_prefix_is_removed(door: Door, bucket: Bucket) -> None:
    bucket.put(a=b"", b__c=b"", b__d__e=b"")
    assert aws(door, "s3", "rm", bucket.uri("b/"), "--recursive").count("delete:") == 2
    assert bucket.listed() == ["a"]


def test_buckets_are_made_and_removed(door: Door) -> None:
    bucket = Bucket(door)
    assert "make_bucket" in aws(door, "s3", "mb", bucket.uri(""))
    bucket.put(a=b"")
    assert "remove_bucket" in aws(door, "s3", "rb", bucket.uri(""), "--force")
    assert bucket.name not in aws(door, "s3", "ls")


def test_a_presigned_address_is_for_curl(door: Door, bucket: Bucket) -> None:
    bucket.put(a=b"content")
    address = aws(door, "s3", "presign", bucket.uri("a"), "--expires-in", "60").strip()
    assert run(["curl", "--silent", "--fail", address], door) == b"content"

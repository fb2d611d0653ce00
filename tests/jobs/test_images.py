import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.archives import entry, layer, write_layout

from modelyard.database import Database
from modelyard.images.folder import BadImage, open_image
from modelyard.jobs.images import Images, check_uri
from modelyard.jobs.model import NotFound
from modelyard.jobs.resources import Resources

URI = "123456789012.dkr.ecr.us-east-1.amazonaws.com/team/model"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


@pytest.fixture
def images(tmp_path: Path, folder: Path) -> Iterator[Images]:
    database = Database(tmp_path / "modelyard.db")
    yield Images(Resources(database), folder)
    database.close()


def write(path: Path, content: bytes = b"#!") -> str:
    return write_layout(path, [layer(entry("bin/sh", content))], {"Cmd": ["serve"]})


def test_out_of_the_box_there_are_none(images: Images) -> None:
    assert images.list() == []
    assert images.find(URI) is None
    assert images.find("../x") is None


def test_what_was_added_is_found_with_the_digest_of_its_manifest(images: Images, folder: Path, tmp_path: Path) -> None:
    digest = write(tmp_path / "layout")
    added = asyncio.run(images.add(URI, tmp_path / "layout"))
    assert added == images.find(URI) == images.find(f"{URI}:latest")
    assert images.find(f"{URI}:v2") is None
    assert (added.digest, added.form, added.size) == (digest, "oci", 2)
    kept = folder / digest.removeprefix("sha256:")
    assert added.folder == f"modelyard://images/{kept.name}"
    assert open_image(kept).digest == digest
    assert list(folder.iterdir()) == [kept]


def test_adding_again_replaces_the_image(images: Images, folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "old")
    digest = write(tmp_path / "new", b"#!!")
    old = asyncio.run(images.add(URI, tmp_path / "old"))
    new = asyncio.run(images.add(f"{URI}:latest", tmp_path / "new"))
    assert [(one.uri, one.digest) for one in images.list()] == [(f"{URI}:latest", digest)]
    assert new.created == old.created
    assert [path.name for path in folder.iterdir()] == [digest.removeprefix("sha256:")]


def test_files_stay_as_long_as_one_uri_means_them(images: Images, folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "layout")
    for uri in (URI, f"{URI}:v1"):
        asyncio.run(images.add(uri, tmp_path / "layout"))
    assert len(list(folder.iterdir())) == 1
    asyncio.run(images.remove(URI))
    assert images.find(f"{URI}:v1") is not None
    assert len(list(folder.iterdir())) == 1
    asyncio.run(images.remove(f"{URI}:v1"))
    assert list(folder.iterdir()) == []
    with pytest.raises(NotFound):
        asyncio.run(images.remove(URI))


def test_what_cannot_be_used_leaves_nothing(images: Images, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(layer(entry("manifest.json", b"")))
    with pytest.raises(BadImage, match="skopeo"):
        asyncio.run(images.add(URI, tmp_path / "bad"))
    assert images.list() == []
    assert list(folder.iterdir()) == []


def test_headers_that_ask_for_much_memory_are_refused(images: Images, tmp_path: Path) -> None:
    """A name of six billion bytes, of which the file has none on the disk."""
    info, _ = entry("name", b"", kind=b"L", size=6 * 10**9)
    with (tmp_path / "rootfs.tar").open("wb") as stream:
        stream.write(info.tobuf())
        stream.truncate(6 * 10**9 + 10240)
    with pytest.raises(BadImage):
        asyncio.run(images.add(URI, tmp_path / "rootfs.tar"))


def test_what_a_killed_server_left_half_done_is_gone(images: Images, folder: Path, tmp_path: Path) -> None:
    (folder / ".half-1" / "rootfs").mkdir(parents=True)
    database = Database(tmp_path / "other.db")
    Images(Resources(database), folder)
    database.close()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "model",
        "../model",
        "a/../b",
        "a/b:",
        "a/B",
        "a//b",
        "a/b:t:t",
        "a/b@sha256:" + "0" * 64,
        "a/b c",
        "a" * 260,
        "a/b\n",
    ],
)
def test_refuses_what_is_no_uri(uri: str) -> None:
    with pytest.raises(BadImage, match="registry/repository"):
        check_uri(uri)


@pytest.mark.parametrize("uri", ["localhost:5000/a", "a.b/c/d_e.f-g", "docker.io/library/x"])
def test_the_tag_may_be_left_out(uri: str) -> None:
    assert check_uri(uri) == f"{uri}:latest"
    assert check_uri(f"{uri}:V1.0") == f"{uri}:V1.0"

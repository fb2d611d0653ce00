import io
import tarfile
from pathlib import Path

import pytest
from tests.archives import entry, layer

from modelyard.images.folder import BadImage
from modelyard.images.layers import apply
from modelyard.images.root import Root


@pytest.fixture
def root(tmp_path: Path) -> Root:
    path = tmp_path / "outer" / "rootfs"
    path.mkdir(parents=True)
    (tmp_path / "outer" / "secret").write_text("ours")
    return Root(path, largest=10_000, most=50)


def put(root: Root, *entries: tuple[tarfile.TarInfo, bytes]) -> None:
    apply(io.BytesIO(layer(*entries)), root)


def names(root: Root) -> set[str]:
    return {str(path.relative_to(root.path)) for path in root.path.rglob("*")}


def test_later_layers_add_and_replace(root: Root) -> None:
    put(root, entry("app"), entry("app/a", b"1"), entry("app/b", b"1"), entry("c", b"1"))
    put(root, entry("app/a", b"2"), entry("app/b"), entry("app/b/d", b"2"))
    assert names(root) == {"app", "app/a", "app/b", "app/b/d", "c"}
    assert (root.path / "app/a").read_bytes() == b"2"


def test_whiteouts_take_away_what_lower_layers_have(root: Root) -> None:
    put(root, entry("app/a", b"1"), entry("app/b/c", b"1"), entry("etc/d", b"1"), entry("etc/e", b"1"))
    put(root, entry("app/.wh.b", b""), entry("etc/new", b"2"), entry("etc/.wh..wh..opq", b""))
    assert names(root) == {"app", "app/a", "etc", "etc/new"}


def test_whiteouts_reach_nothing_outside(root: Root) -> None:
    put(root, entry("out", kind=tarfile.SYMTYPE, linkname="../.."))
    for name in ("../.wh.secret", "out/.wh.secret", ".wh...", ".wh..", "../.wh.rootfs", "out/.wh..wh..opq"):
        put(root, entry(name, b""))
    assert (root.path.parent / "secret").read_text() == "ours"
    assert root.path.is_dir()


@pytest.mark.parametrize("name", ["../secret", "/../secret", "a/../../secret", "./../../outer/secret", "/etc/passwd"])
def test_names_end_at_the_root(root: Root, name: str) -> None:
    put(root, entry(name, b"theirs"))
    assert (root.path.parent / "secret").read_text() == "ours"
    assert (root.path / name.replace("a/", "").replace("../", "").lstrip("./")).read_bytes() == b"theirs"


@pytest.mark.parametrize("target", ["..", "/..", "../../..", "/", "inner/../../.."])
def test_links_are_followed_within_the_root_only(root: Root, target: str) -> None:
    put(root, entry("link", kind=tarfile.SYMTYPE, linkname=target), entry("link/secret", b"theirs"))
    assert (root.path.parent / "secret").read_text() == "ours"
    assert (root.path / "secret").read_bytes() == b"theirs"


def test_a_file_replaces_a_link_and_does_not_go_through_it(root: Root) -> None:
    outside = root.path.parent / "secret"
    put(root, entry("a", kind=tarfile.SYMTYPE, linkname=str(outside)), entry("a", b"theirs"))
    assert outside.read_text() == "ours"
    assert (root.path / "a").read_bytes() == b"theirs"


@pytest.mark.parametrize("target", ["../secret", "/nowhere", "folder", "link"])
def test_hard_links_are_names_of_files_of_the_image_alone(root: Root, target: str) -> None:
    put(root, entry("folder"), entry("link", kind=tarfile.SYMTYPE, linkname="../secret"))
    with pytest.raises(BadImage):
        put(root, entry("a", kind=tarfile.LNKTYPE, linkname=target))


def test_hard_links_within_work(root: Root) -> None:
    put(root, entry("a", b"1"), entry("b/c", kind=tarfile.LNKTYPE, linkname="a"))
    put(root, entry("a", kind=tarfile.LNKTYPE, linkname="a"))
    assert (root.path / "b/c").read_bytes() == (root.path / "a").read_bytes() == b"1"


def test_devices_and_bits_that_lend_rights_do_not_come_along(root: Root) -> None:
    put(
        root,
        entry("null", kind=tarfile.CHRTYPE, devmajor=1, devminor=3),
        entry("disk", kind=tarfile.BLKTYPE, devmajor=8),
        entry("pipe", kind=tarfile.FIFOTYPE),
        entry("su", b"1", mode=0o6755, uid=0),
        entry("plain", b"1", mode=0o200),
    )
    assert names(root) == {"su", "plain"}
    assert (root.path / "su").stat().st_mode & 0o7777 == 0o755
    assert (root.path / "plain").stat().st_mode & 0o7777 == 0o644


def test_refuses_what_is_too_large_too_many_or_too_deep(root: Root) -> None:
    with pytest.raises(BadImage, match="more than 10,000 bytes"):
        put(root, entry("a", b"x" * 6_000), entry("b", b"x" * 6_000))
    with pytest.raises(BadImage, match="more than 50 files"):
        put(Root(root.path, most=50), *(entry(f"f{number}", b"") for number in range(60)))
    deep = Root(root.path)
    with pytest.raises(BadImage, match="deep"):
        put(deep, entry("d/" * 200 + "f", b""))
    with pytest.raises(BadImage, match="lead nowhere"):
        put(deep, entry("loop", kind=tarfile.SYMTYPE, linkname="loop"), entry("loop/f", b""))


def test_refuses_a_size_that_the_archive_only_claims(root: Root) -> None:
    whole = layer(entry("a", b"x" * 3_000))
    with pytest.raises(BadImage, match=r"unpacked|middle"):
        apply(io.BytesIO(whole[:1500]), root)
    with pytest.raises(BadImage):
        apply(io.BytesIO(b"no archive at all" * 100), root)

"""OCI images as files: a folder or archive of blobs that are named by what is in them.

https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

import hashlib
import json
import platform
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from modelyard.images.folder import BadImage
from modelyard.images.layers import apply
from modelyard.images.root import Root

MARKER = "oci-layout"
_LARGEST_JSON = 4 * 2**20
_DEEPEST = 4
_MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
_TAGS = ("org.opencontainers.image.ref.name", "io.containerd.image.name")
_ZSTD_HINT = "skopeo copy --dest-compress-format gzip makes one that is"


class Blobs(Protocol):
    """Files by their path in the layout."""

    def open(self, name: str) -> BinaryIO:
        """The file; BadImage if there is none."""


class FolderBlobs:
    """The files of a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self, name: str) -> BinaryIO:
        """See `Blobs`."""
        try:
            return (self._path / name).open("rb")
        except OSError:
            raise BadImage(f"{self._path / name}: it cannot be read; the image is not complete") from None


class ArchiveBlobs:
    """The files of an archive, which is best not compressed as a whole."""

    def __init__(self, path: Path, archive: tarfile.TarFile) -> None:
        self._path = path
        self._archive = archive
        self._members = {member.name.removeprefix("./"): member for member in archive if member.isreg()}

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def open(self, name: str) -> BinaryIO:
        """See `Blobs`."""
        if name not in self._members:
            raise BadImage(f"{self._path}: {name} is not in it; the image is not complete")
        return cast(BinaryIO, self._archive.extractfile(self._members[name]))


def unpack(blobs: Blobs, root: Root, tag: str | None) -> tuple[str, Mapping[str, Any]]:
    """Unpacks the image for this machine: the digest of its manifest, and its configuration.

    Every blob is checked against its digest; BadImage if one is another. tag: which of several is meant.
    """
    with blobs.open("index.json") as stream:
        index = _object(stream.read(_LARGEST_JSON + 1), "index.json")
    digest, manifest = _manifest(blobs, index, tag)
    config = _object(_content(blobs, _digest(manifest.get("config"))), "the image's configuration")
    if config.get("architecture") not in (None, _MACHINE) or config.get("os") not in (None, "linux"):
        made_for = f"{config.get('os')}/{config.get('architecture')}"
        raise BadImage(f"the image is made for {made_for:.80}, and this machine is linux/{_MACHINE}")
    for layer in _list(manifest.get("layers"), "layers"):
        if "zstd" in str(layer.get("mediaType")):
            raise BadImage(f"a layer is compressed with zstd, which is not read here; {_ZSTD_HINT}")
        with _checked(blobs, _digest(layer)) as stream:
            apply(stream, root)
    settings = config.get("config")
    return digest, settings if isinstance(settings, dict) else {}


def _manifest(blobs: Blobs, index: Mapping[str, Any], tag: str | None) -> tuple[str, dict[str, Any]]:
    """The manifest that an index leads to, maybe through others, and its digest."""
    for _ in range(_DEEPEST):
        digest = _digest(_chosen(_list(index.get("manifests"), "manifests"), tag))
        content = _object(_content(blobs, digest), "a manifest")
        if "manifests" not in content:
            return digest, content
        index = content
    raise BadImage("the image's index leads to another one again and again")


def _chosen(manifests: Sequence[Mapping[str, Any]], tag: str | None) -> Mapping[str, Any]:
    """The one for this machine, and of several the one with the tag."""
    suiting = [one for one in manifests if _suits(one.get("platform"))]
    tagged = [one for one in suiting if tag is not None and tag in _tags(one)]
    found = tagged or suiting
    if not found:
        raise BadImage(f"none of the archive's images is made for this machine, linux/{_MACHINE}")
    if len(found) > 1 and not tagged:
        names = ", ".join(sorted(name for one in found for name in _tags(one)))[:300]
        raise BadImage(f"the archive holds {len(found)} images; name one's tag at the end of the URI ({names})")
    return found[0]


def _suits(platform: Any) -> bool:
    if not isinstance(platform, dict):
        return True
    return (platform.get("os", "linux"), platform.get("architecture", _MACHINE)) == ("linux", _MACHINE)


def _tags(manifest: Mapping[str, Any]) -> list[str]:
    """The tags of a manifest, also where they come with the repository before them."""
    found = manifest.get("annotations")
    names = [str(found[key]) for key in _TAGS if key in found] if isinstance(found, dict) else []
    return [*names, *(name.rpartition(":")[2] for name in names)]


def _digest(descriptor: Any) -> str:
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    kind, _, value = str(digest).partition(":")
    if not (kind == "sha256" and len(value) == 64 and set(value) <= set("0123456789abcdef")):
        raise BadImage(f"{str(digest)[:100]!r} is no digest of the form sha256:…, the only one that is read here")
    return f"sha256:{value}"


def _content(blobs: Blobs, digest: str) -> bytes:
    with _checked(blobs, digest) as stream:
        content = stream.read(_LARGEST_JSON + 1)
    if len(content) > _LARGEST_JSON:
        raise BadImage(f"{digest}: more than {_LARGEST_JSON:,} bytes are too many for a description")
    return content


class _Hashing:
    """A stream that remembers what was read."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.sum = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._stream.read(size)
        self.sum.update(piece)
        return piece


@contextmanager
def _checked(blobs: Blobs, digest: str) -> Iterator[BinaryIO]:
    """A blob, of which all must have been as the digest says by the end."""
    with blobs.open(f"blobs/sha256/{digest.removeprefix('sha256:')}") as stream:
        hashing = _Hashing(stream)
        yield cast(BinaryIO, hashing)
        while hashing.read(2**20):
            pass
    if hashing.sum.hexdigest() != digest.removeprefix("sha256:"):
        raise BadImage(f"{digest}: the blob of this name holds something else; copy the image again")


def _object(content: bytes, what: str) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or len(content) > _LARGEST_JSON:
        raise BadImage(f"{what} is no JSON object")
    return found


def _list(value: Any, what: str) -> list[dict[str, Any]]:
    if not (isinstance(value, list) and all(isinstance(one, dict) for one in value)):
        raise BadImage(f"{what} is no list of objects")
    return value

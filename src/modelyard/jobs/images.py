"""Images: what containers run, under the URIs of registries; the operator adds them, for all accounts and regions."""

import asyncio
import json
import re
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from modelyard.images.folder import BadImage, Form
from modelyard.jobs.model import AlreadyExists, NotFound, Resource
from modelyard.jobs.resources import EVERYONE, Resources, new

KIND = "image"
_LONGEST_URI = 255
_PART = "[a-z0-9]+(?:[._-]+[a-z0-9]+)*"
_URI = re.compile(
    rf"[A-Za-z0-9][A-Za-z0-9.-]{{0,199}}(?::[0-9]{{1,5}})?(?:/{_PART})+(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}))?"
)
_DIGEST = re.compile("sha256:[0-9a-f]{64}")
_DEFAULT_TAG = "latest"
_HALF = ".half-"


@dataclass(frozen=True)
class Image:
    """An added image.

    uri: `registry/repository:tag`, as requests name it. digest: `sha256:…`, of the OCI manifest or of all files.
    folder: the URI of the service's own folder that holds it. size: bytes unpacked. created: ms since the epoch.
    """

    uri: str
    digest: str
    folder: str
    form: Form
    size: int
    created: int = 0


class Images:
    """The images of one data folder, which lie in its folder `images`, each under its digest."""

    def __init__(self, resources: Resources, folder: Path) -> None:
        self._resources = resources
        self._folder = folder
        self._adding = asyncio.Lock()
        for half in folder.glob(f"{_HALF}*"):
            shutil.rmtree(half, ignore_errors=True)

    def find(self, uri: str) -> Image | None:
        """The image that a request means: by the URI it was added under; `:latest` may be left out."""
        try:
            return _image(self._resources.get(EVERYONE, KIND, check_uri(uri)))
        except (NotFound, BadImage):
            return None

    def list(self) -> list[Image]:
        """All images, the oldest first."""
        return [_image(one) for one in self._resources.all_of(KIND)]

    async def add(self, uri: str, path: Path, config: Path | None = None, digest: str | None = None) -> Image:
        """Takes an image in, instead of the one that had the URI. BadImage if it cannot be used.

        path: an OCI archive or layout, a root file system as folder or tar archive, or a Python project. config: a file
        that says how the program starts, instead of the image itself. digest: the registry's, of an image of which
        another program has made the archive.
        """
        uri = check_uri(uri)
        if digest is not None and not _DIGEST.fullmatch(digest):
            raise BadImage(f"{digest[:100]!r} is no digest of the form sha256:…")
        half = self._folder / f"{_HALF}{uuid4().hex}"
        half.mkdir()
        try:
            found = await _unpack(path, half, tag=uri.rpartition(":")[2], config=config, digest=digest)
            image = Image(uri, folder=_uri_of(found["digest"]), **found)
            async with self._adding:
                await self._settle(half, image.digest)
                return await self._keep(image)
        finally:
            await asyncio.to_thread(shutil.rmtree, half, ignore_errors=True)

    async def remove(self, uri: str) -> Image:
        """Forgets an image, and deletes its files unless another URI means them too. NotFound if there is none."""
        try:
            found = self._resources.get(EVERYONE, KIND, check_uri(uri))
        except BadImage:
            raise NotFound(uri) from None
        async with self._adding:
            await self._resources.delete(found)
            image = _image(found)
            await self._drop(image.digest)
        return image

    async def _settle(self, half: Path, digest: str) -> None:
        """Gives the unpacked image its place. What lies there already is the same."""
        place = self._folder / _hex(digest)
        if not place.exists():
            await asyncio.to_thread(half.rename, place)

    async def _keep(self, image: Image) -> Image:
        document = {name: value for name, value in asdict(image).items() if name != "created"}
        try:
            kept = await self._resources.create(new(EVERYONE, KIND, image.uri, None, "active", document))
        except AlreadyExists:
            known = self._resources.get(EVERYONE, KIND, image.uri)
            kept = await self._resources.change(known, document=document)
            await self._drop(known.document["digest"])
        return _image(kept)

    async def _drop(self, digest: str) -> None:
        """Deletes the files of an image that no URI means any more."""
        if all(image.digest != digest for image in self.list()):
            gone = self._folder / f"{_HALF}{uuid4().hex}"
            (self._folder / _hex(digest)).rename(gone)
            await asyncio.to_thread(shutil.rmtree, gone, ignore_errors=True)


def check_uri(uri: str) -> str:
    """The URI with its tag; BadImage if it is none of the form `registry/repository[:tag]`."""
    found = _URI.fullmatch(uri) if len(uri) <= _LONGEST_URI else None
    if found is None:
        example = "123456789012.dkr.ecr.us-east-1.amazonaws.com/model:1"
        raise BadImage(
            f"{uri[:_LONGEST_URI]!r} is no URI of an image: it is to be registry/repository[:tag], as {example}"
        )
    return uri if found["tag"] else f"{uri}:{_DEFAULT_TAG}"


async def _unpack(path: Path, half: Path, **options: str | Path | None) -> dict[str, Any]:
    """Has a process of its own unpack the image: what a stranger's archive does to it does nothing to us."""
    given = [f"--{name}={value}" for name, value in options.items() if value is not None]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "modelyard.images.adding", *given, "--", str(path), str(half)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        said, wrong = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        raise
    try:
        told: dict[str, Any] = json.loads(said)
    except ValueError:
        last = wrong.decode(errors="replace").strip().rpartition("\n")[2][:300]
        raise BadImage(f"{path}: unpacking it failed: {last or f'status {process.returncode}'}") from None
    if process.returncode != 0:
        raise BadImage(str(told["message"]))
    return told


def _image(resource: Resource) -> Image:
    return Image(**resource.document, created=resource.created)


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _uri_of(digest: str) -> str:
    return f"modelyard://images/{_hex(digest)}"

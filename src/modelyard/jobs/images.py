"""Images: what containers run, under the URIs of registries; the operator adds them, for all accounts and regions."""

from dataclasses import dataclass
from pathlib import Path

from modelyard.images.folder import Form
from modelyard.jobs.resources import Resources

KIND = "image"


@dataclass(frozen=True)
class Image:
    """An added image.

    uri: `registry/repository[:tag]`, as requests name it. digest: `sha256:…`, of the OCI manifest or of all files.
    folder: the URI of the service's own folder that holds it. size: bytes unpacked. created: ms since the epoch.
    """

    uri: str
    digest: str
    folder: str
    form: Form
    size: int
    created: int = 0


class Images:
    """The images of one data folder, which lie in its folder `images`."""

    def __init__(self, resources: Resources, folder: Path) -> None:
        self._resources = resources
        self._folder = folder

    def find(self, uri: str) -> Image | None:
        """The image that a request means: by the URI it was added under; `:latest` may be left out."""
        raise NotImplementedError

    def list(self) -> list[Image]:
        """All images, the oldest first."""
        raise NotImplementedError

    async def add(self, uri: str, path: Path) -> Image:
        """Takes an image in, instead of the one that had the URI. BadImage if it cannot be used."""
        raise NotImplementedError

    async def remove(self, uri: str) -> Image:
        """Forgets an image, and deletes its files unless another URI means them too. NotFound if there is none."""
        raise NotImplementedError

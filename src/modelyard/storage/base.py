"""What a storage is: the place where the objects of `s3://` URIs lie, as jobs read and write them."""

from enum import StrEnum
from pathlib import Path
from typing import Protocol


class Kind(StrEnum):
    """What a URI names."""

    FILE = "a file"
    FOLDER = "a folder"


class Storage(Protocol):
    """Objects by their URIs. Whatever is cancelled or killed halfway may be called again.

    ObjectError is the user's mistake, and says what is wrong with the URI; any other exception is the storage's, and
    may pass.
    """

    def bucket(self, uri: str) -> str:
        """The bucket of a URI; ObjectError if it is no `s3://` URI."""
        ...

    async def buckets(self) -> list[str]:
        """The names of all buckets, sorted."""
        ...

    async def kind(self, uri: str) -> Kind | None:
        """What a URI names; None if there is nothing. ObjectError if there can be nothing."""
        ...

    async def fetch(self, uri: str, into: Path) -> Path:
        """Where on this machine the file or folder that a URI names can be read: in place, or at `into`.

        What lies at `into` already was fetched before; it is whole, and is not fetched again. ObjectError if the URI
        names nothing.
        """
        ...

    async def publish(self, source: Path, uri: str) -> None:
        """Moves a folder to where a URI points, for readers to see whole or not at all. Repeated, it does no harm."""
        ...

    async def remove(self, uri: str) -> None:
        """Deletes a folder and all in it; one that is not there is deleted already."""
        ...

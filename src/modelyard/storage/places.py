"""Where the inputs and outputs of jobs lie: the users' objects, and folders that belong to the service itself.

`modelyard://models/<name>` is the folder `<data folder>/models/<name>`. Plans name such URIs; users cannot, since
whatever they name goes to the storage of buckets, which takes `s3://` URIs alone.
"""

from pathlib import Path

from modelyard.storage.base import Kind, Storage
from modelyard.storage.folders import Folders

OWN = "modelyard://"


class Places:
    """See `Storage`: the users' one, and the service's own folders beside it."""

    def __init__(self, users: Storage, data_folder: Path) -> None:
        self._users = users
        self._own = Folders(data_folder)

    def folder(self, uri: str) -> Path:
        """The folder of the service's own that a URI names, which need not exist."""
        return self._own.path(_inside(uri))

    def bucket(self, uri: str) -> str:
        """See `Storage.bucket`."""
        return self._users.bucket(uri)

    async def buckets(self) -> list[str]:
        """See `Storage.buckets`."""
        return await self._users.buckets()

    async def kind(self, uri: str) -> Kind | None:
        """See `Storage.kind`."""
        storage, uri = self._storage(uri)
        return await storage.kind(uri)

    async def fetch(self, uri: str, into: Path) -> Path:
        """See `Storage.fetch`."""
        storage, uri = self._storage(uri)
        return await storage.fetch(uri, into)

    async def publish(self, source: Path, uri: str) -> None:
        """See `Storage.publish`."""
        storage, uri = self._storage(uri)
        await storage.publish(source, uri)

    async def remove(self, uri: str) -> None:
        """See `Storage.remove`."""
        storage, uri = self._storage(uri)
        await storage.remove(uri)

    def _storage(self, uri: str) -> tuple[Storage, str]:
        """The storage that knows a URI, and how it calls it."""
        return (self._own, _inside(uri)) if uri.startswith(OWN) else (self._users, uri)


def _inside(uri: str) -> str:
    """A folder of ours as that of a bucket, of which the data folder is the root."""
    return "s3://" + uri.removeprefix(OWN)

"""S3 in process, over a folder."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.boto import Clients

from modelyard.database import Database
from modelyard.services.s3.backend import Backend
from modelyard.services.s3.service import s3
from modelyard.storage.buckets import Buckets
from modelyard.storage.listing import Listing
from modelyard.storage.objects import Objects
from modelyard.storage.threads import Threads
from modelyard.storage.tree import Tree
from modelyard.storage.uploads import Uploads
from modelyard.wire.endpoint import Endpoint


class Door:
    """S3 as an application, and the folder of its buckets. `awaited` are buckets that jobs will write to."""

    def __init__(self, folder: Path) -> None:
        self.objects, uploads = folder / "objects", folder / "uploads"
        self.objects.mkdir()
        uploads.mkdir()
        self.awaited: set[str] = set()
        self._database = Database(folder / "modelyard.db")
        self._threads = Threads()
        self._tree = Tree(self.objects, uploads)
        self.buckets = Buckets(self._database)
        objects = Objects(self._tree, self._threads)
        listing, multipart = Listing(self._tree, self._threads), Uploads(objects, uploads)
        self.app = Endpoint([s3(Backend(objects, multipart, listing, self.buckets, self.awaited.__contains__))])

    def close(self) -> None:
        self._threads.close()
        self._tree.close()
        self._database.close()


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    door = Door(tmp_path)
    yield door
    door.close()


@pytest.fixture
def client(door: Door, client_for: Clients) -> Any:
    """A client of the account 111122223333, who owns the bucket `films`."""
    client = client_for(door.app, "s3")
    client.create_bucket(Bucket="films")
    return client


@pytest.fixture
def other(door: Door, client_for: Clients) -> Any:
    """A client of another account."""
    return client_for(door.app, "s3", account="444455556666")


def refusal(call: Callable[..., Any], **arguments: Any) -> tuple[int, str]:
    """The status and the code with which a call is refused."""
    return refused(call, **arguments)[:2]


def refused(call: Callable[..., Any], **arguments: Any) -> tuple[int, str, dict[str, str]]:
    """The status, the code and the whole error with which a call is refused."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], response["Error"]

"""Folders under `s3://` URIs that an S3 service keeps: jobs read copies, and what they write is uploaded.

Needs obstore (`modelyard[s3]`), whose transfers neither hold up the event loop nor keep whole objects in memory.
"""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import GenericError, InvalidPathError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from modelyard.storage.base import Kind
from modelyard.storage.endpoint import S3Endpoint
from modelyard.storage.names import ObjectError, parts

MARKER = "_SUCCESS"
"""The object of a folder that is written last, and names all others; Hadoop's committers write such a one."""
PART_BYTES = 16 * 1024 * 1024
TRANSFERS = 4
"""How many objects are under way at once, and how many parts of one."""
CREDENTIALS_SECONDS = 300
"""How often botocore is asked for the credentials; it renews those that end before they do."""


class Remote:
    """See `Storage`."""

    def __init__(self, endpoint: S3Endpoint) -> None:
        self._endpoint = endpoint
        self._store = lru_cache(maxsize=256)(self._open)

    def bucket(self, uri: str) -> str:
        """See `Storage.bucket`."""
        return parts(uri)[0]

    async def buckets(self) -> list[str]:
        """See `Storage.buckets`."""
        answer = await asyncio.to_thread(lambda: self._endpoint.client().list_buckets())
        return sorted(bucket["Name"] for bucket in answer["Buckets"])

    async def kind(self, uri: str) -> Kind | None:
        """See `Storage.kind`. A prefix that objects have is a folder, even if an object has its very name."""
        store, key = self._place(uri)
        if [found async for found in self._listed(uri, limit=1)] or not key:
            return Kind.FOLDER
        return Kind.FILE if await _exists(store, key) else None

    async def fetch(self, uri: str, into: Path) -> Path:
        """See `Storage.fetch`. What is fetched bears its own name, in the folder `into`."""
        store, key = self._place(uri)
        name = uri.rstrip("/").rpartition("/")[2]
        whole, half = into / name, into / f".{name}.half"
        if whole.exists():
            return whole
        await asyncio.to_thread(shutil.rmtree, into, ignore_errors=True)
        into.mkdir(parents=True)
        files = await self._files(uri)
        for folder in {(half / file).parent for file in files}:
            folder.mkdir(parents=True, exist_ok=True)
        turns = asyncio.Semaphore(TRANSFERS)
        try:
            async with asyncio.TaskGroup() as group:
                for file in files or [""]:
                    group.create_task(_download(store, f"{key}/{file}".strip("/"), half / file, turns))
        except* FileNotFoundError as errors:
            raise ObjectError(f"{uri}: there is nothing, or no longer: {_first_line(errors.exceptions[0])}") from None
        os.rename(half, whole)
        return whole

    async def publish(self, source: Path, uri: str) -> None:
        """Uploads a folder's files, the marker last, and deletes the folder. See `Storage.publish`."""
        store, key = self._place(uri)
        if not await _exists(store, f"{key}/{MARKER}"):
            if not source.is_dir():
                raise FileNotFoundError(f"{source} is gone, and {uri} has no {MARKER}")
            files = {str(path.relative_to(source)): path.stat().st_size for path in _regular_files(source)}
            for file in files:
                path = source / file
                await obstore.put_async(store, f"{key}/{file}", path, chunk_size=PART_BYTES, max_concurrency=TRANSFERS)
            await obstore.put_async(store, f"{key}/{MARKER}", json.dumps({"files": files}, indent=1).encode())
        await asyncio.to_thread(shutil.rmtree, source, ignore_errors=True)

    async def remove(self, uri: str) -> None:
        """Deletes the objects below a prefix, the marker first. See `Storage.remove`."""
        store, key = self._place(uri)
        if await _exists(store, f"{key}/{MARKER}"):
            await obstore.delete_async(store, f"{key}/{MARKER}")
        async for page in obstore.list(store, key):
            await obstore.delete_async(store, [entry["path"] for entry in page])

    async def _files(self, uri: str) -> list[str]:
        """The names of all files below a prefix, relative to it. ObjectError for names that no folder can hold.

        An empty object that has the name of a folder only says that the folder is there; consoles make such ones.
        """
        sizes = dict([found async for found in self._listed(uri)])
        folders = {file[:place] for file in sizes for place, sign in enumerate(file) if sign == "/"} | {""}
        for file in sizes.keys() & folders:
            if sizes.pop(file):
                raise ObjectError(f"{uri}: {file} is an object, and a folder of others too; a folder cannot hold both")
        for file in sizes:
            parts(f"s3://any/{file}")
        return list(sizes)

    async def _listed(self, uri: str, limit: int | None = None) -> AsyncIterator[tuple[str, int]]:
        """Name, relative to the URI, and size in bytes of each object below a URI, or of as many as `limit` says."""
        store, key = self._place(uri)
        try:
            async for page in obstore.list(store, key or None, chunk_size=limit or 1000):
                for entry in page[:limit]:
                    yield entry["path"][len(key) :].strip("/"), entry["size"]
                if limit:
                    return
        except InvalidPathError as error:
            raise ObjectError(f"{uri}: a folder cannot hold this: {_first_line(error)}") from None
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise ObjectError(f"{uri}: {self._endpoint.url} refuses this server: {_first_line(error)}") from None
        except GenericError as error:
            if "<Code>NoSuchBucket</Code>" not in str(error):
                raise
            raise ObjectError(f"{uri}: there is no such bucket at {self._endpoint.url}") from None

    def _place(self, uri: str) -> tuple[Any, str]:
        """The bucket of a URI, opened, and its key without a slash at the end."""
        bucket, keys = parts(uri)
        return self._store(bucket), "/".join(keys)

    def _open(self, bucket: str) -> Any:
        return S3Store(
            bucket,
            endpoint=self._endpoint.url,
            region=self._endpoint.region,
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
            credential_provider=self._credentials,  # type: ignore[arg-type]  # a dict where obstore has a TypedDict
        )

    def _credentials(self) -> dict[str, Any]:
        until = datetime.now(UTC) + timedelta(seconds=CREDENTIALS_SECONDS)
        return {**self._endpoint.keys(), "expires_at": until}


async def _exists(store: Any, key: str) -> bool:
    try:
        await obstore.head_async(store, key)
    except FileNotFoundError:
        return False
    return True


async def _download(store: Any, key: str, path: Path, turns: asyncio.Semaphore) -> None:
    """Writes an object to a file, in pieces; FileNotFoundError if there is no such object."""
    async with turns:
        pieces = (await obstore.get_async(store, key)).stream()
        with path.open("wb") as file:
            async for piece in pieces:
                await asyncio.to_thread(file.write, piece)


def _regular_files(folder: Path) -> list[Path]:
    """All files below a folder, in order; links are none."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]

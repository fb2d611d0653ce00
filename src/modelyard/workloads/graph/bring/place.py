"""Where an export goes and comes from: a folder, or `s3://bucket/key` of a running server.

An export appears whole or not at all: a folder by rename, objects with the configuration last, since without it a
folder is no export.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.removal import remove
from modelyard.runner.context import InputError
from modelyard.workloads.graph.processing.configuration import CONFIGURATION

SCHEME = "s3://"
PART = 64 << 20
"""Bytes sent at once."""


@dataclass(frozen=True)
class Door:
    """Where S3 is asked and as whom. Credentials of the environment, as AWS's clients find them, come before
    `account`, which is enough where nobody's signature is checked.
    """

    endpoint_url: str | None = None
    account: str = "000000000000"
    region: str | None = None

    def client(self) -> Any:
        """botocore's client. Raises InputError if no server is known."""
        from botocore.config import Config
        from botocore.session import Session

        session = Session()
        if session.get_credentials() is None:
            session.set_credentials(self.account, "unchecked")
        region = self.region or session.get_config_variable("region") or "us-east-1"
        config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 3})
        return session.create_client("s3", region, endpoint_url=self.endpoint_url or _endpoint(), config=config)


@contextmanager
def written(to: str | Path, replace: bool = False, door: Door | None = None) -> Iterator[Path]:
    """A folder to fill, which becomes `to` when the block ends without an exception. Raises InputError.

    What is at `to` already is only replaced if that is asked for, and if it is an export.
    """
    if str(to).startswith(SCHEME):
        bucket, key = _split(str(to))
        with _asking(str(to)), tempfile.TemporaryDirectory(prefix="modelyard-export-") as folder:
            client = (door or Door()).client()
            earlier = _earlier(client, bucket, key, str(to), replace)
            yield Path(folder)
            _upload(client, Path(folder), bucket, key, earlier)
        return
    place = Path(to).absolute()
    _check_free(place, replace)
    place.parent.mkdir(parents=True, exist_ok=True)
    half = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    try:
        yield half
        half.chmod(0o755)
        _move(half, place)
    finally:
        remove(half)


@contextmanager
def read(place: str | Path, door: Door | None = None) -> Iterator[Path]:
    """The folder of an export; objects are fetched into a temporary one. Raises InputError."""
    if not str(place).startswith(SCHEME):
        if not Path(place).is_dir():
            raise InputError(f"{place}: there is no such folder")
        yield Path(place)
        return
    bucket, key = _split(str(place))
    with tempfile.TemporaryDirectory(prefix="modelyard-check-") as folder:
        with _asking(str(place)):
            client = (door or Door()).client()
            names = list(_names(client, bucket, key))
            if not names:
                raise InputError(f"{place}: there are no objects")
            for name in names:
                _download(client, bucket, key + name, Path(folder), name)
        yield Path(folder)


def _check_free(place: Path, replace: bool) -> None:
    if not place.exists() or (place.is_dir() and not any(place.iterdir())):
        return
    _check_replaced(str(place), (place / CONFIGURATION).is_file(), replace)


def _check_replaced(place: str, is_export: bool, replace: bool) -> None:
    if not is_export:
        raise InputError(f"{place} is there, and is no export; name another place")
    if not replace:
        raise InputError(f"{place} holds an export; --replace puts the new one in its place")


def _move(half: Path, place: Path) -> None:
    """Puts a folder in its place by rename; what was there goes aside first, and is deleted last."""
    if not place.exists():
        half.rename(place)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    os.rename(place, aside)
    half.rename(place)
    remove(aside)


@contextmanager
def _asking(place: str) -> Iterator[None]:
    """Turns what S3 says into a sentence for people."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code")
        bucket = place.removeprefix(SCHEME).partition("/")[0]
        hint = f"; make the bucket first: aws s3 mb s3://{bucket}" if code == "NoSuchBucket" else ""
        raise InputError(f"{place}: {error}{hint}") from None
    except BotoCoreError as error:
        raise InputError(f"{place}: {error}") from None


def _split(uri: str) -> tuple[str, str]:
    """The bucket, and the prefix with a slash at its end."""
    bucket, _, key = uri.removeprefix(SCHEME).partition("/")
    if not bucket or not key.strip("/"):
        raise InputError(f"{uri!r} must name a bucket and a folder in it: s3://bucket/exports/mine/")
    return bucket, key.strip("/") + "/"


def _endpoint() -> str | None:
    """The server that the environment names, else the one that last ran on the default data folder; else AWS."""
    for name in ("MODELYARD_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        if url := os.environ.get(name):
            return url
    try:
        found = json.loads((Path(os.environ.get("MODELYARD_DATA_DIR", ".modelyard")) / "server.json").read_text())
        return str(found["url"])
    except (OSError, ValueError, KeyError):
        raise InputError(
            "no server is known: start one with modelyard serve, or name it with --endpoint-url (endpoint_url in "
            "Python) or MODELYARD_ENDPOINT_URL"
        ) from None


def _names(client: Any, bucket: str, prefix: str) -> Iterator[str]:
    """The names of all objects under a prefix, relative to it."""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for found in page.get("Contents", ()):
            name = found["Key"].removeprefix(prefix)
            if name and not name.endswith("/"):
                yield name


def _earlier(client: Any, bucket: str, key: str, place: str, replace: bool) -> list[str]:
    """The objects of the export that is to be replaced."""
    names = list(_names(client, bucket, key))
    if names:
        _check_replaced(place, CONFIGURATION in names, replace)
    return names


def _upload(client: Any, folder: Path, bucket: str, key: str, earlier: list[str]) -> None:
    """Sends all files, the configuration last; an earlier export loses its own first, and what is left of it last."""
    if CONFIGURATION in earlier:
        client.delete_object(Bucket=bucket, Key=key + CONFIGURATION)
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    for name in set(earlier) - set(names):
        client.delete_object(Bucket=bucket, Key=key + name)
    for name in sorted(names, key=lambda name: name == CONFIGURATION):
        _send(client, folder / name, bucket, key + name)


def _send(client: Any, path: Path, bucket: str, key: str) -> None:
    with path.open("rb") as file:
        if path.stat().st_size <= PART:
            client.put_object(Bucket=bucket, Key=key, Body=file)
            return
        upload = {"Bucket": bucket, "Key": key}
        upload["UploadId"] = client.create_multipart_upload(**upload)["UploadId"]
        try:
            parts = [
                {"PartNumber": number, "ETag": client.upload_part(**upload, PartNumber=number, Body=data)["ETag"]}
                for number, data in enumerate(iter(lambda: file.read(PART), b""), 1)
            ]
            client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        except BaseException:
            client.abort_multipart_upload(**upload)
            raise


def _download(client: Any, bucket: str, key: str, folder: Path, name: str) -> None:
    """One object. Names come from the bucket: none may lead out of the folder."""
    path = folder / name
    if name.startswith("/") or any(part in ("", ".", "..") for part in name.split("/")):
        raise InputError(f"s3://{bucket}/{key}: the name is no path within a folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        shutil.copyfileobj(client.get_object(Bucket=bucket, Key=key)["Body"], file, 1 << 20)

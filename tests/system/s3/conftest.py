"""A real server as S3, for the tools that people use with AWS's, each as it is installed."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import uuid
import venv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.moto import KEYS, moto  # noqa: F401 (fixture)
from tests.system.server import Server

ACCOUNT = "111122223333"
REGION = "us-east-1"


@dataclass(frozen=True)
class Door:
    """Where tools find S3, and as whom they come there. `passes` tells whether another service keeps the objects."""

    url: str
    passes: bool = False

    @property
    def address(self) -> str:
        """Host and port."""
        return self.url.partition("://")[2]

    @property
    def environment(self) -> dict[str, str]:
        """What programs read that are configured as AWS's are; nothing else of this machine's configuration."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }

    def client(self, account: str = ACCOUNT, **options: Any) -> Any:
        """A boto3 client as users make it; `options` are those of its `Config`."""
        session = boto3.session.Session(aws_access_key_id=account, aws_secret_access_key="secret", region_name=REGION)
        return session.client("s3", endpoint_url=self.url, config=Config(**options))


@dataclass(frozen=True)
class Bucket:
    """An empty bucket of its own for each test."""

    door: Door
    name: str = field(default_factory=lambda: f"tools-{uuid.uuid4().hex[:12]}")

    def __str__(self) -> str:
        return self.name

    def uri(self, key: str) -> str:
        return f"s3://{self.name}/{key}"

    def put(self, **objects: bytes) -> None:
        """Puts small objects; in keys `__` stands for a slash and `_` for a dot."""
        for key, body in objects.items():
            self.door.client().put_object(Bucket=self.name, Key=key.replace("__", "/").replace("_", "."), Body=body)

    def get(self, key: str) -> bytes:
        return bytes(self.door.client().get_object(Bucket=self.name, Key=key)["Body"].read())

    def listed(self) -> list[str]:
        """All keys, in the order in which they are listed."""
        pages = self.door.client().get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]


@pytest.fixture(scope="package", params=["folders", "pass-through"])
def door(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A server that keeps the objects itself, and one before another S3 service."""
    data = tmp_path_factory.mktemp("s3") / "data"
    if request.param == "folders":
        server = Server(data)
    else:
        server = Server(data, "--s3-endpoint", request.getfixturevalue("moto"), **KEYS)
    yield Door(server.start().url, passes=request.param == "pass-through")
    server.close()


@pytest.fixture
def bucket(door: Door) -> Bucket:
    bucket = Bucket(door)
    door.client().create_bucket(Bucket=bucket.name)
    return bucket


@pytest.fixture(scope="package")
def fsspec_python(pytestconfig: pytest.Config) -> Path:
    """A Python with s3fs, whose aiobotocore wants a botocore of its own; all other packages are ours."""
    folder = pytestconfig.cache.mkdir("s3fs")
    python = folder / "bin" / "python"
    with locked(folder):
        if not (folder / "complete").exists():
            venv.create(folder, with_pip=True, clear=True)
            installed([str(python), "-m", "pip", "install", "--quiet", "s3fs>=2026.1"])
            [site] = folder.glob("lib/python*/site-packages")
            (site / "ours.pth").write_text(sysconfig.get_path("purelib") + "\n")
            (folder / "complete").touch()
    return python


@pytest.fixture(scope="package")
def javascript(pytestconfig: pytest.Config) -> Path:
    """A folder in which Node.js finds AWS's SDK for JavaScript, version 3."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node.js and npm are not installed here")
    folder = pytestconfig.cache.mkdir("javascript")
    packages = ("@aws-sdk/client-s3@3", "@aws-sdk/lib-storage@3", "@aws-sdk/s3-request-presigner@3")
    with locked(folder):
        if not (folder / "complete").exists():
            installed(["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", *packages])
            (folder / "complete").touch()
    return folder


class locked:
    """One process at a time prepares a folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder.with_suffix(".lock")

    def __enter__(self) -> None:
        self._file = self._path.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._file.close()


def installed(command: Sequence[str]) -> None:
    """Runs an installer; the test is skipped, with its last words, where it reaches no registry."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        pytest.skip(f"{Path(command[0]).name} could not install: {(done.stderr.strip() or '?').splitlines()[-1]}")


def run(command: Sequence[str | Path], door: Door, input: bytes | None = None, **environment: str) -> bytes:
    """What a program prints that is to succeed."""
    done = subprocess.run(
        [str(part) for part in command],
        input=input,
        capture_output=True,
        env=door.environment | environment,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    return done.stdout


def answer(python: Path, code: str, bucket: Bucket) -> Any:
    """What a script prints as JSON; it finds the bucket's name in its arguments, the rest in its environment."""
    return json.loads(run([python, "-c", code, bucket.name], bucket.door))


PROGRAMS = Path(sys.executable).parent

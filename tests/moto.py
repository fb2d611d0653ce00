"""moto's server: an S3 service of somebody else's, for what stands in front of one."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.conftest import wait_for

KEYS = {"AWS_ACCESS_KEY_ID": "server", "AWS_SECRET_ACCESS_KEY": "hidden", "AWS_REGION": "us-east-1"}
"""The environment of who may use it."""


def client(url: str) -> Any:
    """Straight to the service, as the one whose buckets they are."""
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name=KEYS["AWS_REGION"],
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
    )


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """Its address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    command = [Path(sys.executable).parent / "moto_server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: _answers(port))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

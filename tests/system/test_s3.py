"""S3 on a real server that is killed, that runs out of disk, and that holds little in memory."""

import hashlib
import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conftest import wait_for
from tests.system.server import Server

pytestmark = [pytest.mark.system]

MB = 1024 * 1024
FILM = {"Bucket": "films", "Key": "deep/film"}


@pytest.fixture
def server(data: Path) -> Iterator[Server]:
    server = Server(data).start()
    yield server
    server.close()


def uploads(server: Server) -> list[str]:
    return os.listdir(server.folder / "uploads")


def put_slowly(server: Server, path: str, size: int) -> socket.socket:
    """Sends the head of a put, and half of its body."""
    host, port = server.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    scope = "111122223333/20260101/us-east-1/s3/aws4_request"
    head = (
        f"PUT {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {size}\r\n"
        f"Authorization: AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0\r\n\r\n"
    )
    connection.sendall(head.encode() + b"x" * (size // 2))
    return connection


class TestAKill:
    def test_leaves_no_half_object(self, server: Server) -> None:
        s3 = server.client("s3")
        s3.create_bucket(Bucket="films")
        s3.put_object(**FILM, Body=b"before")
        with put_slowly(server, "/films/deep/film", 40 * MB):
            wait_for(lambda: uploads(server))
            server.kill()
        assert uploads(server)
        server.start()
        s3 = server.client("s3")
        assert s3.get_object(**FILM)["Body"].read() == b"before"
        assert [item["Key"] for item in s3.list_objects_v2(Bucket="films")["Contents"]] == ["deep/film"]
        assert uploads(server) == []

    def test_leaves_an_upload_that_can_go_on(self, server: Server) -> None:
        s3 = server.client("s3")
        s3.create_bucket(Bucket="films")
        upload = FILM | {"UploadId": s3.create_multipart_upload(**FILM, Metadata={"by": "me"})["UploadId"]}
        content = [os.urandom(5 * MB), os.urandom(5 * MB), b"end"]
        parts = [s3.upload_part(**upload, PartNumber=1, Body=content[0])["ETag"]]
        with put_slowly(server, f"/films/deep/film?partNumber=2&uploadId={upload['UploadId']}", 5 * MB):
            wait_for(lambda: (server.folder / "uploads" / upload["UploadId"] / "data").stat().st_size > 5 * MB)
            server.kill()
        server.start()
        s3 = server.client("s3")
        assert [part["PartNumber"] for part in s3.list_parts(**upload)["Parts"]] == [1]
        parts += [s3.upload_part(**upload, PartNumber=n, Body=content[n - 1])["ETag"] for n in (2, 3)]
        chosen = {"Parts": [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(parts, 1)]}
        s3.complete_multipart_upload(**upload, MultipartUpload=chosen)
        got = s3.get_object(**FILM)
        assert (got["Body"].read(), got["Metadata"]) == (b"".join(content), {"by": "me"})
        assert uploads(server) == []

    def test_loses_nothing_that_was_answered(self, server: Server) -> None:
        """Puts go on from several threads while the server is killed; each that was answered is there, whole."""
        server.client("s3").create_bucket(Bucket="films")
        answered: dict[str, bytes] = {}

        def put(number: int) -> None:
            s3 = server.client("s3")
            try:
                for turn in range(10_000):
                    body = os.urandom(turn % 3 * 100_000 + 10)
                    s3.put_object(Bucket="films", Key=f"{number}/{turn}", Body=body, ContentType="x/y")
                    answered[f"{number}/{turn}"] = hashlib.md5(body).digest()
            except Exception:  # the server was killed, whatever the client makes of that
                return

        threads = [threading.Thread(target=put, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(answered) > 60)
        server.kill()
        for thread in threads:
            thread.join()
        server.start()
        s3 = server.client("s3")
        listed = {item["Key"]: item["ETag"].strip('"') for item in s3.list_objects_v2(Bucket="films")["Contents"]}
        assert {key: listed.get(key) for key in answered} == {key: md5.hex() for key, md5 in answered.items()}
        for key in listed:
            got = s3.get_object(Bucket="films", Key=key)
            assert hashlib.md5(got["Body"].read()).hexdigest() == listed[key]
            assert got["ContentType"] == "x/y"


class TestDisks:
    @pytest.fixture
    def small(self, tmp_path: Path) -> Iterator[Path]:
        """A file system of 24 MB."""
        folder = tmp_path / "small"
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("only root may mount a file system of its own size")
        yield folder
        subprocess.run(["umount", "-l", str(folder)], check=True)

    def test_a_full_one_is_said_and_holds_no_halves(self, small: Path) -> None:
        server = Server(small / "data").start()
        try:
            s3 = server.client("s3")
            s3.create_bucket(Bucket="films")
            s3.put_object(**FILM, Body=b"x" * 10 * MB)
            upload = FILM | {"UploadId": s3.create_multipart_upload(**FILM)["UploadId"]}
            for call in (
                lambda: s3.put_object(**FILM, Body=b"y" * 20 * MB),
                lambda: s3.upload_part(**upload, PartNumber=1, Body=b"y" * 20 * MB),
            ):
                with pytest.raises(ClientError, match=r"InsufficientStorage.*no room left"):
                    call()
            s3.abort_multipart_upload(**upload)
            assert s3.get_object(**FILM)["Body"].read() == b"x" * 10 * MB
            wait_for(lambda: uploads(server) == [])
            s3.put_object(Bucket="films", Key="another", Body=b"z" * 5 * MB)
        finally:
            server.close()


@pytest.mark.slow
def test_a_large_object_is_never_in_memory(server: Server) -> None:
    pid = json.loads((server.folder / "server.json").read_text())["pid"]

    def most() -> int:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) // 1024

    s3: Any = server.client("s3")
    s3.create_bucket(Bucket="films")
    s3.put_object(Bucket="films", Key="small", Body=b"x" * 4 * MB)
    s3.get_object(Bucket="films", Key="small")["Body"].read()
    before = most()
    with (server.folder / "zeros").open("wb") as file:
        file.truncate(400 * MB)
    with (server.folder / "zeros").open("rb") as file:
        s3.put_object(**FILM, Body=file)
    size = sum(len(chunk) for chunk in s3.get_object(**FILM)["Body"].iter_chunks(MB))
    assert size == 400 * MB
    assert most() - before < 32, "MB more than for a small object"

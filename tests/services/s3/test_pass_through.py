"""What passes through to another S3 service: to moto's server, and to one that writes down what it is sent."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from tests import moto as service
from tests.boto import Clients, Loop, Send
from tests.moto import moto  # noqa: F401 (fixture)
from tests.services.s3.conftest import Door as InFolders

from modelyard.database import Database
from modelyard.services.s3.pass_through import PassThrough
from modelyard.storage.buckets import Buckets
from modelyard.storage.endpoint import S3Endpoint
from modelyard.wire.endpoint import Endpoint

US, THEM = "111122223333", "444455556666"


@dataclass
class Door:
    """A server's S3 in process, in front of a service."""

    url: str
    folder: Path
    loop: Loop
    clients: Clients
    send: Send

    def __post_init__(self) -> None:
        self.database = Database(self.folder / "modelyard.db")
        self.passing = PassThrough(S3Endpoint.at(self.url), Buckets(self.database))
        self.app = Endpoint([self.passing.service()])

    def client(self, account: str = US) -> Any:
        return self.clients(self.app, "s3", account)

    def close(self) -> None:
        self.loop.run(self.passing.close())
        self.database.close()


@dataclass
class Recorder:
    """An S3 service that answers every request alike, and keeps what it was sent."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": '"1"'})
    body: bytes = b""
    method: str = ""
    path: str = ""
    received: dict[str, str] = field(default_factory=dict)
    content: bytes = b""

    def handler(self) -> type[BaseHTTPRequestHandler]:
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                recorder.method, recorder.path = self.command, self.path
                recorder.received = {name.lower(): value for name, value in self.headers.items()}
                recorder.content = self._content()
                self.send_response(recorder.status)
                for name, value in (recorder.headers | {"Content-Length": str(len(recorder.body))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(recorder.body if self.command != "HEAD" else b"")

            def _content(self) -> bytes:
                if self.headers.get("transfer-encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("content-length", 0)))
                content = b""
                while size := int(self.rfile.readline(), 16):
                    content += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return content

            do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = answer

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in service.KEYS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def door(moto: str, tmp_path: Path, loop: Loop, client_for: Clients, send: Send) -> Iterator[Door]:  # noqa: F811
    door = Door(moto, tmp_path, loop, client_for, send)
    yield door
    door.close()


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    recorder = Recorder()
    with ThreadingHTTPServer(("127.0.0.1", 0), recorder.handler()) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        recorder.url = f"http://127.0.0.1:{server.server_port}"
        yield recorder
        server.shutdown()


@pytest.fixture
def before(recorder: Recorder, tmp_path: Path, loop: Loop, client_for: Clients, send: Send) -> Iterator[Door]:
    """The door before the recorder."""
    door = Door(recorder.url, tmp_path, loop, client_for, send)
    yield door
    door.close()


def code(caught: pytest.ExceptionInfo[ClientError]) -> tuple[int, str]:
    return caught.value.response["ResponseMetadata"]["HTTPStatusCode"], caught.value.response["Error"]["Code"]


def signature(recorder: Recorder) -> str:
    """The signature that AWS would expect for what was received."""
    said = dict(part.strip().split("=", 1) for part in recorder.received["authorization"].partition(" ")[2].split(","))
    request = AWSRequest(recorder.method, recorder.url + recorder.path)
    for name in said["SignedHeaders"].split(";"):
        request.headers[name] = recorder.received[name]
    request.context["timestamp"] = recorder.received["x-amz-date"]
    signer = S3SigV4Auth(Credentials("server", "hidden"), "s3", "us-east-1")
    assert said["Credential"] == signer.scope(request)
    assert recorder.received["authorization"].endswith(f"Signature={said['Signature']}")
    return said["Signature"]


@pytest.mark.system
class TestBuckets:
    def test_belong_to_whom_they_were_made_by(self, door: Door) -> None:
        us, them = door.client(), door.client(THEM)
        us.create_bucket(Bucket="ours-alone")
        them.create_bucket(Bucket="theirs-alone")
        us.put_object(Bucket="ours-alone", Key="a", Body=b"1")
        for refused in (
            lambda: them.get_object(Bucket="ours-alone", Key="a"),
            lambda: them.list_objects_v2(Bucket="ours-alone"),
            lambda: them.delete_bucket(Bucket="ours-alone"),
            lambda: them.copy_object(Bucket="theirs-alone", Key="a", CopySource="ours-alone/a"),
        ):
            with pytest.raises(ClientError) as caught:
                refused()
            assert code(caught) == (403, "AccessDenied")
        with pytest.raises(ClientError) as caught:
            them.create_bucket(Bucket="ours-alone")
        assert code(caught) == (409, "BucketAlreadyExists")

    def test_of_others_are_not_listed(self, door: Door) -> None:
        door.client().create_bucket(Bucket="ours-listed")
        door.client(THEM).create_bucket(Bucket="theirs-listed")
        service.client(door.url).create_bucket(Bucket="shared-listed")
        names = [bucket["Name"] for bucket in door.client().list_buckets()["Buckets"]]
        assert "ours-listed" in names
        assert "shared-listed" in names
        assert "theirs-listed" not in names

    def test_that_are_gone_are_nobodys(self, door: Door) -> None:
        door.client().create_bucket(Bucket="made-twice")
        door.client().delete_bucket(Bucket="made-twice")
        door.client(THEM).create_bucket(Bucket="made-twice")
        with pytest.raises(ClientError):
            door.client().put_object(Bucket="made-twice", Key="a", Body=b"")

    def test_are_checked_against_the_expected_owner(self, door: Door) -> None:
        us = door.client()
        us.create_bucket(Bucket="ours-expected")
        us.put_object(Bucket="ours-expected", Key="a", Body=b"1", ExpectedBucketOwner=US)
        with pytest.raises(ClientError) as caught:
            us.put_object(Bucket="ours-expected", Key="a", Body=b"1", ExpectedBucketOwner=THEM)
        assert code(caught) == (403, "AccessDenied")


@pytest.mark.system
class TestAnswers:
    def test_come_as_the_service_gives_them(self, door: Door) -> None:
        us = door.client()
        us.create_bucket(Bucket="as-it-is")
        us.put_object(Bucket="as-it-is", Key="a b/+ä", Body=b"0123456789", Metadata={"by": "me"}, ContentType="a/b")
        got = us.get_object(Bucket="as-it-is", Key="a b/+ä", Range="bytes=2-4")
        assert (got["Body"].read(), got["ContentRange"]) == (b"234", "bytes 2-4/10")
        assert (got["Metadata"], got["ContentType"]) == ({"by": "me"}, "a/b")
        assert us.head_object(Bucket="as-it-is", Key="a b/+ä")["ContentLength"] == 10

    def test_with_errors_are_the_services_own(self, door: Door) -> None:
        us = door.client()
        us.create_bucket(Bucket="as-it-fails")
        with pytest.raises(us.exceptions.NoSuchKey):
            us.get_object(Bucket="as-it-fails", Key="missing")
        with pytest.raises(us.exceptions.NoSuchBucket):
            us.put_object(Bucket="no-such-bucket", Key="a", Body=b"")


class TestRequests:
    def test_are_served_for_the_operations_that_folders_serve(self, before: Door, tmp_path: Path) -> None:
        (tmp_path / "folders").mkdir()
        folders = InFolders(tmp_path / "folders")
        [ours], [theirs] = before.app.services, folders.app.services
        assert ours.handlers.keys() == theirs.handlers.keys()
        folders.close()

    def test_are_signed_again_with_the_servers_credentials(self, before: Door, recorder: Recorder) -> None:
        before.client().put_object(Bucket="bucket", Key="a b/+ä~", Body=b"content", Metadata={"by": "me"})
        assert recorder.path == "/bucket/a%20b/%2B%C3%A4~"
        assert recorder.content == b"content"
        assert recorder.received["content-length"] == "7"
        assert "transfer-encoding" not in recorder.received
        assert recorder.received["x-amz-meta-by"] == "me"
        assert signature(recorder)

    def test_leave_the_signature_of_a_presigned_address_behind(self, before: Door, recorder: Recorder) -> None:
        url = before.client().generate_presigned_url(
            "get_object", {"Bucket": "bucket", "Key": "a", "ResponseContentType": "text/plain"}
        )
        before.send(before.app, "GET", url.partition("modelyard.test")[2], headers={"host": "modelyard.test"})
        assert recorder.path == "/bucket/a?response-content-type=text%2Fplain"
        assert signature(recorder)

    @pytest.mark.parametrize(("method", "length"), [("GET", None), ("DELETE", "0"), ("PUT", "0"), ("POST", "0")])
    def test_without_a_body_stay_so(self, before: Door, recorder: Recorder, method: str, length: str | None) -> None:
        path = "/bucket/a?uploads" if method == "POST" else "/bucket/a"
        before.send(before.app, method, path)
        assert (recorder.method, recorder.received.get("content-length")) == (method, length)
        assert "transfer-encoding" not in recorder.received
        assert signature(recorder)

    def test_keep_checksums_that_come_after_the_body(self, before: Door, recorder: Recorder) -> None:
        headers = {
            "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
            "x-amz-trailer": "x-amz-checksum-crc32",
            "x-amz-decoded-content-length": "9",
            "content-encoding": "aws-chunked",
        }
        body = (
            b"4;chunk-signature=a\r\n0123\r\n5;chunk-signature=b\r\n45678\r\n0;chunk-signature=c\r\n"
            b"x-amz-checksum-crc32:abcd==\r\nx-amz-trailer-signature:d\r\n\r\n"
        )
        before.send(before.app, "PUT", "/bucket/a", body, headers)
        assert recorder.content == b"9\r\n012345678\r\n0\r\nx-amz-checksum-crc32:abcd==\r\n\r\n"
        assert recorder.received["x-amz-content-sha256"] == "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
        assert recorder.received["x-amz-decoded-content-length"] == "9"
        assert signature(recorder)

    def test_that_are_not_served_do_not_pass(self, before: Door, recorder: Recorder) -> None:
        with pytest.raises(ClientError) as caught:
            before.client().put_bucket_policy(Bucket="bucket", Policy="{}")
        assert code(caught) == (400, "NotImplemented")
        assert recorder.method == ""

    @pytest.mark.parametrize("path", ["/../ours/a", "/bucket/../ours/a", "/%2e%2e/ours/a", "/bucket/%2e%2e/ours/a"])
    def test_that_could_lead_elsewhere_do_not_pass(self, before: Door, recorder: Recorder, path: str) -> None:
        status, _, body = before.send(before.app, "GET", path)
        assert (status, b"<Code>Invalid" in body) == (400, True)
        assert recorder.method == ""

    @pytest.mark.parametrize("source", ["%252Fours%252Fa", "arn:aws:s3:::ours/a", "bucket/../ours/a", "/%2e%2e/ours/a"])
    def test_that_could_copy_from_elsewhere_do_not_pass(self, before: Door, recorder: Recorder, source: str) -> None:
        status, _, body = before.send(before.app, "PUT", "/bucket/a", headers={"x-amz-copy-source": source})
        assert (status, b"<Code>Invalid" in body) == (400, True)
        assert recorder.method == ""

    def test_that_nobody_answers_may_be_repeated(
        self, tmp_path: Path, loop: Loop, client_for: Clients, send: Send
    ) -> None:
        door = Door("http://127.0.0.1:9", tmp_path, loop, client_for, send)
        with pytest.raises(ClientError, match="does not answer") as caught:
            door.client().list_objects_v2(Bucket="bucket")
        assert code(caught) == (503, "ServiceUnavailable")
        door.close()

import base64
import hashlib
import os
import resource
import signal
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.boto import Send
from tests.services.s3.conftest import Door, refusal, refused

MB = 1024 * 1024
FILM = {"Bucket": "films", "Key": "deep/film"}
AUTHORIZATION = {
    "authorization": "AWS4-HMAC-SHA256 Credential=111122223333/20260101/us-east-1/s3/aws4_request, "
    "SignedHeaders=host, Signature=0"
}


def encode(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


class TestPutAndGet:
    @pytest.mark.parametrize("size", [0, 5, 3 * MB + 1])
    def test_what_was_put_is_got(self, client: Any, door: Door, size: int) -> None:
        content = os.urandom(size)
        put = client.put_object(**FILM, Body=content)
        assert put["ETag"] == f'"{hashlib.md5(content).hexdigest()}"'
        got = client.get_object(**FILM)
        assert got["Body"].read() == content
        assert (got["ETag"], got["ContentLength"], got["AcceptRanges"]) == (put["ETag"], size, "bytes")
        assert got["ContentType"] == "binary/octet-stream"
        assert abs(got["LastModified"] - datetime.now(UTC)) < timedelta(minutes=1)
        assert (door.objects / "films" / "deep" / "film").read_bytes() == content

    def test_headers_and_metadata_are_kept(self, client: Any) -> None:
        headers = {
            "ContentType": "text/html; charset=utf-8",
            "CacheControl": "max-age=1",
            "ContentDisposition": 'attachment; filename="a b.html"',
            "ContentLanguage": "de, en",
            "ContentEncoding": "gzip",
        }
        metadata = {"by": "me", "with-hyphen": "a, b"}
        expires = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
        client.put_object(**FILM, Body=b"x", Metadata=metadata, Expires=expires, **headers)
        for answer in (client.get_object(**FILM), client.head_object(**FILM)):
            assert {name: answer[name] for name in headers} == headers
            assert answer["Metadata"] == metadata
            assert answer["ExpiresString"] == "Wed, 02 Jan 2030 03:04:05 GMT"
        overruled = client.get_object(**FILM, ResponseContentType="text/plain", ResponseCacheControl="no-store")
        assert (overruled["ContentType"], overruled["CacheControl"]) == ("text/plain", "no-store")

    def test_metadata_has_a_limit(self, client: Any) -> None:
        client.put_object(**FILM, Metadata={"a": "x" * 2047})
        assert refusal(client.put_object, **FILM, Metadata={"a": "x" * 2048}) == (400, "MetadataTooLarge")

    def test_a_file_by_hand_is_an_object(self, client: Any, door: Door) -> None:
        (door.objects / "films" / "by hand").write_bytes(b"content")
        got = client.get_object(Bucket="films", Key="by hand")
        assert got["Body"].read() == b"content"
        assert got["ETag"].endswith('-1"')

    def test_what_is_not_there(self, client: Any) -> None:
        assert refusal(client.get_object, **FILM) == (404, "NoSuchKey")
        assert refusal(client.head_object, **FILM) == (404, "404")
        nowhere = {"Bucket": "nothing", "Key": "a"}
        for call in (client.get_object, client.put_object):
            assert refusal(call, **nowhere) == (404, "NoSuchBucket")

    @pytest.mark.parametrize(
        ("key", "why"),
        [
            ("../../etc/passwd", "a folder holds no such name"),
            ("a//b", "a folder holds no such name"),
            ("a/./b", "a folder holds no such name"),
            ("x" * 256, "a folder holds no such name"),
            ("nul\0", "a folder holds no such name"),
            ("file/below", "is an object, and cannot be a folder too"),
            ("folder", "there is a folder of that name"),
            ("linked", "symbolic link"),
            ("linked/a", "symbolic link"),
            ("with bytes/", "holds no bytes"),
        ],
    )
    def test_keys_that_a_folder_cannot_hold(self, client: Any, door: Door, key: str, why: str) -> None:
        client.put_object(Bucket="films", Key="file", Body=b"")
        client.put_object(Bucket="films", Key="folder/a", Body=b"")
        (door.objects / "films" / "linked").symlink_to(door.objects)
        status, code, error = refused(client.put_object, Bucket="films", Key=key, Body=b"x")
        assert (status, code) == (400, "InvalidArgument")
        assert why in error["Message"]

    def test_a_key_that_is_too_long(self, client: Any) -> None:
        assert refusal(client.put_object, Bucket="films", Key="a/" * 513) == (400, "KeyTooLongError")

    def test_a_folder_of_its_own(self, client: Any) -> None:
        client.put_object(Bucket="films", Key="folder/")
        assert client.head_object(Bucket="films", Key="folder/")["ContentLength"] == 0
        client.delete_object(Bucket="films", Key="folder/")
        assert refusal(client.head_object, Bucket="films", Key="folder/")[0] == 404

    @pytest.mark.parametrize(
        "unserved",
        [{"Tagging": "a=b"}, {"ObjectLockMode": "GOVERNANCE"}, {"SSECustomerAlgorithm": "AES256"}],
    )
    def test_what_would_not_be_kept_is_refused(self, client: Any, unserved: dict[str, str]) -> None:
        assert refusal(client.put_object, **FILM, Body=b"", **unserved)[1] == "NotImplemented"

    def test_versions_there_are_none(self, client: Any) -> None:
        client.put_object(**FILM, Body=b"")
        client.get_object(**FILM, VersionId="null")
        assert refusal(client.get_object, **FILM, VersionId="other") == (404, "NoSuchVersion")
        assert "Status" not in client.get_bucket_versioning(Bucket="films")

    def test_more_than_one_put_may_have(self, client: Any, door: Door, send: Send) -> None:
        status, _, body = send(door.app, "PUT", "/films/a", b"", AUTHORIZATION | {"content-length": str(6 * 2**30)})
        assert (status, b"<Code>EntityTooLarge</Code>" in body) == (400, True)


class TestRanges:
    @pytest.fixture
    def film(self, client: Any) -> Any:
        client.put_object(**FILM, Body=b"0123456789")
        return client

    @pytest.mark.parametrize(
        ("range", "content", "answered"),
        [
            ("bytes=2-4", b"234", "bytes 2-4/10"),
            ("bytes=2-", b"23456789", "bytes 2-9/10"),
            ("bytes=0-0", b"0", "bytes 0-0/10"),
            ("bytes=9-100", b"9", "bytes 9-9/10"),
            ("bytes=-3", b"789", "bytes 7-9/10"),
            ("bytes=-30", b"0123456789", "bytes 0-9/10"),
        ],
    )
    def test_one_range(self, film: Any, range: str, content: bytes, answered: str) -> None:
        got = film.get_object(**FILM, Range=range)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert (got["Body"].read(), got["ContentRange"], got["ContentLength"]) == (content, answered, len(content))
        assert film.head_object(**FILM, Range=range)["ContentLength"] == len(content)

    @pytest.mark.parametrize("range", ["bytes=4-2", "bytes=a-b", "lines=1-2", "bytes=0-1,3-4", "bytes=-", "bytes="])
    def test_what_is_no_range_is_passed_over(self, film: Any, range: str) -> None:
        got = film.get_object(**FILM, Range=range)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 200
        assert got["Body"].read() == b"0123456789"

    @pytest.mark.parametrize("range", ["bytes=10-", "bytes=10-20", "bytes=-0"])
    def test_bytes_that_there_are_not(self, film: Any, range: str) -> None:
        status, code, error = refused(film.get_object, **FILM, Range=range)
        assert (status, code, error["ActualObjectSize"]) == (416, "InvalidRange", "10")
        assert refusal(film.head_object, **FILM, Range=range)[0] == 416

    def test_large_ranges_come_in_pieces(self, client: Any) -> None:
        content = os.urandom(5 * MB)
        client.put_object(**FILM, Body=content)
        assert client.get_object(**FILM, Range=f"bytes=17-{4 * MB}")["Body"].read() == content[17 : 4 * MB + 1]

    def test_the_only_part(self, film: Any) -> None:
        assert film.get_object(**FILM, PartNumber=1)["Body"].read() == b"0123456789"
        assert refusal(film.get_object, **FILM, PartNumber=2) == (416, "InvalidPartNumber")


class TestConditions:
    @pytest.fixture
    def film(self, client: Any) -> Any:
        client.put_object(**FILM, Body=b"content")
        return client

    def test_of_reading(self, film: Any) -> None:
        head = film.head_object(**FILM)
        etag, now = head["ETag"], head["LastModified"]
        before, after = now - timedelta(seconds=1), now + timedelta(seconds=1)
        for passing in (
            {"IfMatch": etag},
            {"IfMatch": etag.strip('"')},
            {"IfMatch": "*"},
            {"IfMatch": f'"other", {etag}'},
            {"IfNoneMatch": '"other"'},
            {"IfModifiedSince": before},
            {"IfUnmodifiedSince": now},
            {"IfMatch": etag, "IfUnmodifiedSince": before},
            {"IfNoneMatch": '"other"', "IfModifiedSince": after},
        ):
            assert film.get_object(**FILM, **passing)["ETag"] == etag
            assert film.head_object(**FILM, **passing)["ETag"] == etag
        for failing in ({"IfMatch": '"other"'}, {"IfUnmodifiedSince": before}):
            assert refusal(film.get_object, **FILM, **failing) == (412, "PreconditionFailed")
            assert refusal(film.head_object, **FILM, **failing) == (412, "412")
        for had in (
            {"IfNoneMatch": etag},
            {"IfNoneMatch": "*"},
            {"IfModifiedSince": now},
            {"IfNoneMatch": etag, "IfModifiedSince": before},
        ):
            assert refusal(film.get_object, **FILM, **had)[0] == 304
            assert refusal(film.head_object, **FILM, **had)[0] == 304

    def test_a_304_names_what_the_client_has(self, film: Any, door: Door, send: Send) -> None:
        etag = film.head_object(**FILM)["ETag"]
        status, headers, body = send(door.app, "GET", "/films/deep/film", b"", AUTHORIZATION | {"if-none-match": etag})
        assert (status, headers["etag"], body) == (304, etag, b"")

    def test_of_writing(self, film: Any) -> None:
        etag = film.head_object(**FILM)["ETag"]
        assert refusal(film.put_object, **FILM, Body=b"x", IfNoneMatch="*") == (412, "PreconditionFailed")
        assert refusal(film.put_object, **FILM, Body=b"x", IfMatch='"other"') == (412, "PreconditionFailed")
        assert refusal(film.put_object, Bucket="films", Key="new", IfMatch=etag) == (404, "NoSuchKey")
        film.put_object(**FILM, Body=b"x", IfMatch=etag)
        film.put_object(Bucket="films", Key="new", IfNoneMatch="*")
        assert film.get_object(**FILM)["Body"].read() == b"x"

    def test_of_deleting(self, film: Any) -> None:
        assert refusal(film.delete_object, **FILM, IfMatch='"other"') == (412, "PreconditionFailed")
        film.delete_object(**FILM, IfMatch=film.head_object(**FILM)["ETag"])
        assert refusal(film.head_object, **FILM)[0] == 404


class TestIntegrity:
    def test_of_the_checksum_that_boto3_sends(self, client: Any) -> None:
        put = client.put_object(**FILM, Body=b"content")
        assert put["ChecksumCRC32"] == encode(zlib.crc32(b"content").to_bytes(4, "big"))
        got = client.get_object(**FILM)
        assert got["ChecksumCRC32"] == put["ChecksumCRC32"]
        assert got["ChecksumType"] == "FULL_OBJECT"
        assert "ChecksumCRC32" not in client.get_object(**FILM, Range="bytes=0-1")

    @pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
    def test_each_algorithm_is_computed_here_and_there(self, client: Any, algorithm: str) -> None:
        put = client.put_object(**FILM, Body=b"content" * 1000, ChecksumAlgorithm=algorithm)
        got = client.get_object(**FILM, ChecksumMode="ENABLED")
        assert got["Body"].read() == b"content" * 1000
        assert got[f"Checksum{algorithm}"] == put[f"Checksum{algorithm}"]
        assert client.head_object(**FILM).get(f"Checksum{algorithm}") is None
        assert client.head_object(**FILM, ChecksumMode="ENABLED")[f"Checksum{algorithm}"]
        kept = client.get_object_attributes(**FILM, ObjectAttributes=["Checksum", "ETag", "ObjectSize"])
        assert kept["Checksum"][f"Checksum{algorithm}"] == put[f"Checksum{algorithm}"]
        assert (kept["ETag"], kept["ObjectSize"]) == (put["ETag"].strip('"'), 7000)

    @pytest.mark.parametrize(
        ("announced", "code"),
        [
            ({"ChecksumCRC32": "AAAAAA=="}, "BadDigest"),
            ({"ChecksumSHA256": encode(bytes(32))}, "BadDigest"),
            ({"ChecksumCRC32": "AAAA"}, "InvalidRequest"),
            ({"ChecksumCRC32": "not base64"}, "InvalidRequest"),
            ({"ContentMD5": encode(bytes(16))}, "BadDigest"),
            ({"ContentMD5": "AAAA"}, "InvalidDigest"),
            ({"ChecksumSHA1": encode(bytes(20)), "ChecksumSHA256": encode(bytes(32))}, "InvalidRequest"),
        ],
    )
    def test_what_is_not_as_announced_is_refused(self, client: Any, announced: dict[str, str], code: str) -> None:
        client.put_object(**FILM, Body=b"before")
        assert refusal(client.put_object, **FILM, Body=b"content", **announced) == (400, code)
        assert client.get_object(**FILM)["Body"].read() == b"before"

    def test_the_hash_that_was_signed(self, client: Any, door: Door, send: Send) -> None:
        right = {"x-amz-content-sha256": hashlib.sha256(b"content").hexdigest()}
        wrong = {"x-amz-content-sha256": hashlib.sha256(b"other").hexdigest()}
        assert send(door.app, "PUT", "/films/a", b"content", AUTHORIZATION | right)[0] == 200
        status, _, body = send(door.app, "PUT", "/films/b", b"content", AUTHORIZATION | wrong)
        assert (status, b"<Code>XAmzContentSHA256Mismatch</Code>" in body) == (400, True)
        assert refusal(client.head_object, Bucket="films", Key="b")[0] == 404

    @pytest.mark.parametrize(
        ("trailer", "status", "code"),
        [
            (encode(zlib.crc32(b"content").to_bytes(4, "big")), 200, b""),
            ("AAAAAA==", 400, b"BadDigest"),
            ("AAAA", 400, b"InvalidRequest"),
            (None, 400, b"MalformedTrailerError"),
        ],
    )
    def test_a_checksum_that_follows_the_body(
        self, client: Any, door: Door, send: Send, trailer: str | None, status: int, code: bytes
    ) -> None:
        last = b"" if trailer is None else f"x-amz-checksum-crc32:{trailer}\r\n".encode()
        body = b"3\r\ncon\r\n4\r\ntent\r\n0\r\n" + last + b"\r\n"
        headers = AUTHORIZATION | {
            "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            "content-encoding": "aws-chunked",
            "x-amz-trailer": "x-amz-checksum-crc32",
            "x-amz-decoded-content-length": "7",
            "content-length": str(len(body)),
        }
        answered, _, error = send(door.app, "PUT", "/films/a", body, headers)
        assert (answered, code in error) == (status, True)
        if status == 200:
            got = client.get_object(Bucket="films", Key="a")
            assert got["Body"].read() == b"content"
            assert got["ChecksumCRC32"] == trailer
            assert "ContentEncoding" not in got
        else:
            assert refusal(client.head_object, Bucket="films", Key="a")[0] == 404


class TestCopy:
    @pytest.fixture
    def film(self, client: Any) -> Any:
        client.put_object(**FILM, Body=b"content", ContentType="text/plain", Metadata={"by": "me"})
        return client

    def test_bytes_and_attributes(self, film: Any) -> None:
        film.create_bucket(Bucket="more-films")
        copy = film.copy_object(Bucket="more-films", Key="b", CopySource=FILM)["CopyObjectResult"]
        got = film.get_object(Bucket="more-films", Key="b")
        assert (got["Body"].read(), got["ContentType"], got["Metadata"]) == (b"content", "text/plain", {"by": "me"})
        assert copy["ETag"] == got["ETag"] == film.head_object(**FILM)["ETag"]
        assert copy["ChecksumCRC32"] == got["ChecksumCRC32"]

    def test_with_other_attributes_also_onto_itself(self, film: Any) -> None:
        assert refusal(film.copy_object, **FILM, CopySource=FILM) == (400, "InvalidRequest")
        film.copy_object(
            **FILM, CopySource=FILM, MetadataDirective="REPLACE", ContentType="text/x", Metadata={"a": "b"}
        )
        got = film.get_object(**FILM)
        assert (got["Body"].read(), got["ContentType"], got["Metadata"]) == (b"content", "text/x", {"a": "b"})

    def test_with_a_checksum_of_another_kind(self, film: Any) -> None:
        copy = film.copy_object(Bucket="films", Key="b", CopySource=FILM, ChecksumAlgorithm="SHA256")
        assert copy["CopyObjectResult"]["ChecksumSHA256"] == encode(hashlib.sha256(b"content").digest())

    def test_conditions_on_the_source(self, film: Any) -> None:
        head = film.head_object(**FILM)
        target = {"Bucket": "films", "Key": "b", "CopySource": FILM}
        for failing in (
            {"CopySourceIfMatch": '"other"'},
            {"CopySourceIfNoneMatch": head["ETag"]},
            {"CopySourceIfModifiedSince": head["LastModified"]},
            {"CopySourceIfUnmodifiedSince": head["LastModified"] - timedelta(seconds=1)},
        ):
            assert refusal(film.copy_object, **target, **failing) == (412, "PreconditionFailed")
        film.copy_object(**target, CopySourceIfMatch=head["ETag"])

    @pytest.mark.parametrize("source", ["films", "/", "arn:aws:s3:::films/a", "films/"])
    def test_a_source_that_is_none(self, client: Any, source: str) -> None:
        assert refusal(client.copy_object, Bucket="films", Key="b", CopySource=source) == (400, "InvalidArgument")

    def test_a_source_that_is_not_there(self, client: Any) -> None:
        assert refusal(client.copy_object, Bucket="films", Key="b", CopySource="films/a") == (404, "NoSuchKey")


class TestDelete:
    def test_it_may_be_repeated(self, client: Any, door: Door) -> None:
        client.put_object(**FILM, Body=b"")
        for _ in range(2):
            assert client.delete_object(**FILM)["ResponseMetadata"]["HTTPStatusCode"] == 204
        assert list((door.objects / "films").iterdir()) == []

    def test_many_at_once(self, client: Any) -> None:
        keys = [f"{number % 5}/{number}" for number in range(20)]
        for key in keys:
            client.put_object(Bucket="films", Key=key, Body=b"")
        wanted = [{"Key": key} for key in [*keys, "not there", "a//b"]]
        answer = client.delete_objects(Bucket="films", Delete={"Objects": wanted})
        assert [one["Key"] for one in answer["Deleted"]] == [*keys, "not there"]
        assert [(one["Key"], one["Code"]) for one in answer["Errors"]] == [("a//b", "InvalidArgument")]
        assert "Contents" not in client.list_objects_v2(Bucket="films")

    @pytest.mark.parametrize(
        ("name", "digest"),
        [("content-md5", b"0" * 16), ("x-amz-checksum-crc32", b"0000"), ("x-amz-checksum-sha256", b"0" * 32)],
    )
    def test_none_where_the_list_is_not_what_its_headers_say(
        self, client: Any, door: Door, send: Send, name: str, digest: bytes
    ) -> None:
        client.put_object(**FILM, Body=b"")
        body = f"<Delete><Object><Key>{FILM['Key']}</Key></Object></Delete>".encode()
        headers = {**AUTHORIZATION, name: encode(digest)}
        status, _, error = send(door.app, "POST", "/films?delete", body, headers)
        assert (status, b"<Code>BadDigest</Code>" in error) == (400, True)
        assert client.head_object(**FILM)["ContentLength"] == 0

    def test_quietly(self, client: Any) -> None:
        answer = client.delete_objects(Bucket="films", Delete={"Objects": [{"Key": "a"}], "Quiet": True})
        assert "Deleted" not in answer
        assert "Errors" not in answer

    def test_no_more_than_a_thousand(self, client: Any) -> None:
        wanted = {"Objects": [{"Key": str(number)} for number in range(1001)]}
        assert refusal(client.delete_objects, Bucket="films", Delete=wanted) == (400, "MalformedXML")


class TestFullDisk:
    @pytest.fixture
    def full(self) -> Iterator[None]:
        """No file may become larger than 2 MB; the system says so with a signal, which a server must ignore."""
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MB, limits[1]))
        yield
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, old)

    def test_is_said_and_leaves_nothing(self, client: Any, door: Door, full: None) -> None:
        client.put_object(**FILM, Body=b"before")
        status, code, error = refused(client.put_object, **FILM, Body=b"x" * 3 * MB)
        assert (status, code) == (507, "InsufficientStorage")
        assert "no room left" in error["Message"]
        assert client.get_object(**FILM)["Body"].read() == b"before"

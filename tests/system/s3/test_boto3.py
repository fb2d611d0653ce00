"""boto3, with all that it does when nobody says otherwise."""

import hashlib
import io
import os
import socket
import urllib.request
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from xml.etree import ElementTree

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from tests.conftest import wait_for
from tests.system.s3.conftest import REGION, Bucket, Door

pytestmark = [pytest.mark.system]

MB = 1024 * 1024
PARTS = TransferConfig(multipart_threshold=5 * MB, multipart_chunksize=5 * MB, max_concurrency=4)


@pytest.fixture
def s3(door: Door) -> Any:
    return door.client()


def code(caught: pytest.ExceptionInfo[ClientError]) -> tuple[int, str]:
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def refusal(url: str) -> tuple[int, str] | None:
    """The status and the code with which a GET is refused; None if it is not."""
    try:
        urllib.request.urlopen(url).close()
    except HTTPError as error:
        with error:
            return error.code, ElementTree.fromstring(error.read()).findtext("Code") or ""
    return None


class TestTransfers:
    def test_a_large_file_goes_in_parts_and_comes_back_whole(self, s3: Any, bucket: Bucket, tmp_path: Path) -> None:
        here, back = tmp_path / "here", tmp_path / "back"
        here.write_bytes(os.urandom(17 * MB + 1))
        s3.upload_file(str(here), bucket.name, "deep/er/large.bin", Config=PARTS)
        head = s3.head_object(Bucket=bucket.name, Key="deep/er/large.bin", ChecksumMode="ENABLED")
        assert head["ContentLength"] == here.stat().st_size
        assert head["ETag"].endswith('-4"')
        assert any(name.startswith("Checksum") for name in head)
        s3.download_file(bucket.name, "deep/er/large.bin", str(back), Config=PARTS)
        assert hashlib.sha256(back.read_bytes()).digest() == hashlib.sha256(here.read_bytes()).digest()

    def test_a_stream_of_unknown_length_is_uploaded(self, s3: Any, bucket: Bucket) -> None:
        class Stream(io.RawIOBase):
            left = 11 * MB

            def readable(self) -> bool:
                return True

            def read(self, size: int = -1) -> bytes:
                size = self.left if size < 0 else min(size, self.left)
                self.left -= size
                return b"x" * size

        s3.upload_fileobj(Stream(), bucket.name, "stream", Config=PARTS)
        back = io.BytesIO()
        s3.download_fileobj(bucket.name, "stream", back, Config=PARTS)
        assert back.getvalue() == b"x" * 11 * MB

    def test_metadata_and_types_go_along(self, s3: Any, bucket: Bucket, tmp_path: Path) -> None:
        file = tmp_path / "page.html"
        file.write_text("<p>")
        extra = {"ContentType": "text/html", "Metadata": {"by": "me"}, "CacheControl": "no-cache"}
        s3.upload_file(str(file), bucket.name, "page.html", ExtraArgs=extra)
        head = s3.head_object(Bucket=bucket.name, Key="page.html")
        assert {name: head[name] for name in extra} == extra

    @pytest.mark.parametrize("size", [1000, 11 * MB], ids=["one piece", "parts"])
    def test_a_copy_is_made_over_there(self, s3: Any, bucket: Bucket, size: int) -> None:
        content = os.urandom(size)
        s3.upload_fileobj(io.BytesIO(content), bucket.name, "a", Config=PARTS)
        s3.copy({"Bucket": bucket.name, "Key": "a"}, bucket.name, "b/c", Config=PARTS)
        assert bucket.get("b/c") == content

    @pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
    def test_checksums_are_kept_and_compared(self, s3: Any, bucket: Bucket, algorithm: str) -> None:
        put = s3.put_object(Bucket=bucket.name, Key="sum", Body=b"content", ChecksumAlgorithm=algorithm)
        got = s3.get_object(Bucket=bucket.name, Key="sum", ChecksumMode="ENABLED")
        assert got["Body"].read() == b"content"
        assert got[f"Checksum{algorithm}"] == put[f"Checksum{algorithm}"]

    def test_a_wrong_checksum_is_refused_and_leaves_nothing(self, s3: Any, bucket: Bucket) -> None:
        if bucket.door.passes:
            pytest.skip("moto, which keeps the objects then, compares no checksums")
        with pytest.raises(ClientError) as caught:
            s3.put_object(Bucket=bucket.name, Key="sum", Body=b"content", ChecksumCRC32="AAAAAA==")
        assert code(caught) == (400, "BadDigest")
        assert bucket.listed() == []

    def test_an_upload_that_is_given_up_leaves_nothing(self, s3: Any, bucket: Bucket) -> None:
        upload = s3.create_multipart_upload(Bucket=bucket.name, Key="never")["UploadId"]
        s3.upload_part(Bucket=bucket.name, Key="never", UploadId=upload, PartNumber=1, Body=b"x" * 5 * MB)
        assert [one["UploadId"] for one in s3.list_multipart_uploads(Bucket=bucket.name)["Uploads"]] == [upload]
        s3.abort_multipart_upload(Bucket=bucket.name, Key="never", UploadId=upload)
        assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket.name)
        assert bucket.listed() == []


class TestObjects:
    def test_a_range_and_a_condition(self, s3: Any, bucket: Bucket) -> None:
        bucket.put(a=b"0123456789")
        part = s3.get_object(Bucket=bucket.name, Key="a", Range="bytes=2-4")
        assert (part["Body"].read(), part["ContentRange"]) == (b"234", "bytes 2-4/10")
        with pytest.raises(ClientError) as caught:
            s3.get_object(Bucket=bucket.name, Key="a", IfNoneMatch=part["ETag"])
        assert code(caught)[0] == 304
        with pytest.raises(ClientError) as caught:
            s3.put_object(Bucket=bucket.name, Key="a", Body=b"", IfNoneMatch="*")
        assert code(caught) == (412, "PreconditionFailed")

    def test_pages_of_a_listing(self, s3: Any, bucket: Bucket) -> None:
        bucket.put(**{f"a__{number:02}": b"" for number in range(20)}, b__1=b"", c=b"")
        paginator = s3.get_paginator("list_objects_v2")
        pages = list(paginator.paginate(Bucket=bucket.name, PaginationConfig={"PageSize": 7}))
        assert [page["KeyCount"] for page in pages] == [7, 7, 7, 1]
        [top] = paginator.paginate(Bucket=bucket.name, Delimiter="/")
        assert [one["Prefix"] for one in top["CommonPrefixes"]] == ["a/", "b/"]
        assert [one["Key"] for one in top["Contents"]] == ["c"]

    def test_many_are_deleted_at_once(self, bucket: Bucket, door: Door) -> None:
        bucket.put(a=b"", b__c=b"", b__d=b"", e=b"")
        resource = boto3.resource(
            "s3", endpoint_url=door.url, region_name=REGION, aws_access_key_id="111122223333", aws_secret_access_key="s"
        )
        resource.Bucket(bucket.name).objects.filter(Prefix="b/").delete()
        assert bucket.listed() == ["a", "e"]

    @pytest.mark.parametrize("key", ["with space & + % ä €.txt", "semi;colon=eq,comma", "日本/語", "~tilde-_.!*'()"])
    def test_keys_of_all_kinds(self, s3: Any, bucket: Bucket, key: str) -> None:
        s3.put_object(Bucket=bucket.name, Key=key, Body=b"x")
        assert s3.get_object(Bucket=bucket.name, Key=key)["Body"].read() == b"x"
        assert bucket.listed() == [key]
        s3.copy_object(Bucket=bucket.name, Key="copy", CopySource={"Bucket": bucket.name, "Key": key})
        s3.delete_object(Bucket=bucket.name, Key=key)
        assert bucket.listed() == ["copy"]

    def test_what_is_not_there(self, s3: Any, bucket: Bucket) -> None:
        with pytest.raises(s3.exceptions.NoSuchKey):
            s3.get_object(Bucket=bucket.name, Key="missing")
        with pytest.raises(ClientError) as caught:
            s3.head_object(Bucket=bucket.name, Key="missing")
        assert code(caught) == (404, "404")
        with pytest.raises(s3.exceptions.NoSuchBucket):
            s3.list_objects_v2(Bucket="no-such-bucket-here")


class TestBuckets:
    def test_from_first_to_last(self, s3: Any, bucket: Bucket) -> None:
        assert bucket.name in [one["Name"] for one in s3.list_buckets()["Buckets"]]
        s3.head_bucket(Bucket=bucket.name)
        assert s3.get_bucket_location(Bucket=bucket.name).get("LocationConstraint") is None
        bucket.put(a=b"")
        with pytest.raises(ClientError) as caught:
            s3.delete_bucket(Bucket=bucket.name)
        assert code(caught) == (409, "BucketNotEmpty")
        s3.delete_object(Bucket=bucket.name, Key="a")
        s3.delete_bucket(Bucket=bucket.name)
        with pytest.raises(ClientError) as caught:
            s3.head_bucket(Bucket=bucket.name)
        assert code(caught) == (404, "404")

    def test_another_accounts_are_out_of_reach(self, door: Door, bucket: Bucket) -> None:
        bucket.put(a=b"secret")
        other = door.client(account="444455556666")
        mine = Bucket(door)
        other.create_bucket(Bucket=mine.name)
        source = {"Bucket": bucket.name, "Key": "a"}
        for refused in (
            lambda: other.get_object(**source),
            lambda: other.put_object(**source, Body=b""),
            lambda: other.delete_object(**source),
            lambda: other.list_objects_v2(Bucket=bucket.name),
            lambda: other.delete_bucket(Bucket=bucket.name),
            lambda: other.copy_object(Bucket=mine.name, Key="b", CopySource=source),
        ):
            with pytest.raises(ClientError) as caught:
                refused()
            assert code(caught) == (403, "AccessDenied")
        with pytest.raises(other.exceptions.BucketAlreadyExists):
            other.create_bucket(Bucket=bucket.name)
        assert bucket.name not in [one["Name"] for one in other.list_buckets()["Buckets"]]
        assert bucket.get("a") == b"secret"


class TestAddresses:
    def test_presigned_ones_work_without_credentials(self, s3: Any, bucket: Bucket) -> None:
        where = {"Bucket": bucket.name, "Key": "signed here"}
        address, plain = s3.generate_presigned_url("put_object", where), {"Content-Type": "text/plain"}
        put = urllib.request.Request(address, b"content", plain, method="PUT")
        assert urllib.request.urlopen(put).status == 200
        with urllib.request.urlopen(s3.generate_presigned_url("get_object", where)) as got:
            assert got.read() == b"content"

    def test_an_expired_one_is_refused(self, s3: Any, bucket: Bucket) -> None:
        bucket.put(a=b"")
        url = s3.generate_presigned_url("get_object", {"Bucket": bucket.name, "Key": "a"}, ExpiresIn=1)
        assert wait_for(lambda: refusal(url), seconds=10) == (403, "AccessDenied")

    def test_the_bucket_in_the_name_of_the_host(
        self, door: Door, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        resolve = socket.getaddrinfo

        def local(host: str, *rest: Any, **others: Any) -> Any:
            return resolve("127.0.0.1" if str(host).endswith("localhost") else host, *rest, **others)

        monkeypatch.setattr(socket, "getaddrinfo", local)
        there = Door(door.url.replace("127.0.0.1", "localhost"))
        client = there.client(s3={"addressing_style": "virtual"})
        client.put_object(Bucket=bucket.name, Key="a/b", Body=b"x")
        assert client.get_object(Bucket=bucket.name, Key="a/b")["Body"].read() == b"x"
        assert bucket.listed() == ["a/b"]

import base64
import hashlib
import os
import zlib
from typing import Any

import pytest
from awscrt import checksums
from tests.services.s3.conftest import Door, refusal, refused

MB = 1024 * 1024
FILM = {"Bucket": "films", "Key": "deep/film"}


@pytest.fixture(scope="module")
def content() -> list[bytes]:
    return [os.urandom(5 * MB), os.urandom(5 * MB), os.urandom(1000)]


def begin(client: Any, **options: Any) -> dict[str, Any]:
    return FILM | {"UploadId": client.create_multipart_upload(**FILM, **options)["UploadId"]}


def put(client: Any, upload: dict[str, Any], parts: list[bytes], **options: Any) -> list[dict[str, Any]]:
    """What is said of each part when the upload is completed."""
    sent = []
    for number, body in enumerate(parts, 1):
        answer = client.upload_part(**upload, PartNumber=number, Body=body, **options)
        sums = {name: value for name, value in answer.items() if name.startswith("Checksum")}
        sent.append({"PartNumber": number, "ETag": answer["ETag"], **sums})
    return sent


def complete(client: Any, upload: dict[str, Any], parts: list[dict[str, Any]], **options: Any) -> Any:
    return client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts}, **options)


class TestUpload:
    def test_from_first_to_last(self, client: Any, content: list[bytes]) -> None:
        upload = begin(client, ContentType="video/x", Metadata={"by": "me"})
        parts = put(client, upload, content)
        assert refusal(client.head_object, **FILM)[0] == 404
        done = complete(client, upload, parts)
        digests = b"".join(hashlib.md5(part).digest() for part in content)
        assert done["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-3"'
        assert done["Location"] == "http://modelyard.test/films/deep/film"
        got = client.get_object(**FILM)
        assert got["Body"].read() == b"".join(content)
        assert (got["ContentType"], got["Metadata"], got["ETag"]) == ("video/x", {"by": "me"}, done["ETag"])
        assert complete(client, upload, parts)["ETag"] == done["ETag"]

    def test_a_part_can_be_got_alone(self, client: Any, content: list[bytes]) -> None:
        upload = begin(client)
        complete(client, upload, put(client, upload, content))
        got = client.get_object(**FILM, PartNumber=3)
        assert got["Body"].read() == content[2]
        assert (got["PartsCount"], got["ContentRange"]) == (3, f"bytes {10 * MB}-{10 * MB + 999}/{10 * MB + 1000}")
        assert refusal(client.get_object, **FILM, PartNumber=4) == (416, "InvalidPartNumber")
        parts = client.get_object_attributes(**FILM, ObjectAttributes=["ObjectParts"])
        assert parts["ObjectParts"]["TotalPartsCount"] == 3

    def test_parts_are_copied_from_objects(self, client: Any, content: list[bytes]) -> None:
        client.put_object(Bucket="films", Key="source", Body=b"".join(content))
        upload = begin(client)
        parts = []
        for number, span in ((1, f"bytes=0-{5 * MB - 1}"), (2, f"bytes={10 * MB}-{10 * MB + 999}")):
            copied = client.upload_part_copy(
                **upload, PartNumber=number, CopySource="films/source", CopySourceRange=span
            )
            parts.append({"PartNumber": number, "ETag": copied["CopyPartResult"]["ETag"]})
        complete(client, upload, parts)
        assert client.get_object(**FILM)["Body"].read() == content[0] + content[2]
        upload = begin(client)
        for span in ("bytes=0-", f"bytes=0-{20 * MB}", "0-1"):
            arguments = {**upload, "PartNumber": 1, "CopySource": "films/source", "CopySourceRange": span}
            assert refusal(client.upload_part_copy, **arguments) == (400, "InvalidArgument")

    def test_conditions(self, client: Any) -> None:
        client.put_object(**FILM, Body=b"")
        upload = begin(client)
        parts = put(client, upload, [b"x"])
        wrong = (412, "PreconditionFailed")
        assert refusal(complete, client=client, upload=upload, parts=parts, IfNoneMatch="*") == wrong
        complete(client, upload, parts, IfMatch="*")


class TestChecksums:
    def test_of_the_parts_checksums(self, client: Any, content: list[bytes]) -> None:
        upload = begin(client, ChecksumAlgorithm="CRC32")
        done = complete(client, upload, put(client, upload, content))
        sums = b"".join(zlib.crc32(part).to_bytes(4, "big") for part in content)
        expected = base64.b64encode(zlib.crc32(sums).to_bytes(4, "big")).decode() + "-3"
        assert (done["ChecksumCRC32"], done["ChecksumType"]) == (expected, "COMPOSITE")
        got = client.get_object(**FILM, ChecksumMode="ENABLED")
        assert got["Body"].read() == b"".join(content)
        assert got["ChecksumCRC32"] == expected

    def test_of_the_whole(self, client: Any, content: list[bytes]) -> None:
        whole = base64.b64encode(checksums.crc64nvme(b"".join(content)).to_bytes(8, "big")).decode()
        upload = begin(client, ChecksumAlgorithm="CRC64NVME", ChecksumType="FULL_OBJECT")
        parts = put(client, upload, content, ChecksumAlgorithm="CRC64NVME")
        wrong = {"ChecksumCRC64NVME": base64.b64encode(bytes(8)).decode()}
        assert refusal(complete, client=client, upload=upload, parts=parts, **wrong) == (400, "BadDigest")
        done = complete(client, upload, parts, ChecksumCRC64NVME=whole)
        assert (done["ChecksumCRC64NVME"], done["ChecksumType"]) == (whole, "FULL_OBJECT")
        assert client.get_object(**FILM, ChecksumMode="ENABLED")["Body"].read() == b"".join(content)

    def test_kinds_that_do_not_fit(self, client: Any) -> None:
        for algorithm, kind in (("SHA256", "FULL_OBJECT"), ("CRC64NVME", "COMPOSITE")):
            options = {"ChecksumAlgorithm": algorithm, "ChecksumType": kind}
            assert refusal(client.create_multipart_upload, **FILM, **options) == (400, "InvalidRequest")

    def test_a_part_that_is_not_as_announced(self, client: Any) -> None:
        upload = begin(client)
        part = {**upload, "PartNumber": 1, "Body": b"x", "ChecksumCRC32": "AAAAAA=="}
        assert refusal(client.upload_part, **part) == (400, "BadDigest")
        assert "Parts" not in client.list_parts(**upload)


class TestRefusals:
    def test_of_lists_of_parts(self, client: Any, content: list[bytes]) -> None:
        upload = begin(client)
        first, second, _ = parts = put(client, upload, content)
        etag = {"ETag": '"00000000000000000000000000000000"'}
        for wrong, code in (
            ([first, second | etag], "InvalidPart"),
            ([first, {"PartNumber": 9, "ETag": first["ETag"]}], "InvalidPart"),
            ([first, second | {"ChecksumCRC32": first["ChecksumCRC32"]}], "InvalidPart"),
            ([second, first], "InvalidPartOrder"),
            ([], "MalformedXML"),
            ([{"PartNumber": 1}], "MalformedXML"),
        ):
            assert refusal(complete, client=client, upload=upload, parts=wrong) == (400, code)
        assert refusal(complete, client=client, upload=upload, parts=parts, MpuObjectSize=1) == (400, "InvalidRequest")
        complete(client, upload, parts, MpuObjectSize=10 * MB + 1000)

    def test_of_small_parts(self, client: Any) -> None:
        upload = begin(client)
        parts = put(client, upload, [b"x", b"y"])
        _, code, error = refused(complete, client=client, upload=upload, parts=parts)
        assert (code, error["PartNumber"], error["MinSizeAllowed"]) == ("EntityTooSmall", "1", str(5 * MB))

    @pytest.mark.parametrize("number", [0, -1, 10_001])
    def test_of_part_numbers(self, client: Any, number: int) -> None:
        upload = begin(client)
        assert refusal(client.upload_part, **upload, PartNumber=number, Body=b"") == (400, "InvalidArgument")

    def test_of_uploads_that_are_none(self, client: Any) -> None:
        for id in ("..", "0" * 32):
            upload = FILM | {"UploadId": id}
            assert refusal(client.list_parts, **upload) == (404, "NoSuchUpload")
            assert refusal(client.upload_part, **upload, PartNumber=1, Body=b"") == (404, "NoSuchUpload")
            assert refusal(client.abort_multipart_upload, **upload) == (404, "NoSuchUpload")
            part = [{"PartNumber": 1, "ETag": "a"}]
            assert refusal(complete, client=client, upload=upload, parts=part) == (404, "NoSuchUpload")


class TestLists:
    def test_of_parts(self, client: Any) -> None:
        upload = begin(client, ChecksumAlgorithm="SHA256")
        put(client, upload, [b"a", b"bb", b"ccc"], ChecksumAlgorithm="SHA256")
        page = client.list_parts(**upload, MaxParts=2)
        assert [(part["PartNumber"], part["Size"]) for part in page["Parts"]] == [(1, 1), (2, 2)]
        assert (page["IsTruncated"], page["NextPartNumberMarker"], page["ChecksumAlgorithm"]) == (True, 2, "SHA256")
        assert page["Parts"][0]["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(b"a").digest()).decode()
        pages = client.get_paginator("list_parts").paginate(**upload, PaginationConfig={"PageSize": 1})
        assert [part["PartNumber"] for page in pages for part in page["Parts"]] == [1, 2, 3]

    def test_of_uploads(self, client: Any) -> None:
        begun = [
            (key, client.create_multipart_upload(Bucket="films", Key=key)["UploadId"])
            for key in ("a/1", "a/1", "a/2", "b", "c&d")
        ]
        listed = client.list_multipart_uploads(Bucket="films")
        assert [(one["Key"], one["UploadId"]) for one in listed["Uploads"]] == begun
        pages = client.get_paginator("list_multipart_uploads").paginate(
            Bucket="films", PaginationConfig={"PageSize": 1}
        )
        assert [one["UploadId"] for page in pages for one in page["Uploads"]] == [id for _, id in begun]
        top = client.list_multipart_uploads(Bucket="films", Delimiter="/", MaxUploads=2)
        assert [one["Prefix"] for one in top["CommonPrefixes"]] == ["a/"]
        assert [one["Key"] for one in top["Uploads"]] == ["b"]
        assert [one["Key"] for one in client.list_multipart_uploads(Bucket="films", Prefix="a/2")["Uploads"]] == ["a/2"]

    def test_nothing_is_left_of_an_abort(self, client: Any, door: Door) -> None:
        upload = begin(client)
        put(client, upload, [b"x"])
        client.abort_multipart_upload(**upload)
        assert "Uploads" not in client.list_multipart_uploads(Bucket="films")
        assert list((door.objects.parent / "uploads").iterdir()) == []
        assert list((door.objects / "films").iterdir()) == []

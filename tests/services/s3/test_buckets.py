import time
from typing import Any

import pytest
from tests.boto import Clients
from tests.services.s3.conftest import Door, refusal


def names(client: Any, **options: Any) -> list[str]:
    return [bucket["Name"] for bucket in client.list_buckets(**options)["Buckets"]]


class TestCreate:
    def test_a_bucket_is_a_folder_and_the_callers(self, client: Any, door: Door) -> None:
        assert (door.objects / "films").is_dir()
        assert door.buckets.owner("films") == "111122223333"
        assert abs(client.list_buckets()["Buckets"][0]["CreationDate"].timestamp() - time.time()) < 60

    def test_again_is_the_same_in_the_first_region_only(self, client: Any, door: Door, client_for: Clients) -> None:
        client.create_bucket(Bucket="films")
        there = client_for(door.app, "s3", region="eu-west-1")
        place = {"LocationConstraint": "eu-west-1"}
        assert refusal(there.create_bucket, Bucket="films", CreateBucketConfiguration=place) == (
            409,
            "BucketAlreadyOwnedByYou",
        )

    def test_names_are_taken_for_all_accounts(self, client: Any, other: Any) -> None:
        assert refusal(other.create_bucket, Bucket="films") == (409, "BucketAlreadyExists")

    def test_a_bucket_that_a_job_will_make_is_taken_too(self, client: Any, other: Any, door: Door) -> None:
        client.create_bucket(Bucket="later")
        (door.objects / "later").rmdir()
        assert refusal(other.create_bucket, Bucket="later") == (409, "BucketAlreadyExists")
        client.create_bucket(Bucket="later")
        assert "later" in names(client)

    @pytest.mark.parametrize("name", ["UPPER", "a", "a..b", "under_score", "192.168.1.1", "xn--a1"])
    def test_names_that_no_bucket_has(self, other: Any, name: str) -> None:
        assert refusal(other.create_bucket, Bucket=name)[1] in ("InvalidBucketName", "InvalidArgument")


class TestRegions:
    @pytest.mark.parametrize(
        ("region", "constraint", "location"),
        [("us-east-1", None, None), ("us-east-1", "eu-west-1", "eu-west-1"), ("eu-west-1", "eu-west-1", "eu-west-1")],
    )
    def test_a_bucket_is_where_it_was_made(
        self, door: Door, client_for: Clients, region: str, constraint: str | None, location: str | None
    ) -> None:
        client = client_for(door.app, "s3", region=region)
        options = {"CreateBucketConfiguration": {"LocationConstraint": constraint}} if constraint else {}
        client.create_bucket(Bucket="films", **options)
        assert client.get_bucket_location(Bucket="films")["LocationConstraint"] == location
        assert client.head_bucket(Bucket="films")["BucketRegion"] == (location or "us-east-1")

    @pytest.mark.parametrize("constraint", [None, "us-west-2"])
    def test_a_region_makes_its_own_alone(self, door: Door, client_for: Clients, constraint: str | None) -> None:
        client = client_for(door.app, "s3", region="eu-west-1")
        options = {"CreateBucketConfiguration": {"LocationConstraint": constraint}} if constraint else {}
        wrong = (400, "IllegalLocationConstraintException")
        assert refusal(client.create_bucket, Bucket="films", **options) == wrong
        assert names(client) == []


class TestOwners:
    def test_another_account_reaches_nothing(self, client: Any, other: Any) -> None:
        client.put_object(Bucket="films", Key="a", Body=b"secret")
        upload = client.create_multipart_upload(Bucket="films", Key="a")["UploadId"]
        other.create_bucket(Bucket="theirs")
        here = {"Bucket": "films", "Key": "a"}
        source = {"CopySource": here}
        part = {"PartNumber": 1, "UploadId": upload}
        for call, arguments in (
            (other.get_object, here),
            (other.head_object, here),
            (other.put_object, here | {"Body": b""}),
            (other.delete_object, here),
            (other.get_object_attributes, here | {"ObjectAttributes": ["ETag"]}),
            (other.get_object_tagging, here),
            (other.copy_object, {"Bucket": "theirs", "Key": "b"} | source),
            (other.copy_object, {"Bucket": "films", "Key": "b", "CopySource": "theirs/a"}),
            (other.create_multipart_upload, here),
            (other.upload_part, here | part | {"Body": b""}),
            (other.upload_part_copy, here | part | source),
            (other.list_parts, here | {"UploadId": upload}),
            (other.abort_multipart_upload, here | {"UploadId": upload}),
            (other.complete_multipart_upload, here | {"UploadId": upload}),
            (other.delete_objects, {"Bucket": "films", "Delete": {"Objects": [{"Key": "a"}]}}),
            (other.list_objects, {"Bucket": "films"}),
            (other.list_objects_v2, {"Bucket": "films"}),
            (other.list_multipart_uploads, {"Bucket": "films"}),
            (other.get_bucket_location, {"Bucket": "films"}),
            (other.get_bucket_versioning, {"Bucket": "films"}),
            (other.head_bucket, {"Bucket": "films"}),
            (other.delete_bucket, {"Bucket": "films"}),
        ):
            status, code = refusal(call, **arguments)
            assert (status, code) in ((403, "AccessDenied"), (403, "403")), call
        assert client.get_object(**here)["Body"].read() == b"secret"
        assert names(other) == ["theirs"]

    def test_every_operation_is_in_that_list(self, door: Door) -> None:
        """So that no new one is forgotten there: two more are about no bucket of somebody else's."""
        operations = {name for service in door.app.services for name in service.handlers}
        assert len(operations - {"create_bucket", "list_buckets"}) == 21

    def test_a_folder_that_nobody_owns_is_shared(self, client: Any, other: Any, door: Door) -> None:
        (door.objects / "shared").mkdir()
        client.put_object(Bucket="shared", Key="a", Body=b"for all")
        assert other.get_object(Bucket="shared", Key="a")["Body"].read() == b"for all"
        assert "shared" in names(client)
        assert names(other) == ["shared"]
        other.create_bucket(Bucket="shared")
        assert door.buckets.owner("shared") is None

    def test_the_owner_can_be_expected(self, client: Any) -> None:
        client.put_object(Bucket="films", Key="a", Body=b"", ExpectedBucketOwner="111122223333")
        assert refusal(client.head_bucket, Bucket="films", ExpectedBucketOwner="444455556666")[0] == 403
        wrong = {"ExpectedSourceBucketOwner": "444455556666"}
        copy = {"Bucket": "films", "Key": "b", "CopySource": "films/a"}
        assert refusal(client.copy_object, **copy, **wrong) == (403, "AccessDenied")


class TestList:
    def test_pages_and_prefixes(self, client: Any) -> None:
        for name in ("films-2", "films-3", "music"):
            client.create_bucket(Bucket=name)
        assert names(client) == ["films", "films-2", "films-3", "music"]
        assert names(client, Prefix="films-") == ["films-2", "films-3"]
        pages = client.get_paginator("list_buckets").paginate(PaginationConfig={"PageSize": 3})
        assert [len(page["Buckets"]) for page in pages] == [3, 1]

    def test_what_is_no_bucket_is_not_listed(self, client: Any, door: Door) -> None:
        (door.objects / "file").write_text("")
        (door.objects / "Upper").mkdir()
        (door.objects / "linked").symlink_to(door.objects.parent)
        assert names(client) == ["films"]


class TestDelete:
    def test_an_empty_one_is_gone_and_its_name_is_free(self, client: Any, other: Any, door: Door) -> None:
        upload = client.create_multipart_upload(Bucket="films", Key="a")["UploadId"]
        client.delete_bucket(Bucket="films")
        assert not (door.objects / "films").exists()
        other.create_bucket(Bucket="films")
        assert "Uploads" not in other.list_multipart_uploads(Bucket="films")
        assert refusal(other.list_parts, Bucket="films", Key="a", UploadId=upload) == (404, "NoSuchUpload")

    def test_a_full_one_stays(self, client: Any) -> None:
        client.put_object(Bucket="films", Key="deep/a", Body=b"")
        assert refusal(client.delete_bucket, Bucket="films") == (409, "BucketNotEmpty")
        client.delete_object(Bucket="films", Key="deep/a")
        client.delete_bucket(Bucket="films")
        assert refusal(client.head_bucket, Bucket="films") == (404, "404")

    def test_one_that_a_job_will_write_to_stays(self, client: Any, door: Door) -> None:
        door.awaited.add("films")
        assert refusal(client.delete_bucket, Bucket="films") == (409, "OperationAborted")
        assert names(client) == ["films"]

    def test_one_that_is_not_there(self, client: Any) -> None:
        assert refusal(client.delete_bucket, Bucket="nothing") == (404, "NoSuchBucket")

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.boto import Send
from tests.services.s3.conftest import Door, refusal

KEYS = ["a.b", "a/1", "a/2/x", "a/2/y", "b", "c d+e&f", "c/€", "z\x01"]


@pytest.fixture
def films(client: Any) -> Any:
    for key in KEYS:
        client.put_object(Bucket="films", Key=key, Body=key.encode())
    return client


def keys(page: dict[str, Any]) -> list[str]:
    return [item["Key"] for item in page.get("Contents", [])]


def prefixes(page: dict[str, Any]) -> list[str]:
    return [item["Prefix"] for item in page.get("CommonPrefixes", [])]


class TestNewer:
    def test_all_in_order(self, films: Any) -> None:
        page = films.list_objects_v2(Bucket="films")
        assert keys(page) == sorted(KEYS, key=str.encode)
        assert (page["KeyCount"], page["MaxKeys"], page["IsTruncated"]) == (len(KEYS), 1000, False)
        assert (page["Name"], page["Prefix"]) == ("films", "")

    def test_an_item_is_the_object(self, films: Any) -> None:
        item = films.list_objects_v2(Bucket="films", Prefix="b")["Contents"][0]
        head = films.head_object(Bucket="films", Key="b")
        assert (item["ETag"], item["Size"]) == (head["ETag"], 1)
        assert item["LastModified"].replace(microsecond=0) == head["LastModified"]
        assert (item["StorageClass"], item["ChecksumAlgorithm"], item["ChecksumType"]) == (
            "STANDARD",
            ["CRC32"],
            "FULL_OBJECT",
        )
        assert "Owner" not in item
        with_owner = films.list_objects_v2(Bucket="films", Prefix="b", FetchOwner=True)["Contents"][0]
        assert with_owner["Owner"]["DisplayName"] == "111122223333"

    def test_the_time_is_not_before_that_of_the_file_that_was_sent(self, films: Any) -> None:
        """Else `aws s3 sync` would send it again."""
        written = datetime.now(UTC) - timedelta(milliseconds=20)  # a file's time lags by a tick of the kernel
        films.put_object(Bucket="films", Key="a.b", Body=b"")
        assert films.list_objects_v2(Bucket="films", Prefix="a.b")["Contents"][0]["LastModified"] >= written

    def test_prefix_and_delimiter(self, films: Any) -> None:
        page = films.list_objects_v2(Bucket="films", Delimiter="/")
        assert (keys(page), prefixes(page)) == (["a.b", "b", "c d+e&f", "z\x01"], ["a/", "c/"])
        assert page["KeyCount"] == 6
        page = films.list_objects_v2(Bucket="films", Prefix="a/", Delimiter="/")
        assert (keys(page), prefixes(page), page["Prefix"], page["Delimiter"]) == (["a/1"], ["a/2/"], "a/", "/")

    @pytest.mark.parametrize("delimiter", ["", "/"])
    def test_pages(self, films: Any, delimiter: str) -> None:
        options = {"Bucket": "films", "Delimiter": delimiter} if delimiter else {"Bucket": "films"}
        whole = films.list_objects_v2(**options)
        pages = list(films.get_paginator("list_objects_v2").paginate(**options, PaginationConfig={"PageSize": 2}))
        assert [key for page in pages for key in keys(page)] == keys(whole)
        assert [prefix for page in pages for prefix in prefixes(page)] == prefixes(whole)
        assert all(page["KeyCount"] == 2 for page in pages[:-1])

    def test_after_a_key(self, films: Any) -> None:
        page = films.list_objects_v2(Bucket="films", StartAfter="a/2/x")
        assert (keys(page)[0], page["StartAfter"]) == ("a/2/y", "a/2/x")

    @pytest.mark.parametrize("token", ["not base64!", "", "/w=="])
    def test_a_token_of_nobody(self, films: Any, token: str) -> None:
        if token:
            wrong = (400, "InvalidArgument")
            assert refusal(films.list_objects_v2, Bucket="films", ContinuationToken=token) == wrong

    def test_limits(self, films: Any) -> None:
        assert films.list_objects_v2(Bucket="films", MaxKeys=5000)["MaxKeys"] == 1000
        empty = films.list_objects_v2(Bucket="films", MaxKeys=0)
        assert (empty["KeyCount"], empty["IsTruncated"]) == (0, False)
        assert refusal(films.list_objects_v2, Bucket="films", MaxKeys=-1) == (400, "InvalidArgument")

    def test_as_text_where_nobody_asks_for_an_encoding(self, films: Any, door: Door, send: Send) -> None:
        authorization = {"authorization": "AWS4-HMAC-SHA256 Credential=111122223333/20260101/us-east-1/s3/aws4_request"}
        _, _, body = send(door.app, "GET", "/films?list-type=2&prefix=c", b"", authorization)
        assert "<Key>c d+e&amp;f</Key>" in body.decode()
        assert "<Key>c/€</Key>" in body.decode()


class TestOlder:
    def test_all_with_owners(self, films: Any) -> None:
        page = films.list_objects(Bucket="films")
        assert keys(page) == sorted(KEYS, key=str.encode)
        assert {item["Owner"]["DisplayName"] for item in page["Contents"]} == {"111122223333"}
        assert page["Marker"] == ""

    def test_pages_with_a_delimiter_name_the_next(self, films: Any) -> None:
        page = films.list_objects(Bucket="films", Delimiter="/", MaxKeys=2)
        assert (keys(page), prefixes(page), page["NextMarker"]) == (["a.b"], ["a/"], "a/")
        page = films.list_objects(Bucket="films", Delimiter="/", MaxKeys=2, Marker=page["NextMarker"])
        assert keys(page) == ["b", "c d+e&f"]

    def test_pages_without_one_go_on_by_key(self, films: Any) -> None:
        pages = list(films.get_paginator("list_objects").paginate(Bucket="films", PaginationConfig={"PageSize": 3}))
        assert [key for page in pages for key in keys(page)] == sorted(KEYS, key=str.encode)


@pytest.mark.parametrize("method", ["list_objects", "list_objects_v2"])
def test_no_such_bucket(client: Any, method: str) -> None:
    assert refusal(getattr(client, method), Bucket="nothing") == (404, "NoSuchBucket")

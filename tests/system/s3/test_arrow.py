"""PyArrow and obstore, which bring S3 clients of their own (AWS's for C++, and one in Rust)."""

from typing import Any

import obstore
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from obstore.exceptions import AlreadyExistsError, NotFoundError
from obstore.store import S3Store
from pyarrow.fs import FileSelector, FileType, S3FileSystem

from tests.system.s3.conftest import ACCOUNT, REGION, Bucket, Door

pytestmark = [pytest.mark.system]

TABLE = pa.table({"name": ["a", "b", "c", "d"], "number": [1, 2, 3, 4], "part": ["x", "y", "x", "y"]})


@pytest.fixture
def filesystem(door: Door) -> S3FileSystem:
    return S3FileSystem(
        endpoint_override=door.address, scheme="http", access_key=ACCOUNT, secret_key="secret", region=REGION
    )


@pytest.fixture
def store(door: Door, bucket: Bucket) -> Any:
    return S3Store(
        bucket.name,
        endpoint=door.url,
        access_key_id=ACCOUNT,
        secret_access_key="secret",
        region=REGION,
        client_options={"allow_http": True},
    )


class TestPyArrow:
    def test_a_table_is_written_and_read(self, filesystem: S3FileSystem, bucket: Bucket) -> None:
        pq.write_table(TABLE, f"{bucket}/tables/one.parquet", filesystem=filesystem)
        assert pq.read_table(f"{bucket}/tables/one.parquet", filesystem=filesystem, columns=["number"]) == (
            TABLE.select(["number"])
        )

    def test_a_partitioned_data_set(self, filesystem: S3FileSystem, bucket: Bucket) -> None:
        partitioning = ds.partitioning(pa.schema([("part", pa.string())]), flavor="hive")
        base = f"{bucket}/set"
        ds.write_dataset(TABLE, base, format="parquet", partitioning=partitioning, filesystem=filesystem)
        assert [key for key in bucket.listed() if key.endswith(".parquet")] == [
            "set/part=x/part-0.parquet",
            "set/part=y/part-0.parquet",
        ]
        found = ds.dataset(base, format="parquet", partitioning=partitioning, filesystem=filesystem)
        assert found.to_table(filter=ds.field("part") == "y")["number"].to_pylist() == [2, 4]

    def test_folders_are_made_listed_and_deleted(self, filesystem: S3FileSystem, bucket: Bucket) -> None:
        filesystem.create_dir(f"{bucket}/made/deep")
        with filesystem.open_output_stream(f"{bucket}/made/deep/file") as file:
            file.write(b"0123456789")
        found = filesystem.get_file_info(FileSelector(f"{bucket}/made", recursive=True))
        assert sorted((one.base_name, one.type) for one in found) == [
            ("deep", FileType.Directory),
            ("file", FileType.File),
        ]
        with filesystem.open_input_file(f"{bucket}/made/deep/file") as file:
            file.seek(4)
            assert file.read(3) == b"456"
        filesystem.move(f"{bucket}/made/deep/file", f"{bucket}/made/other")
        filesystem.delete_dir(f"{bucket}/made/deep")
        assert [info.type for info in filesystem.get_file_info([f"{bucket}/made/deep", f"{bucket}/made/other"])] == [
            FileType.NotFound,
            FileType.File,
        ]

    def test_a_large_file_is_written_in_parts(self, filesystem: S3FileSystem, bucket: Bucket) -> None:
        with filesystem.open_output_stream(f"{bucket}/large") as file:
            for _ in range(24):
                file.write(b"x" * 1024 * 1024)
        assert filesystem.get_file_info(f"{bucket}/large").size == 24 * 1024 * 1024


class TestObstore:
    def test_objects_are_put_read_and_listed(self, store: S3Store, bucket: Bucket) -> None:
        obstore.put(store, "a/b", b"0123456789")
        obstore.put(store, "a/c", b"", attributes={"Content-Type": "text/plain", "by": "me"})
        assert bytes(obstore.get(store, "a/b").bytes()) == b"0123456789"
        assert bytes(obstore.get_range(store, "a/b", start=2, end=5)) == b"234"
        pieces = obstore.get_ranges(store, "a/b", starts=[0, 8], ends=[1, 10])
        assert [bytes(piece) for piece in pieces] == [b"0", b"89"]
        assert dict(obstore.get(store, "a/c").attributes)["Content-Type"] == "text/plain"
        assert [one["path"] for one in obstore.list(store).collect()] == ["a/b", "a/c"]
        top = obstore.list_with_delimiter(store)
        assert (list(top["common_prefixes"]), list(top["objects"])) == (["a"], [])

    def test_an_upload_in_parts(self, store: S3Store, bucket: Bucket) -> None:
        obstore.put(store, "large", [b"x" * 1024 * 1024] * 12, use_multipart=True, chunk_size=5 * 1024 * 1024)
        assert obstore.head(store, "large")["size"] == 12 * 1024 * 1024

    def test_what_is_there_is_not_overwritten_unless_it_is_what_was_seen(self, store: S3Store) -> None:
        first = obstore.put(store, "once", b"1", mode="create")
        with pytest.raises(AlreadyExistsError):
            obstore.put(store, "once", b"2", mode="create")
        second = obstore.put(store, "once", b"2", mode={"e_tag": first["e_tag"]})
        assert second["e_tag"] != first["e_tag"]

    def test_copies_and_deletions(self, store: S3Store) -> None:
        obstore.put(store, "a", b"1")
        obstore.copy(store, "a", "b")
        obstore.rename(store, "b", "c")
        obstore.delete(store, ["a", "c"])
        with pytest.raises((NotFoundError, FileNotFoundError)):
            obstore.head(store, "c")
        assert list(obstore.list(store).collect()) == []

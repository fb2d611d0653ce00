"""What every storage does, and what is special to one that an S3 service keeps."""

import asyncio
import json
from pathlib import Path
from typing import Any

import obstore
import pytest
from tests import moto as service
from tests.moto import moto  # noqa: F401 (fixture)

from modelyard.storage.base import Kind, Storage
from modelyard.storage.endpoint import BadEndpoint, S3Endpoint
from modelyard.storage.folders import Folders
from modelyard.storage.names import ObjectError
from modelyard.storage.remote import MARKER, Remote

pytestmark = [pytest.mark.system]


class Objects:
    """A storage, outside of any event loop, and what its user sees in it."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def kind(self, uri: str) -> Kind | None:
        return asyncio.run(self._storage.kind(uri))

    def buckets(self) -> list[str]:
        return asyncio.run(self._storage.buckets())

    def fetch(self, uri: str, into: Path) -> Path:
        return asyncio.run(self._storage.fetch(uri, into))

    def publish(self, source: Path, uri: str) -> None:
        asyncio.run(self._storage.publish(source, uri))

    def remove(self, uri: str) -> None:
        asyncio.run(self._storage.remove(uri))

    def make(self, bucket: str) -> None:
        raise NotImplementedError

    def put(self, **objects: bytes) -> None:
        """Puts objects into the bucket `bucket`; in keys `__` stands for a slash."""
        raise NotImplementedError

    def found(self) -> list[str]:
        """All keys of the bucket `bucket`."""
        raise NotImplementedError


class InFolders(Objects):
    """Of `Folders`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(Folders(folder))
        self._folder = folder

    def make(self, bucket: str) -> None:
        (self._folder / bucket).mkdir()

    def put(self, **objects: bytes) -> None:
        for key, body in objects.items():
            path = self._folder / "bucket" / key.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)

    def found(self) -> list[str]:
        paths = (self._folder / "bucket").rglob("*")
        return sorted(str(path.relative_to(self._folder / "bucket")) for path in paths if path.is_file())


class InService(Objects):
    """Of `Remote`."""

    def __init__(self, url: str) -> None:
        self.client = service.client(url)
        for bucket in self.client.list_buckets()["Buckets"]:
            for item in self.client.list_objects_v2(Bucket=bucket["Name"]).get("Contents", []):
                self.client.delete_object(Bucket=bucket["Name"], Key=item["Key"])
            self.client.delete_bucket(Bucket=bucket["Name"])
        super().__init__(Remote(S3Endpoint.at(url)))

    def make(self, bucket: str) -> None:
        self.client.create_bucket(Bucket=bucket)

    def put(self, **objects: bytes) -> None:
        for key, body in objects.items():
            self.client.put_object(Bucket="bucket", Key=key.replace("__", "/"), Body=body)

    def found(self) -> list[str]:
        return [item["Key"] for item in self.client.list_objects_v2(Bucket="bucket").get("Contents", [])]


@pytest.fixture
def in_service(moto: str, monkeypatch: pytest.MonkeyPatch) -> InService:  # noqa: F811
    for name, value in service.KEYS.items():
        monkeypatch.setenv(name, value)
    return InService(moto)


@pytest.fixture(params=["folders", "service"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    if request.param == "service":
        found: Objects = request.getfixturevalue("in_service")
    else:
        (tmp_path / "objects").mkdir()
        found = InFolders(tmp_path / "objects")
    found.make("bucket")
    return found


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """What a task wrote."""
    folder = tmp_path / "output"
    (folder / "deep").mkdir(parents=True)
    (folder / "one.txt").write_text("1")
    (folder / "deep" / "two.bin").write_bytes(b"2" * 1000)
    return folder


class TestStorage:
    def test_kinds(self, objects: Objects) -> None:
        objects.put(a__b=b"1", c=b"2", ab=b"3")
        kinds = {uri: objects.kind(uri) for uri in ("s3://bucket", "s3://bucket/a", "s3://bucket/a/")}
        assert set(kinds.values()) == {Kind.FOLDER}
        assert objects.kind("s3://bucket/a/b") is Kind.FILE
        assert objects.kind("s3://bucket/nothing") is None
        assert objects.kind("s3://bucket/a/b/c") is None

    def test_buckets(self, objects: Objects) -> None:
        objects.make("another")
        assert objects.buckets() == ["another", "bucket"]

    def test_what_is_fetched_can_be_read_under_its_own_name(self, objects: Objects, tmp_path: Path) -> None:
        objects.put(data__nodes__a=b"1", data__b=b"22", data2=b"3")
        folder = objects.fetch("s3://bucket/data/", tmp_path / "into" / "export")
        assert folder.name == "data"
        assert (folder / "nodes" / "a").read_bytes() == b"1"
        assert (folder / "b").read_bytes() == b"22"
        file = objects.fetch("s3://bucket/data2", tmp_path / "into" / "file")
        assert (file.name, file.read_bytes()) == ("data2", b"3")
        assert objects.fetch("s3://bucket", tmp_path / "into" / "all").is_dir()

    def test_nothing_cannot_be_fetched(self, objects: Objects, tmp_path: Path) -> None:
        with pytest.raises(ObjectError, match="s3://bucket/nothing: there is nothing"):
            objects.fetch("s3://bucket/nothing", tmp_path / "into")

    def test_output_is_moved_and_may_be_moved_again(self, objects: Objects, output: Path) -> None:
        objects.publish(output, "s3://bucket/out/run")
        assert [key for key in objects.found() if MARKER not in key] == ["out/run/deep/two.bin", "out/run/one.txt"]
        assert not output.exists()
        objects.publish(output, "s3://bucket/out/run")

    def test_what_was_never_written_is_no_output(self, objects: Objects, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            objects.publish(tmp_path / "output", "s3://bucket/out/run")

    def test_a_folder_is_removed_and_may_be_removed_again(self, objects: Objects, output: Path) -> None:
        objects.put(out__other=b"")
        objects.publish(output, "s3://bucket/out/run")
        objects.remove("s3://bucket/out/run")
        objects.remove("s3://bucket/out/run")
        assert objects.found() == ["out/other"]

    @pytest.mark.parametrize("uri", ["bucket/key", "s3://b", "s3://bucket/../x", "s3://bucket//x", "https://bucket/x"])
    def test_what_is_no_place_is_refused(self, objects: Objects, uri: str) -> None:
        with pytest.raises(ObjectError):
            objects.kind(uri)


class TestRemote:
    @pytest.fixture
    def remote(self, in_service: InService) -> InService:
        in_service.make("bucket")
        return in_service

    def test_the_marker_comes_last_and_names_the_files(self, remote: InService, output: Path) -> None:
        remote.publish(output, "s3://bucket/out")
        body = remote.client.get_object(Bucket="bucket", Key=f"out/{MARKER}")["Body"].read()
        assert json.loads(body) == {"files": {"deep/two.bin": 1000, "one.txt": 1}}
        found = remote.client.list_objects_v2(Bucket="bucket")["Contents"]
        assert max(found, key=lambda item: item["LastModified"])["Key"] == f"out/{MARKER}"

    def test_an_upload_that_was_cut_off_is_done_again(
        self, remote: InService, output: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def cut(store: Any, key: str, body: Any, **options: Any) -> Any:
            if key.endswith("one.txt"):
                raise ConnectionError("the server was killed here")
            return await put(store, key, body, **options)

        put = obstore.put_async
        monkeypatch.setattr(obstore, "put_async", cut)
        with pytest.raises(ConnectionError):
            remote.publish(output, "s3://bucket/out")
        assert remote.found() == ["out/deep/two.bin"]
        monkeypatch.setattr(obstore, "put_async", put)
        remote.publish(output, "s3://bucket/out")
        assert remote.found() == [f"out/{MARKER}", "out/deep/two.bin", "out/one.txt"]

    def test_a_large_file_goes_and_comes_in_parts(self, remote: InService, tmp_path: Path) -> None:
        (tmp_path / "output").mkdir()
        with (tmp_path / "output" / "large").open("wb") as file:
            file.truncate(40 * 1024 * 1024)
        remote.publish(tmp_path / "output", "s3://bucket/out")
        assert remote.client.head_object(Bucket="bucket", Key="out/large")["ETag"].endswith('-3"')
        fetched = remote.fetch("s3://bucket/out", tmp_path / "into")
        assert (fetched / "large").stat().st_size == 40 * 1024 * 1024

    def test_what_was_fetched_is_not_fetched_again_and_half_of_it_is(self, remote: InService, tmp_path: Path) -> None:
        remote.put(data__a=b"1")
        (tmp_path / "into" / ".data.half").mkdir(parents=True)
        (tmp_path / "into" / ".data.half" / "stale").touch()
        fetched = remote.fetch("s3://bucket/data", tmp_path / "into")
        assert [path.name for path in fetched.iterdir()] == ["a"]
        remote.put(data__b=b"2")
        assert [path.name for path in remote.fetch("s3://bucket/data", tmp_path / "into").iterdir()] == ["a"]

    def test_markers_of_folders_are_no_files(self, remote: InService, tmp_path: Path) -> None:
        remote.client.put_object(Bucket="bucket", Key="data/")
        remote.client.put_object(Bucket="bucket", Key="data/deep/")
        remote.put(data__deep__a=b"1")
        fetched = remote.fetch("s3://bucket/data", tmp_path / "into")
        assert [str(path.relative_to(fetched)) for path in fetched.rglob("*")] == ["deep", "deep/a"]

    @pytest.mark.parametrize("key", ["data/a//b", "data/../x", "data/" + "x" * 300])
    def test_keys_that_no_folder_holds_are_named(self, remote: InService, tmp_path: Path, key: str) -> None:
        remote.client.put_object(Bucket="bucket", Key=key, Body=b"1")
        with pytest.raises(ObjectError, match="folder"):
            remote.fetch("s3://bucket/data", tmp_path / "into")

    def test_an_object_that_is_a_folder_too_is_named(self, remote: InService, tmp_path: Path) -> None:
        remote.put(data__a=b"1", data__a__b=b"2")
        with pytest.raises(ObjectError, match="a is an object, and a folder"):
            remote.fetch("s3://bucket/data", tmp_path / "into")

    def test_a_bucket_that_is_not_there_is_named(self, remote: InService) -> None:
        with pytest.raises(ObjectError, match="no such bucket at http"):
            remote.kind("s3://missing/a")


class TestEndpoint:
    @pytest.mark.parametrize("url", ["localhost:9000", "ftp://host", "http://", "http://host/path"])
    def test_an_address_that_is_none_is_refused(self, url: str) -> None:
        with pytest.raises(BadEndpoint, match="not of the form"):
            S3Endpoint.at(url)

    def test_without_credentials_there_is_no_way_in(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        with pytest.raises(BadEndpoint, match="AWS_ACCESS_KEY_ID"):
            S3Endpoint.at("http://localhost:9000")

import asyncio
from pathlib import Path

import pytest

from modelyard.storage.folders import Folders
from modelyard.storage.names import ObjectError
from modelyard.storage.places import Places


@pytest.fixture
def places(data: Path) -> Places:
    (data / "models").mkdir()
    return Places(Folders(data / "objects"), data)


class TestPlaces:
    def test_of_the_service_lie_outside_the_buckets(self, places: Places, data: Path) -> None:
        assert places.folder("modelyard://models/custom/a") == data / "models" / "custom" / "a"
        (data / "objects" / "bucket").mkdir()
        assert asyncio.run(places.fetch("s3://bucket", data / "copy")) == data / "objects" / "bucket"
        assert asyncio.run(places.kind("modelyard://models")) == asyncio.run(places.kind("s3://bucket"))

    def test_come_and_go_whole(self, places: Places, data: Path) -> None:
        output = data / "output"
        output.mkdir()
        (output / "weights").write_text("1")
        for _ in range(2):
            asyncio.run(places.publish(output, "modelyard://models/custom/a"))
        assert (data / "models" / "custom" / "a" / "weights").read_text() == "1"
        for _ in range(2):
            asyncio.run(places.remove("modelyard://models/custom/a"))
        assert list((data / "models" / "custom").iterdir()) == []

    @pytest.mark.parametrize("uri", ["modelyard://models/../keys.json", "modelyard:///etc", "file:///etc/passwd"])
    def test_lead_nowhere_else(self, places: Places, uri: str) -> None:
        with pytest.raises(ObjectError):
            places.folder(uri)

    def test_of_the_service_cannot_be_named_by_users(self, data: Path) -> None:
        with pytest.raises(ObjectError, match="s3://bucket/key"):
            Folders(data / "objects").path("modelyard://models/custom/a")

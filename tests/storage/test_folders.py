import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.storage.stores import Store

from modelyard.storage.folders import Folders


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.close()


def test_what_is_published_and_what_is_put_and_deleted_beside_it_do_not_meet(store: Store, tmp_path: Path) -> None:
    folders = Folders(store.folder.parent)
    stop = threading.Event()

    def put_and_delete() -> None:
        while not stop.is_set():
            store.put("out/deep/a")
            store.delete("out/deep/a")

    user = threading.Thread(target=put_and_delete)
    user.start()
    try:
        for number in range(150):
            source = tmp_path / "source"
            source.mkdir()
            (source / "file").write_text(str(number))
            asyncio.run(folders.publish(source, "s3://films/out/deep/job"))
            assert store.get("out/deep/job/file") == str(number).encode()
            asyncio.run(folders.remove("s3://films/out/deep/job"))
    finally:
        stop.set()
        user.join()


def test_what_is_deleted_leaves_the_bucket_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = Folders(store.folder.parent, store.uploads)
    store.put("out/job/file")
    monkeypatch.setattr("shutil.rmtree", lambda path, ignore_errors: None)  # killed before anything is deleted
    asyncio.run(folders.remove("s3://films/out/job"))
    assert list(store.folder.rglob("*")) == [store.folder / "out"]
    [left] = store.uploads.iterdir()
    assert (left / "file").exists()
    monkeypatch.undo()
    Folders(store.folder.parent, store.uploads)
    assert store.drafts() == []

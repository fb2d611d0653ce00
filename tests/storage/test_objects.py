import asyncio
import base64
import hashlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from tests.storage.stores import Store, arriving, describe_plainly

from modelyard.storage.attributes import Attributes, Object, TooManyAttributes
from modelyard.storage.names import KeyTooLong, ObjectError
from modelyard.storage.objects import Place
from modelyard.storage.tree import KeyTaken, Linked, NoSuchBucket, NoSuchKey, NotEmpty

MB = 1024 * 1024


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.close()


class TestPut:
    def test_an_object_is_a_plain_file(self, store: Store) -> None:
        made = store.put("deep/er/a.txt", b"content")
        assert (store.folder / "deep" / "er" / "a.txt").read_bytes() == b"content"
        assert made == store.find("deep/er/a.txt")
        assert made.etag == hashlib.md5(b"content").hexdigest()
        assert store.drafts() == []

    @pytest.mark.parametrize("size", [0, 1, MB, MB + 1, 5 * MB + 17])
    def test_bodies_of_all_sizes_come_back(self, store: Store, size: int) -> None:
        content = os.urandom(size)
        made = store.put("a", content, pieces=37)
        assert (made.size, made.etag) == (size, hashlib.md5(content).hexdigest())
        assert store.get("a") == content
        assert store.get("a", size // 3, size // 2) == content[size // 3 : size // 2]

    def test_attributes_come_back(self, store: Store) -> None:
        headers = {"ContentType": "text/html; charset=utf-8", "CacheControl": "no-cache"}
        metadata = {"by": "mé", "for": "", "path": 'C:\\new\\"x"\ty/z'}
        store.put("a", describe=lambda digests: Attributes(digests["MD5"], headers=headers, metadata=metadata))
        kept = store.find("a").attributes
        assert (kept.headers, kept.metadata) == (headers, metadata)

    def test_checksums_are_those_of_the_bytes(self, store: Store) -> None:
        content = os.urandom(3 * MB)
        algorithms = ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256", "SHA512", "XXHASH64", "XXHASH3", "XXHASH128")
        sums = store.put("a", content, pieces=11, algorithms=algorithms).attributes.checksums
        assert sums["CRC32"] == base64.b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()
        assert sums["SHA256"] == base64.b64encode(hashlib.sha256(content).digest()).decode()
        nine = store.put("b", b"123456789", algorithms=algorithms).attributes.checksums
        assert base64.b64decode(nine["CRC32C"]).hex() == "e3069283"
        assert base64.b64decode(nine["CRC64NVME"]).hex() == "ae8b14860a799888"

    def test_a_second_put_replaces_whole(self, store: Store) -> None:
        store.put("a", b"first and long")
        store.put("a", b"second")
        assert store.get("a") == b"second"

    def test_what_the_description_refuses_leaves_nothing(self, store: Store) -> None:
        def refuse(_: Mapping[str, bytes]) -> Attributes:
            raise ValueError("not what was announced")

        with pytest.raises(ValueError, match="announced"):
            store.put("deep/a", b"x" * 3 * MB, pieces=9, describe=refuse)
        assert list(store.folder.iterdir()) == []
        assert store.drafts() == []

    def test_a_body_that_breaks_off_leaves_nothing(self, store: Store) -> None:
        async def broken() -> AsyncIterator[bytes]:
            yield b"x" * 2 * MB
            raise ConnectionError

        store.put("a", b"before")
        with pytest.raises(ConnectionError):
            asyncio.run(store.objects.put(Place("films", "a"), broken(), (), describe_plainly))
        assert store.get("a") == b"before"
        assert store.drafts() == []

    def test_a_client_that_goes_away_leaves_nothing(self, store: Store) -> None:
        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b"x" * MB
                await asyncio.sleep(0)

        async def hang_up() -> None:
            put = asyncio.ensure_future(store.objects.put(Place("films", "a"), endless(), (), describe_plainly))
            while not os.listdir(store.uploads):
                await asyncio.sleep(0.001)
            put.cancel()
            await asyncio.gather(put, return_exceptions=True)

        asyncio.run(hang_up())
        assert store.drafts() == []

    def test_a_condition_sees_what_would_be_replaced(self, store: Store) -> None:
        seen: list[Object | None] = []
        first = store.put("a", b"one", allow=seen.append)
        store.put("a", b"two", allow=seen.append)
        assert seen == [None, first]

    def test_only_one_of_many_creates(self, store: Store) -> None:
        def absent(found: Object | None) -> None:
            if found is not None:
                raise FileExistsError

        async def race() -> list[Object | BaseException]:
            puts = [
                store.objects.put(Place("films", "one/a"), arriving(bytes([n])), (), describe_plainly, absent)
                for n in range(20)
            ]
            return await asyncio.gather(*puts, return_exceptions=True)

        outcomes = asyncio.run(race())
        assert sum(isinstance(outcome, Object) for outcome in outcomes) == 1

    def test_a_missing_bucket_is_said_before_the_body_has_come(self, store: Store) -> None:
        taken = 0

        async def long() -> AsyncIterator[bytes]:
            nonlocal taken
            for _ in range(100):
                taken += 1
                yield b"x" * MB

        with pytest.raises(NoSuchBucket):
            asyncio.run(store.objects.put(Place("nobody", "a"), long(), (), describe_plainly))
        assert taken < 10

    def test_too_much_metadata_is_refused(self, store: Store) -> None:
        with pytest.raises(TooManyAttributes):
            store.put("a", describe=lambda digests: Attributes(digests["MD5"], metadata={"a": "x" * 5000}))
        assert store.drafts() == []

    def test_the_event_loop_goes_on_while_a_disk_is_slow(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        release = threading.Event()
        pwrite = os.pwrite
        monkeypatch.setattr(os, "pwrite", lambda *arguments: (release.wait(10), pwrite(*arguments))[1])

        async def put_and_turn() -> None:
            put = asyncio.ensure_future(store.objects.put(Place("films", "a"), arriving(b"x"), (), describe_plainly))
            for _ in range(100):
                await asyncio.sleep(0)
                assert not put.done()
            release.set()
            await put

        asyncio.run(put_and_turn())


class TestKeys:
    @pytest.mark.parametrize(
        "key", ["../out", "a/../../out", "/absolute", "a//b", "a/./b", "..", ".", "/", "a\0b", "x" * 256, "\udcff", ""]
    )
    def test_what_a_folder_cannot_hold_is_refused(self, store: Store, key: str) -> None:
        for use in (store.put, store.get, store.delete, store.find):
            with pytest.raises(ObjectError):
                use(key)
        assert list(store.folder.parent.iterdir()) == [store.folder]

    def test_the_longest_key(self, store: Store) -> None:
        key = "/".join(["ä" * 100] * 5) + "x" * 19
        assert len(key.encode()) == 1023
        store.put(key)
        assert store.get(key) == b"x"
        with pytest.raises(KeyTooLong):
            store.put(key + "xx")

    def test_a_file_and_a_folder_of_one_name(self, store: Store) -> None:
        store.put("a")
        store.put("b/c")
        for key in ("a/b", "a/b/c", "a/", "b"):
            with pytest.raises(KeyTaken, match="cannot be an object here"):
                store.put(key, b"")
        for key in ("a/b", "b", "b/c/d"):
            with pytest.raises(NoSuchKey):
                store.get(key)
            store.delete(key)
        assert (store.get("a"), store.get("b/c")) == (b"x", b"x")

    @pytest.mark.parametrize("key", ["...", "a..b", " ", "a b", "-", "~", "put-1", ".hidden", "日本", "\n", "C:\\x"])
    def test_odd_names_are_held(self, store: Store, key: str) -> None:
        store.put(f"in/{key}", b"odd")
        assert store.get(f"in/{key}") == b"odd"

    def test_other_things_than_files_are_no_objects(self, store: Store) -> None:
        os.mkfifo(store.folder / "pipe")
        with pytest.raises(NoSuchKey):
            store.get("pipe")
        with pytest.raises(KeyTaken):
            store.put("pipe")


class TestLinks:
    @pytest.fixture
    def outside(self, tmp_path: Path) -> Path:
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "secret").write_text("secret")
        return outside

    def test_no_link_is_followed(self, store: Store, outside: Path) -> None:
        (store.folder / "file").symlink_to(outside / "secret")
        (store.folder / "folder").symlink_to(outside)
        (store.folder / "dangling").symlink_to(outside / "nothing")
        for key in ("file", "folder/secret", "folder/", "dangling", "folder/new"):
            for use in (store.get, lambda key: store.put(key, b""), store.delete):
                with pytest.raises(Linked, match="symbolic link"):
                    use(key)
        assert [path.name for path in outside.iterdir()] == ["secret"]

    def test_a_bucket_that_is_a_link_is_none(self, store: Store, outside: Path) -> None:
        (store.folder.parent / "linked").symlink_to(outside)
        with pytest.raises(NoSuchBucket):
            store.put("a", bucket="linked")

    def test_a_folder_that_becomes_a_link_meanwhile_leads_nowhere(self, store: Store, outside: Path) -> None:
        inside, moved = store.folder / "turning", store.folder / "moved"
        inside.mkdir()
        (inside / "secret").write_text("public")
        stop = threading.Event()

        def turn() -> None:
            while not stop.is_set():
                if not moved.exists():
                    inside.rename(moved)
                with suppress(FileExistsError):
                    inside.symlink_to(outside)
                with suppress(OSError):
                    inside.unlink()
                shutil.rmtree(inside, ignore_errors=True)  # a put may have made it
                with suppress(OSError):
                    moved.rename(inside)

        turning = threading.Thread(target=turn)
        turning.start()
        try:
            read: set[bytes] = set()
            start = time.monotonic()
            while time.monotonic() < start + 1 or (not read and time.monotonic() < start + 30):
                for use in (lambda: read.add(bytes_of(store, "turning/secret")), lambda: store.put("turning/new")):
                    with suppress(Linked, NoSuchKey, KeyTaken, OSError):
                        use()
        finally:
            stop.set()
            turning.join()
        assert read == {b"public"}
        assert [path.name for path in outside.iterdir()] == ["secret"]


def bytes_of(store: Store, key: str) -> bytes:
    file, found = store.tree.open("films", key)
    try:
        return os.pread(file, found.size, 0)
    finally:
        os.close(file)


class TestFilesByHand:
    def test_they_are_objects(self, store: Store) -> None:
        (store.folder / "a").write_bytes(b"by hand")
        found = store.find("a")
        assert store.get("a") == b"by hand"
        assert found.etag.endswith("-1")
        assert found == store.find("a")

    def test_a_change_by_hand_ends_the_old_attributes(self, store: Store) -> None:
        made = store.put("a", b"before")
        with (store.folder / "a").open("ab") as file:
            file.write(b" and after")
        found = store.find("a")
        assert found.etag != made.etag
        assert found.etag.endswith("-1")
        assert found.size == 16

    @pytest.mark.parametrize("forged", [b"", b"short", b"\0" * 32 + b"[]", b"\0" * 32 + b'{"h": 1}', b"\xff" * 3000])
    def test_attributes_that_somebody_else_wrote_do_no_harm(self, store: Store, forged: bytes) -> None:
        (store.folder / "a").write_bytes(b"")
        os.setxattr(store.folder / "a", "user.s3", forged)
        assert store.find("a").etag.endswith("-1")

    def test_headers_cannot_be_smuggled_in(self, store: Store) -> None:
        store.put("a", describe=lambda digests: Attributes(digests["MD5"], metadata={"a": "b\r\nset-cookie: c"}))
        assert store.find("a").attributes.metadata == {}


class TestFolders:
    def test_a_key_with_a_slash_at_its_end_is_a_folder_that_stays(self, store: Store) -> None:
        made = store.put("made/", b"", describe=lambda d: Attributes(d["MD5"], headers={"ContentType": "x/y"}))
        assert (store.folder / "made").is_dir()
        assert store.find("made/") == made
        assert store.get("made/") == b""
        store.put("made/a")
        store.delete("made/a")
        assert store.find("made/") == made
        store.delete("made/")
        assert list(store.folder.iterdir()) == []

    def test_one_with_objects_below_may_go_first(self, store: Store) -> None:
        store.put("made/", b"")
        store.put("made/a")
        store.delete("made/")
        assert store.get("made/a") == b"x"
        with pytest.raises(NoSuchKey):
            store.find("made/")

    def test_it_holds_no_bytes(self, store: Store) -> None:
        with pytest.raises(ObjectError, match="holds no bytes"):
            store.put("made/", b"x")
        assert list(store.folder.iterdir()) == []
        assert store.drafts() == []

    def test_a_folder_that_nobody_made_an_object_is_none(self, store: Store) -> None:
        store.put("made/a")
        with pytest.raises(NoSuchKey):
            store.find("made/")
        store.delete("made/")
        assert store.get("made/a") == b"x"


class TestDelete:
    def test_it_takes_folders_along_that_hold_nothing_then(self, store: Store) -> None:
        store.put("a/b/c/d")
        store.put("a/e")
        store.delete("a/b/c/d")
        assert sorted(path.name for path in store.folder.rglob("*")) == ["a", "e"]
        store.delete("a/e")
        assert list(store.folder.iterdir()) == []
        assert store.folder.is_dir()

    def test_what_is_not_there_is_deleted_already(self, store: Store) -> None:
        store.delete("a/b")
        store.delete("a")

    def test_puts_and_deletes_of_neighbours_do_not_meet(self, store: Store) -> None:
        async def work(number: int) -> None:
            for _ in range(30):
                place = Place("films", f"deep/er/{number}")
                await store.objects.put(place, arriving(b"x"), (), describe_plainly)
                await store.objects.delete(place)

        async def all_at_once() -> None:
            await asyncio.gather(*map(work, range(8)))

        asyncio.run(all_at_once())
        assert list(store.folder.iterdir()) == []


class TestCopy:
    def test_a_copy_has_the_bytes_and_the_attributes(self, store: Store) -> None:
        content = os.urandom(2 * MB)
        made = store.put("a", content, algorithms=("CRC32",))
        copy = store.copy("a", "b/c")
        assert store.get("b/c") == content
        assert (copy.etag, copy.attributes) == (made.etag, made.attributes)

    def test_a_copy_of_a_file_by_hand_has_an_md5(self, store: Store) -> None:
        (store.folder / "a").write_bytes(b"by hand")
        assert store.copy("a", "b").etag == hashlib.md5(b"by hand").hexdigest()

    def test_a_checksum_that_the_source_lacks_is_computed(self, store: Store) -> None:
        store.put("a", b"content")
        copy = store.copy("a", "a", ("SHA256",))
        assert copy.attributes.checksums == {"SHA256": base64.b64encode(hashlib.sha256(b"content").digest()).decode()}
        assert copy == store.find("a")

    def test_nothing_to_copy(self, store: Store) -> None:
        with pytest.raises(NoSuchKey):
            store.copy("a", "b")
        assert store.drafts() == []


class TestBuckets:
    def test_only_an_empty_one_is_removed(self, store: Store) -> None:
        store.put("a/b")
        with pytest.raises(NotEmpty):
            store.tree.remove_bucket("films")
        store.delete("a/b")
        (store.folder / "by" / "hand").mkdir(parents=True)
        store.tree.remove_bucket("films")
        assert not store.folder.exists()

    def test_a_folder_object_keeps_it(self, store: Store) -> None:
        store.put("a/b/", b"")
        with pytest.raises(NotEmpty):
            store.tree.remove_bucket("films")
        assert store.find("a/b/").size == 0


class TestLimits:
    def test_a_full_disk_is_an_error_and_leaves_nothing(self, store: Store) -> None:
        store.put("a", b"before")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (MB, limits[1]))
        try:
            with pytest.raises(OSError, match="File too large"):
                store.put("a", b"x" * 3 * MB)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, old)
        assert store.get("a") == b"before"
        assert store.drafts() == []

    def test_drafts_of_a_killed_server_are_gone_with_the_next(self, store: Store) -> None:
        (store.uploads / "put-1-1").write_bytes(b"half")
        (store.uploads / "other").mkdir()
        type(store.objects)(store.tree, store.threads)
        assert store.drafts() == ["other"]

    @pytest.mark.slow
    def test_a_large_object_needs_no_more_memory_than_a_small_one(self, tmp_path: Path) -> None:
        code = """
import asyncio, resource, sys
from pathlib import Path
from tests.storage.stores import Store, describe_plainly
from modelyard.storage.objects import Place

async def body(blocks):
    for _ in range(blocks):
        yield bytes(256 * 1024)

async def main(store):
    await store.objects.put(Place("films", "small"), body(8), (), describe_plainly)
    small = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await store.objects.put(Place("films", "large"), body(1200), (), describe_plainly)
    reading = await store.objects.get(Place("films", "large"), lambda found: (0, found.size))
    size = 0
    async for block in reading.body:
        size += len(block)
    assert size == 300 * 1024 * 1024, size
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - small)

store = Store(Path(sys.argv[1]))
asyncio.run(main(store))
store.close()
"""
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
        assert int(done.stdout) < 16 * 1024, "KB more"


class TestOtherFileSystems:
    @pytest.fixture
    def plain(self, tmp_path: Path) -> Iterator[Store]:
        """Over a file system that keeps no extended attributes."""
        folder = tmp_path / "plain"
        folder.mkdir()
        if subprocess.run(["mount", "-t", "ramfs", "ramfs", str(folder)], capture_output=True, check=False).returncode:
            pytest.skip("only root may mount a file system that keeps no extended attributes")
        store = Store(folder)
        yield store
        store.close()
        subprocess.run(["umount", "-l", str(folder)], check=True)

    def test_without_attributes_an_object_is_as_one_copied_in_by_hand(self, plain: Store) -> None:
        made = plain.put("a/b", b"content")
        assert plain.get("a/b") == b"content"
        assert made == plain.find("a/b")
        assert made.etag.endswith("-1")
        assert plain.copy("a/b", "c") == plain.find("c")
        with pytest.raises(OSError, match="keeps no extended attributes"):
            plain.put("folder/", b"")
        plain.delete("a/b")
        plain.delete("c")
        assert list(plain.folder.iterdir()) == []

import asyncio
import base64
import hashlib
import os
import random
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from awscrt import checksums
from tests.storage.stores import Store, arriving

from modelyard.storage import parts as parts_module
from modelyard.storage.attributes import Object
from modelyard.storage.objects import Place
from modelyard.storage.parts import Part
from modelyard.storage.transfer import Closed, TooLong
from modelyard.storage.tree import NoSuchBucket
from modelyard.storage.uploads import (
    KEPT_SECONDS,
    SMALLEST_PART,
    BadOrder,
    BadPart,
    Chosen,
    NoSuchUpload,
    SmallPart,
    Uploads,
)

MB = 1024 * 1024
FILM = Place("films", "deep/film")


class Uploader(Store):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.restart()

    def restart(self) -> None:
        self.multipart = Uploads(self.objects, self.uploads)

    def create(self, place: Place = FILM, **options: Any) -> str:
        options = {"headers": {}, "metadata": {}} | options
        return asyncio.run(self.multipart.create(place, "111122223333", **options)).id

    def part(self, id: str, number: int, body: bytes, length: int | None = -1, **options: Any) -> Chosen:
        return chosen(asyncio.run(self.arrive(id, number, body, length, **options)))

    async def arrive(self, id: str, number: int, body: bytes, length: int | None = -1, **options: Any) -> Part:
        length = len(body) if length == -1 else length
        check = options.get("check", no_sums)
        return await self.multipart.put_part(FILM, id, number, arriving(body, 5), length, (), check)

    def complete(self, id: str, parts: list[Chosen], **options: Any) -> Object:
        check = options.pop("check", lambda described, size: None)
        return asyncio.run(self.multipart.complete(FILM, id, parts, check, **options))

    def abort(self, id: str) -> None:
        asyncio.run(self.multipart.abort(FILM, id))

    def ids(self) -> list[str]:
        return [upload.id for upload in asyncio.run(self.multipart.to_bucket("films"))]


def chosen(part: Part) -> Chosen:
    return Chosen(part.number, f'"{part.md5}"', part.checksums)


def no_sums(_: Mapping[str, bytes]) -> dict[str, str]:
    return {}


def etag(*parts: bytes) -> str:
    return hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest() + f"-{len(parts)}"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Uploader]:
    store = Uploader(tmp_path)
    yield store
    store.close()


@pytest.fixture
def content() -> list[bytes]:
    """Four parts: three of one size and a shorter one."""
    random.seed(7)
    return [*(random.randbytes(SMALLEST_PART) for _ in range(3)), random.randbytes(MB + 3)]


class Copies:
    """Counts what is copied when uploads are completed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes = 0
        copy = parts_module.copy_range

        def counted(source: int, start: int, end: int, *target: int) -> None:
            self.bytes += end - start
            copy(source, start, end, *target)

        monkeypatch.setattr(parts_module, "copy_range", counted)


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> Copies:
    return Copies(monkeypatch)


class TestComplete:
    @pytest.mark.parametrize("order", [(1, 2, 3, 4), (3, 1, 4, 2), (2, 4, 3, 1)])
    def test_parts_in_any_order_are_one_object_without_a_copy(
        self, store: Uploader, content: list[bytes], copies: Copies, order: tuple[int, ...]
    ) -> None:
        id = store.create(headers={"ContentType": "video/x"}, metadata={"by": "me"})
        parts = {number: store.part(id, number, content[number - 1]) for number in order}
        assert list(store.folder.iterdir()) == []
        made = store.complete(id, [parts[number] for number in sorted(order)])
        assert store.get("deep/film") == b"".join(content)
        assert made == store.find("deep/film")
        assert made.etag == etag(*content)
        assert made.attributes.headers == {"ContentType": "video/x"}
        assert made.attributes.metadata == {"by": "me"}
        assert made.attributes.parts == ((3, SMALLEST_PART), (1, MB + 3))
        assert copies.bytes == 0
        assert store.drafts() == []

    def test_the_last_part_may_come_first(self, store: Uploader, content: list[bytes]) -> None:
        id = store.create()
        parts = {number: store.part(id, number, content[number - 1]) for number in (4, 3, 2, 1)}
        store.complete(id, [parts[number] for number in (1, 2, 3, 4)])
        assert store.get("deep/film") == b"".join(content)

    def test_parts_of_any_sizes(self, store: Uploader) -> None:
        sizes = [SMALLEST_PART + 5, SMALLEST_PART, SMALLEST_PART + 77, SMALLEST_PART, 1]
        content = [random.randbytes(size) for size in sizes]
        id = store.create()
        parts = [store.part(id, number + 1, part) for number, part in enumerate(content)]
        assert store.complete(id, parts).etag == etag(*content)
        assert store.get("deep/film") == b"".join(content)

    def test_a_part_that_came_twice_counts_as_it_came_last(
        self, store: Uploader, content: list[bytes], copies: Copies
    ) -> None:
        id = store.create()
        parts = [store.part(id, number + 1, part) for number, part in enumerate(content)]
        content[1] = content[1][::-1]
        parts[1] = store.part(id, 2, content[1])
        content[3] = b"short"
        parts[3] = store.part(id, 4, content[3])
        content[3] = b"shorter"
        parts[3] = store.part(id, 4, content[3])
        store.complete(id, parts)
        assert store.get("deep/film") == b"".join(content)

    def test_parts_that_are_left_out_are_not_in_it(self, store: Uploader, content: list[bytes]) -> None:
        id = store.create()
        parts = [store.part(id, number + 1, part) for number, part in enumerate(content)]
        made = store.complete(id, [parts[0], parts[2]])
        assert store.get("deep/film") == content[0] + content[2]
        assert made.etag == etag(content[0], content[2])
        assert store.drafts() == []

    def test_numbers_may_have_gaps(self, store: Uploader, content: list[bytes]) -> None:
        id = store.create()
        parts = [store.part(id, number, part) for number, part in zip((1, 7, 9_999, 10_000), content, strict=True)]
        store.complete(id, parts)
        assert store.get("deep/film") == b"".join(content)

    def test_a_part_of_unknown_length(self, store: Uploader, content: list[bytes]) -> None:
        id = store.create()
        parts = [store.part(id, 1, content[0], length=None), store.part(id, 2, content[1])]
        store.complete(id, parts)
        assert store.get("deep/film") == content[0] + content[1]

    def test_a_new_server_goes_on(self, store: Uploader, content: list[bytes], copies: Copies) -> None:
        id = store.create()
        parts = [store.part(id, number, content[number - 1]) for number in (1, 2)]
        with (store.uploads / id / "parts.jsonl").open("ab") as file:
            file.write(b'{"stride": 52428')
        store.restart()
        parts += [store.part(id, number, content[number - 1]) for number in (3, 4)]
        store.restart()
        store.complete(id, parts)
        assert store.get("deep/film") == b"".join(content)
        assert copies.bytes == 0

    def test_repeated_it_answers_the_same(self, store: Uploader, content: list[bytes]) -> None:
        id = store.create()
        parts = [store.part(id, 1, content[0])]
        made = store.complete(id, parts)
        assert store.complete(id, parts) == made
        store.put("deep/film", b"another")
        with pytest.raises(NoSuchUpload):
            store.complete(id, parts)

    def test_a_server_killed_after_the_rename_made_it(self, store: Uploader, content: list[bytes]) -> None:
        id = store.create()
        parts = [store.part(id, 1, content[0])]
        left = {path.name: path.read_bytes() for path in (store.uploads / id).iterdir() if path.name != "data"}
        made = store.complete(id, parts)
        (store.uploads / id).mkdir()
        for name, data in left.items():
            (store.uploads / id / name).write_bytes(data)
        store.restart()
        assert store.ids() == []
        assert store.complete(id, parts) == made
        for name, data in left.items():
            (store.uploads / id).mkdir(exist_ok=True)
            (store.uploads / id / name).write_bytes(data)
        store.put("deep/film", b"another")
        with pytest.raises(NoSuchUpload):
            store.complete(id, parts)
        assert store.get("deep/film") == b"another"


class TestRefusals:
    def test_parts_that_did_not_arrive_so(self, store: Uploader, content: list[bytes]) -> None:
        id = store.create()
        first, second = store.part(id, 1, content[0]), store.part(id, 2, content[1])
        with pytest.raises(BadPart, match="has not arrived"):
            store.complete(id, [first, Chosen(3, first.etag, {})])
        with pytest.raises(BadPart, match="ETag"):
            store.complete(id, [first, Chosen(2, first.etag, {})])
        for parts in ([second, first], [first, first]):
            with pytest.raises(BadOrder):
                store.complete(id, parts)
        assert store.complete(id, [first, second]).etag == etag(*content[:2])

    def test_only_the_last_may_be_small(self, store: Uploader, content: list[bytes]) -> None:
        id = store.create()
        parts = [store.part(id, 1, b"x" * (SMALLEST_PART - 1)), store.part(id, 2, content[0])]
        with pytest.raises(SmallPart, match="part 1 has 5242879 bytes"):
            store.complete(id, parts)

    def test_a_refusal_of_the_whole_leaves_the_upload(self, store: Uploader, content: list[bytes]) -> None:
        def refuse(*_: object) -> None:
            raise FileExistsError

        id = store.create()
        parts = [store.part(id, number + 1, part) for number, part in enumerate(content)]
        for refusal in ({"check": refuse}, {"allow": refuse}):
            with pytest.raises(FileExistsError):
                store.complete(id, parts[:2] + parts[3:], **refusal)
        store.complete(id, parts)
        assert store.get("deep/film") == b"".join(content)

    @pytest.mark.parametrize("id", ["", "..", "../objects", "0" * 32, "a/b", "0" * 31 + "\0", "A" * 32])
    def test_unknown_uploads(self, store: Uploader, id: str) -> None:
        for use in (lambda: store.part(id, 1, b""), lambda: store.complete(id, []), lambda: store.abort(id)):
            with pytest.raises(NoSuchUpload):
                use()

    def test_an_upload_is_for_one_key(self, store: Uploader) -> None:
        id = store.create(Place("films", "other"))
        with pytest.raises(NoSuchUpload):
            store.part(id, 1, b"")

    def test_buckets_and_keys_are_checked_first(self, store: Uploader) -> None:
        with pytest.raises(NoSuchBucket):
            store.create(Place("nobody", "a"))
        with pytest.raises(Exception, match="cannot be part of a key"):
            store.create(Place("films", "../a"))
        assert store.drafts() == []

    def test_more_bytes_than_announced_touch_no_neighbour(self, store: Uploader, content: list[bytes]) -> None:
        id = store.create()
        second = store.part(id, 2, content[1])
        with pytest.raises(TooLong):
            store.part(id, 1, content[0] + b"more", length=SMALLEST_PART)
        first = store.part(id, 1, content[0])
        store.complete(id, [first, second])
        assert store.get("deep/film") == content[0] + content[1]


class TestParts:
    def test_what_did_not_arrive_whole_changes_nothing(self, store: Uploader, content: list[bytes]) -> None:
        async def broken() -> AsyncIterator[bytes]:
            yield b"y" * 3 * MB
            raise ConnectionError

        def refuse(_: Mapping[str, bytes]) -> dict[str, str]:
            raise ValueError("refused")

        id = store.create()
        parts = [store.part(id, number + 1, part) for number, part in enumerate(content)]
        for number in (2, 5):
            with pytest.raises(ConnectionError):
                asyncio.run(store.multipart.put_part(FILM, id, number, broken(), SMALLEST_PART, (), no_sums))
            with pytest.raises(ValueError, match="refused"):
                store.part(id, number, b"z" * SMALLEST_PART, check=refuse)
        _, known = asyncio.run(store.multipart.parts(FILM, id))
        assert [chosen(part) for part in known] == parts
        store.complete(id, parts)
        assert store.get("deep/film") == b"".join(content)

    def test_many_at_once_and_the_same_ones_again(self, store: Uploader) -> None:
        content = [random.randbytes(SMALLEST_PART) for _ in range(6)]
        id = store.create()

        async def all_at_once() -> list[Part]:
            once = [store.arrive(id, number + 1, part) for number, part in enumerate(content)]
            again = [store.arrive(id, number + 1, part) for number, part in enumerate(content)]
            return await asyncio.gather(*once, *again)

        parts = asyncio.run(all_at_once())
        store.complete(id, [chosen(part) for part in parts[:6]])
        assert store.get("deep/film") == b"".join(content)
        assert store.drafts() == []

    def test_a_straggler_cannot_write_into_the_finished_object(self, store: Uploader, content: list[bytes]) -> None:
        id = store.create()
        go_on = asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield b"y" * 2 * MB
            await go_on.wait()
            yield b"y" * 3 * MB

        async def race() -> Object:
            straggler = asyncio.ensure_future(store.multipart.put_part(FILM, id, 1, slow(), SMALLEST_PART, (), no_sums))
            while not (store.uploads / id / "data").exists():
                await asyncio.sleep(0.001)
            parts = [await store.arrive(id, number + 1, part) for number, part in enumerate(content)]
            made = await store.multipart.complete(FILM, id, [chosen(part) for part in parts], lambda *_: None)
            go_on.set()
            with pytest.raises(Closed):
                await straggler
            return made

        asyncio.run(race())
        assert store.get("deep/film") == b"".join(content)

    def test_a_copy_of_an_objects_bytes(self, store: Uploader) -> None:
        content = random.randbytes(SMALLEST_PART + 9)
        store.put("source", content)
        id = store.create(algorithm="SHA256", checksum_type="COMPOSITE")
        copy = store.multipart.copy_part(FILM, id, 1, Place("films", "source"), lambda found: (9, found.size))
        part = asyncio.run(copy)
        assert part.checksums["SHA256"] == base64.b64encode(hashlib.sha256(content[9:]).digest()).decode()
        assert store.complete(id, [chosen(part)]).size == SMALLEST_PART
        assert store.get("deep/film") == content[9:]


class TestChecksums:
    def test_of_the_parts_checksums(self, store: Uploader, content: list[bytes]) -> None:
        id = store.create(algorithm="CRC32", checksum_type="COMPOSITE")
        parts = [store.part(id, number + 1, part) for number, part in enumerate(content)]
        sums = b"".join(zlib.crc32(part).to_bytes(4, "big") for part in content)
        expected = base64.b64encode(zlib.crc32(sums).to_bytes(4, "big")).decode() + "-4"
        described = store.complete(id, parts).attributes
        assert (described.checksums, described.checksum_type) == ({"CRC32": expected}, "COMPOSITE")

    def test_of_the_whole_out_of_the_parts(self, store: Uploader, content: list[bytes]) -> None:
        id = store.create(algorithm="CRC64NVME", checksum_type="FULL_OBJECT")
        parts = [store.part(id, number + 1, part) for number, part in enumerate(content)]
        expected = base64.b64encode(checksums.crc64nvme(b"".join(content)).to_bytes(8, "big")).decode()
        described = store.complete(id, parts).attributes
        assert (described.checksums, described.checksum_type) == ({"CRC64NVME": expected}, "FULL_OBJECT")


class TestEnds:
    def test_an_abort_leaves_nothing(self, store: Uploader, content: list[bytes]) -> None:
        id = store.create()
        store.part(id, 1, content[0])
        assert store.ids() == [id]
        store.abort(id)
        assert store.ids() == []
        with pytest.raises(NoSuchUpload):
            store.part(id, 2, content[1])
        with pytest.raises(NoSuchUpload):
            store.abort(id)
        assert store.drafts() == []

    def test_what_nobody_touched_for_days_is_given_up(self, store: Uploader) -> None:
        old, new = store.create(), store.create()
        for path in (*(store.uploads / old).iterdir(), store.uploads / old):
            os.utime(path, (path.stat().st_mtime - KEPT_SECONDS - 1,) * 2)
        store.restart()
        assert store.ids() == [new]
        assert store.drafts() == [new]

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import wait_for
from tests.storage.stores import Store

from modelyard.storage import entries
from modelyard.storage.listing import Listing, Page
from modelyard.storage.tree import NoSuchBucket


class Lister(Store):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.listing = Listing(self.tree, self.threads)

    def write(self, *keys: str) -> None:
        """Files by hand, which is quicker."""
        for key in keys:
            (self.folder / key).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / key).write_bytes(b"")

    def pages(self, limit: int = 1000, **options: str) -> Iterator[Page]:
        after: str | None = options.pop("after", "")
        while after is not None:
            page = self.listing.page("films", after=after, limit=limit, **options)
            yield page
            after = page.next

    def keys(self, limit: int = 1000, **options: str) -> list[str]:
        return [key for page in self.pages(limit, **options) for key, _ in page.objects]

    def prefixes(self, limit: int = 1000, **options: str) -> list[str]:
        return [prefix for page in self.pages(limit, **options) for prefix in page.prefixes]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Lister]:
    store = Lister(tmp_path)
    yield store
    store.close()


def listed(keys: list[str], prefix: str, delimiter: str, after: str) -> tuple[list[str], list[str]]:
    """What S3 lists, in the plainest words."""
    objects, prefixes = [], []
    for key in sorted(keys, key=str.encode):
        if not key.startswith(prefix) or key <= after:
            continue
        end = key.find(delimiter, len(prefix)) if delimiter else -1
        common = key[: end + len(delimiter)]
        if end < 0:
            objects.append(key)
        elif common != after and common not in prefixes:
            prefixes.append(common)
    return objects, prefixes


class TestOrder:
    def test_keys_come_in_the_order_of_their_bytes(self, store: Lister) -> None:
        keys = [
            "a.b",
            "a/b",
            "a/b.c",
            "a/b-/x",
            "a0",
            "a-",
            "A",
            "b/a/a",
            "b/a.a",
            "b/aa",
            "é",
            "z",
            "日本/語",
            "😀",
            "\uffff",
        ]
        store.write(*keys)
        assert store.keys() == sorted(keys, key=str.encode)

    names = st.text("ab-./0é", min_size=1, max_size=3).filter(lambda name: name not in (".", "..") and "/" not in name)
    keys = st.lists(st.lists(names, min_size=1, max_size=4).map("/".join), max_size=25, unique=True)
    bounds = st.lists(names, max_size=3).map("/".join) | st.lists(names, max_size=3).map(
        lambda parts: "/".join(parts) + "/"
    )

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(keys, bounds, st.sampled_from(["", "/", "-", "a", "b/", "."]), bounds, st.integers(1, 4), st.randoms())
    def test_every_page_is_what_s3_lists(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        keys: list[str],
        prefix: str,
        delimiter: str,
        after: str,
        limit: int,
        random: random.Random,
    ) -> None:
        store = Lister(tmp_path_factory.mktemp("pages"))
        prefix, after = prefix.removeprefix("/"), after.removeprefix("/")
        held = []
        for key in keys:
            if not any(key.startswith(f"{other}/") or other.startswith(f"{key}/") for other in held):
                held.append(key)
                store.write(key)
        if held and random.random() < 0.5:
            folder = random.choice(held).rpartition("/")[0]
            if folder:
                store.put(f"{folder}/", b"")
                held.append(f"{folder}/")
        (store.folder / "empty" / "below").mkdir(parents=True)
        options = {"prefix": prefix, "delimiter": delimiter, "after": after}
        expected = listed(held, **options)
        assert (store.keys(**options), store.prefixes(**options)) == expected
        assert (store.keys(limit, **options), store.prefixes(limit, **options)) == expected
        for page in store.pages(limit, **options):
            assert len(page.objects) + len(page.prefixes) <= limit
        store.close()


class TestPages:
    def test_they_meet_without_a_gap(self, store: Lister) -> None:
        keys = sorted(f"{number % 7}/{number:03}" for number in range(100))
        store.write(*keys)
        pages = list(store.pages(limit=10))
        assert [len(page.objects) for page in pages] == [10] * 10
        assert [key for page in pages for key, _ in page.objects] == keys

    def test_the_last_one_says_so(self, store: Lister) -> None:
        store.write("a", "b")
        assert store.listing.page("films", limit=2).next is None
        assert store.listing.page("films", limit=1).next == "a"

    def test_a_prefix_is_a_page_of_its_own(self, store: Lister) -> None:
        store.write("a", "b/1", "b/2", "c", "d/e/f")
        pages = list(store.pages(1, delimiter="/"))
        assert [(list(dict(page.objects)), page.prefixes) for page in pages] == [
            (["a"], []),
            ([], ["b/"]),
            (["c"], []),
            ([], ["d/"]),
        ]


class TestWhatIsListed:
    def test_objects_as_they_stand(self, store: Lister) -> None:
        made = store.put("a/b", b"content", algorithms=("CRC32",))
        store.write("by/hand")
        assert store.listing.page("films").objects == [("a/b", made), ("by/hand", store.find("by/hand"))]

    def test_no_link_is_followed(self, store: Lister, tmp_path: Path) -> None:
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside" / "secret").write_text("secret")
        (store.folder / "file").symlink_to(tmp_path / "outside" / "secret")
        (store.folder / "folder").symlink_to(tmp_path / "outside")
        (store.folder / "in").mkdir()
        (store.folder / "in" / "folder").symlink_to(tmp_path / "outside")
        os.mkfifo(store.folder / "pipe")
        assert store.keys() == store.keys(prefix="folder/") == []
        assert store.prefixes(delimiter="/") == []

    def test_folders_without_objects_are_no_prefixes(self, store: Lister) -> None:
        (store.folder / "empty" / "deep").mkdir(parents=True)
        store.write("full/deep/a")
        assert store.prefixes(delimiter="/") == ["full/"]

    def test_what_was_made_a_folder_is_listed(self, store: Lister) -> None:
        store.put("made/", b"")
        assert store.keys() == ["made/"]
        assert (store.keys(delimiter="/"), store.prefixes(delimiter="/")) == ([], ["made/"])
        assert (store.keys(delimiter="/", prefix="made/"), store.prefixes(prefix="made/", delimiter="/")) == (
            ["made/"],
            [],
        )

    @pytest.mark.parametrize("prefix", ["../", "/", "a//", "./", "a/../", "x" * 300 + "/", "\0/", "a/b/", "nothing"])
    def test_prefixes_of_nothing(self, store: Lister, prefix: str) -> None:
        store.write("a/b")
        assert store.keys(prefix=prefix) == []

    def test_names_that_are_not_utf8_are_left_out(self, store: Lister) -> None:
        store.write("a", "z")
        (Path(os.fsdecode(os.fsencode(store.folder) + b"/\xff"))).write_bytes(b"")
        assert store.keys() == ["a", "z"]

    def test_keys_that_are_too_long_are_left_out(self, store: Lister) -> None:
        store.write("a")
        deep = store.folder / Path(*["x" * 200] * 6)
        deep.mkdir(parents=True)
        (deep / "b").write_bytes(b"")
        assert store.keys() == ["a"]

    def test_no_such_bucket(self, store: Lister) -> None:
        with pytest.raises(NoSuchBucket):
            store.listing.page("nobody")


class TestChanges:
    def test_what_is_put_or_deleted_is_seen_at_once(self, store: Lister) -> None:
        for number in range(300):
            store.write(f"a/{number:03}")
            assert len(store.keys()) == 1 + number
        for number in range(300):
            (store.folder / "a" / f"{number:03}").unlink()
            assert len(store.keys()) == 299 - number

    def test_a_folder_that_did_not_change_is_not_read_again(
        self, store: Lister, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.write("a/1", "a/2")
        old = time.time() - 60
        for folder in (store.folder, store.folder / "a"):
            os.utime(folder, (old, old + 0.5))
        assert store.keys() == ["a/1", "a/2"]
        monkeypatch.setattr(os, "scandir", None)
        assert store.keys() == ["a/1", "a/2"]

    def test_a_change_within_the_clocks_tick_is_seen(self, store: Lister) -> None:
        store.write("a")
        now = time.time_ns()
        os.utime(store.folder, ns=(now, now))
        assert store.keys() == ["a"]
        store.write("b")
        os.utime(store.folder, ns=(now, now))
        assert store.keys() == ["a", "b"]

    def test_memory_is_bounded(self, store: Lister) -> None:
        store.listing._entries = remembered = entries.Entries(remembered=30)
        for number in range(20):
            store.write(*(f"{number}/{n}" for n in range(5)))
            os.utime(store.folder / str(number), (1.5, 1.5))
        assert len(store.keys()) == 100
        assert remembered._count <= 30


class TestLargeFolders:
    @pytest.fixture(autouse=True)
    def small_is_large(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(entries, "LARGE", 3)
        monkeypatch.setattr(entries, "_LATER_SECONDS", 0)

    @pytest.fixture
    def filled(self, store: Lister) -> Lister:
        for number in range(20):
            store.put(f"a/{number:02}")
        store.put("a/x/below")
        return store

    def expected(self, *changes: str) -> list[str]:
        return sorted([f"a/{number:02}" for number in range(20)] + ["a/x/below", *changes])

    def test_are_known_from_their_beginning(self, filled: Lister, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "scandir", None)
        assert filled.keys(prefix="a/0") == [f"a/0{number}" for number in range(10)]

    def test_changes_here_are_noted(self, filled: Lister, monkeypatch: pytest.MonkeyPatch) -> None:
        filled.keys()
        filled.put("a/new")
        filled.put("a/05", b"again")
        filled.put("a/y/below")
        filled.delete("a/07")
        filled.delete("a/x/below")
        filled.copy("a/08", "a/copy")
        kept = set(self.expected("a/new", "a/y/below", "a/copy")) - {"a/07", "a/x/below"}
        assert filled.keys(prefix="a/") == sorted(kept)
        assert [key for key in filled.keys(prefix="a/") if "below" not in key] == sorted(
            path.relative_to(filled.folder).as_posix() for path in (filled.folder / "a").iterdir() if path.is_file()
        )

    def test_changes_by_hand_are_seen(self, filled: Lister) -> None:
        filled.keys()
        filled.write("a/by hand")
        assert filled.keys() == self.expected("a/by hand")
        filled.put("a/new")
        (filled.folder / "a" / "by hand").unlink()
        assert filled.keys() == self.expected("a/new")

    def test_a_change_by_hand_that_passed_unseen_is_seen_the_next_time(self, filled: Lister) -> None:
        filled.keys()
        status = (filled.folder / "a").stat()
        filled.write("a/by hand")
        os.utime(filled.folder / "a", ns=(status.st_atime_ns, status.st_mtime_ns))  # as within one tick of the clock
        time.sleep(0.1)
        filled.keys()
        wait_for(lambda: filled.keys() == self.expected("a/by hand"), 5)

    def test_order_is_right_before_there_was_time_to_sort(self, store: Lister, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(entries, "_SAMPLED", 2)
        monkeypatch.setattr(entries, "_SELECTED", 3)
        monkeypatch.setattr(store.threads, "later", lambda *_: None)
        names = [f"{number * 7919 % 1000:03}" for number in range(300)]
        store.write(*names, "500/below", "500-")
        expected = sorted([*names, "500/below", "500-"])
        time.sleep(0.1)
        assert store.keys() == store.keys(limit=7) == expected
        assert store.keys(after="3") == [key for key in expected if key > "3"]
        assert not next(iter(store.tree.entries._known.values())).names._is_sorted

    @pytest.mark.parametrize("count", [2_047, 2_048, 20_001])
    def test_order_is_right_after_it(self, count: int) -> None:
        names = [f"{number * 7919 % count:x}-\U0010ffff" for number in range(count)]
        assert entries.Names(list(names)).sort() == sorted(names)

    def test_file_systems_that_do_not_count_a_folders_folders(
        self, store: Lister, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read = entries.Entries._read
        wrong = SimpleNamespace(st_nlink=2)
        monkeypatch.setattr(entries.Entries, "_read", lambda self, folder, _: read(self, folder, wrong))
        keys = ["a-b", "a/b", "a/c/d", "a.b", "b"]
        store.write(*keys)
        for _ in range(2):
            assert store.keys() == sorted(keys)
            assert store.prefixes(delimiter="/") == ["a/"]

    def test_what_was_compared_and_is_right_stays(self, filled: Lister, monkeypatch: pytest.MonkeyPatch) -> None:
        time.sleep(0.1)
        filled.keys()
        filled.threads.close()
        assert all(not known.unsure for known in filled.tree.entries._known.values() if len(known) > 3)
        monkeypatch.setattr(os, "scandir", None)
        assert filled.keys(prefix="a/0") == [f"a/0{number}" for number in range(10)]

    def test_no_folder_inherits_from_one_that_is_gone(self, filled: Lister) -> None:
        for key in self.expected():
            filled.delete(key)
        filled.put("b/new")
        assert filled.keys() == ["b/new"]

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.collaborations import audit
from modelyard.collaborations.audit import Audit, Entry
from modelyard.database import Database

ROOM, BANK, SHOP, CLINIC = "room", "111122223333", "444455556666", "777788889999"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "db")
    yield database
    database.close()


def test_an_entry_comes_back_whole_and_with_its_time(database: Database) -> None:
    began = int(time.time() * 1000)
    entry = Entry(ROOM, SHOP, BANK, "inference", "job", "purchases", "LIST rule", "scores to the bank", 1200, "rows")
    database.write_now(lambda connection: audit.add(connection, entry))
    (found,) = Audit(database).page(SHOP, ROOM).items
    assert began <= found.time <= time.time() * 1000
    assert found == Entry(**{**entry.__dict__, "time": found.time})


def test_each_reads_what_it_brought_and_what_it_did(database: Database) -> None:
    entries = [
        Entry(ROOM, SHOP, BANK, "query", "1"),
        Entry(ROOM, CLINIC, BANK, "query", "2"),
        Entry(ROOM, CLINIC, CLINIC, "query", "3"),
        Entry("elsewhere", SHOP, SHOP, "query", "4"),
    ]
    database.write_now(lambda connection: audit.add(connection, *entries))
    log = Audit(database)
    assert [one.subject for one in log.page(SHOP, ROOM).items] == ["1"]
    assert [one.subject for one in log.page(CLINIC, ROOM).items] == ["3", "2"]
    assert [one.subject for one in log.page(BANK, ROOM).items] == ["2", "1"]
    assert log.page("000000000000", ROOM).items == []


def test_pages_meet_each_entry_once(database: Database) -> None:
    entries = [Entry(ROOM, SHOP, BANK, "query", str(n)) for n in range(7)]
    database.write_now(lambda connection: audit.add(connection, *entries))
    log, seen, position = Audit(database), [], None
    while True:
        page = log.page(SHOP, ROOM, position, limit=3)
        seen += [one.subject for one in page.items]
        if (position := page.following) is None:
            break
    assert seen == [str(n) for n in reversed(range(7))]


def test_entries_are_kept_with_what_they_tell_of_or_not_at_all(database: Database) -> None:
    def work(connection: object) -> None:
        audit.add(connection, Entry(ROOM, SHOP, BANK, "query", "1"))
        raise RuntimeError

    with pytest.raises(RuntimeError):
        database.write_now(work)
    assert Audit(database).page(SHOP, ROOM).items == []

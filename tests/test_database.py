import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from modelyard import tables
from modelyard.database import BadDatabase, Database

VERSION_1 = """
CREATE TABLE jobs (
    "key" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, region TEXT NOT NULL, kind TEXT NOT NULL,
    id TEXT NOT NULL, request TEXT NOT NULL, status TEXT NOT NULL, failure TEXT, clean BOOLEAN NOT NULL,
    created INTEGER NOT NULL, ended INTEGER, UNIQUE (account, region, kind, id)
);
CREATE INDEX jobs_by_age ON jobs (account, region, kind, "key");
INSERT INTO jobs VALUES (7, '111111111111', 'us-east-1', 'test', 'j', '{}', 'completed', NULL, 0, 1000, 2000);
PRAGMA user_version = 1;
"""


def schema(path: Path) -> dict[str, tuple[set[str], set[str]]]:
    """The columns and the indexes of each table, without the order in which they came."""
    with closing(sqlite3.connect(path)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            name: (
                {str(row[1:]) for row in connection.execute(f"PRAGMA table_info({name})")},
                {str(row[1:]) for row in connection.execute(f"PRAGMA index_list({name})")},
            )
            for name in names
        }


class TestSchema:
    def test_of_an_earlier_version_becomes_that_of_a_new_database(self, tmp_path: Path) -> None:
        old, new = tmp_path / "old.db", tmp_path / "new.db"
        with closing(sqlite3.connect(old)) as connection:
            connection.executescript(VERSION_1)
        for path in (old, old, new):
            Database(path).close()
        assert schema(old) == schema(new)
        with closing(sqlite3.connect(old)) as connection:
            assert connection.execute("SELECT key, id, name, swept FROM jobs").fetchall() == [(7, "j", None, 0)]
            assert connection.execute("PRAGMA user_version").fetchone() == (tables.VERSION,)

    def test_of_a_later_version_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "modelyard.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"PRAGMA user_version = {tables.VERSION + 1}")
        with pytest.raises(RuntimeError, match=f"schema version {tables.VERSION + 1}"):
            Database(path)


def test_a_full_disk_is_the_systems_error_and_passes(tmp_path: Path) -> None:
    database = Database(tmp_path / "db")
    database.write_now(lambda connection: connection.execute(text("PRAGMA max_page_count = 1")))
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        database.secret("links", "x" * 100_000)
    database.write_now(lambda connection: connection.execute(text("PRAGMA max_page_count = 10000")))
    assert database.secret("links", "x" * 100_000) == "x" * 100_000
    database.close()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "db").write_text("anything else, and more than a header's length of it" * 10)
    with pytest.raises(BadDatabase, match="db is no database of Modelyard's"):
        Database(tmp_path / "db")

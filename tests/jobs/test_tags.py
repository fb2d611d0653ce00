import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.database import Database
from modelyard.jobs import tags
from modelyard.jobs.tags import Tags, TooManyTags


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "modelyard.db")
    yield database
    database.close()


class TestTags:
    def test_merge_by_key(self, database: Database) -> None:
        found = Tags(database)
        asyncio.run(found.put("arn:1", {"team": "a", "cost": "1"}))
        asyncio.run(found.put("arn:1", {"team": "b"}))
        asyncio.run(found.put("arn:2", {"team": "c"}))
        assert found.of("arn:1") == {"cost": "1", "team": "b"}
        asyncio.run(found.remove("arn:1", ["cost", "never"]))
        assert found.of("arn:1") == {"team": "b"}
        database.write_now(lambda connection: tags.drop(connection, "arn:1"))
        assert (found.of("arn:1"), found.of("arn:2")) == ({}, {"team": "c"})

    def test_beyond_the_most_are_refused_as_a_whole(self, database: Database) -> None:
        found = Tags(database)
        asyncio.run(found.put("arn:1", {str(n): "" for n in range(Tags.MOST)}))
        with pytest.raises(TooManyTags, match="200"):
            asyncio.run(found.put("arn:1", {"0": "new", "more": ""}))
        assert found.of("arn:1")["0"] == ""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.collaborations.catalog import Catalog
from modelyard.database import Database
from modelyard.jobs.model import NotFound, Owner
from modelyard.jobs.resources import Resources

BANK, SHOP = Owner("111122223333", "us-east-1"), Owner("444455556666", "us-east-1")


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    database = Database(tmp_path / "modelyard.db")
    yield Catalog(Resources(database))
    database.close()


def test_a_name_stands_for_what_it_was_given_last(catalog: Catalog) -> None:
    asyncio.run(catalog.add(BANK, "sales", "clients", "s3://bank/old", "csv", {"id": "BIGINT"}, {"header": True}))
    asyncio.run(catalog.add(BANK, "Sales", "Clients", "s3://bank/new", "parquet", {"id": "BIGINT"}))
    found = catalog.find(BANK, "sales", "CLIENTS")
    assert found is not None
    assert (found.uri, found.format, found.options, found.owner) == ("s3://bank/new", "parquet", {}, BANK.account)
    assert [one.table for one in catalog.list(BANK)] == ["Clients"]


def test_each_account_has_names_of_its_own(catalog: Catalog) -> None:
    asyncio.run(catalog.add(BANK, "sales", "clients", "s3://bank/clients", "csv", {"id": "BIGINT"}))
    assert catalog.find(SHOP, "sales", "clients") is None
    assert catalog.list(SHOP) == []
    with pytest.raises(NotFound):
        asyncio.run(catalog.remove(SHOP, "sales", "clients"))
    asyncio.run(catalog.remove(BANK, "sales", "clients"))
    assert catalog.find(BANK, "sales", "clients") is None

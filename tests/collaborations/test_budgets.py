from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from modelyard.collaborations import arns, budgets
from modelyard.collaborations.budgets import Budgets, BudgetSpent, budget
from modelyard.collaborations.model import Collaboration
from modelyard.database import Database
from modelyard.jobs import resources
from modelyard.jobs.model import Owner
from modelyard.jobs.resources import Resources

BANK = Owner("111122223333", "us-east-1")
ROOM = Collaboration(
    "room", "arn:aws:cleanrooms:us-east-1:111122223333:collaboration/room", "us-east-1", "", "", "", {}, [], 0, 0
)


class Clock:
    """The time that budgets see."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.set("2026-01-02T10:00")  # a Friday
        monkeypatch.setattr(budgets, "now", lambda: self.time)

    def set(self, text: str) -> None:
        self.time = int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "modelyard.db")
    yield database
    database.close()


def give(database: Database, table: str, *parameters: tuple[str, int, str | None]) -> None:
    document = {
        "arn": f"arn:{table}",
        "table": table,
        "resourceArn": f"arn:of-{table}",
        "budgets": [budget(*one) for one in parameters],
    }
    made = resources.new(BANK, budgets.TEMPLATE, arns.new_id(), None, "ACTIVE", document, root=ROOM.arn)
    database.write_now(lambda connection: resources.add(connection, made))


def spend(database: Database, *tables: str) -> None:
    database.write_now(lambda connection: budgets.spend(connection, ROOM, tables))


def left(database: Database, *tables: str) -> Any:
    return Budgets(Resources(database)).remaining(ROOM, tables)


def test_a_use_spends_all_budgets_of_its_tables(database: Database, clock: Clock) -> None:
    give(database, "clients", ("CALENDAR_DAY", 3, "ENABLED"), ("LIFETIME", 2, None))
    give(database, "visitors", ("LIFETIME", 9, None))
    spend(database, "clients", "orders")
    assert left(database, "clients", "visitors", "orders") == {"clients": 1, "visitors": 9}


def test_what_one_table_refuses_no_table_spends(database: Database, clock: Clock) -> None:
    give(database, "clients", ("LIFETIME", 5, None))
    give(database, "visitors", ("LIFETIME", 0, None))
    with pytest.raises(BudgetSpent, match="LIFETIME access budget of table visitors is spent; its owner can raise it"):
        spend(database, "clients", "visitors")
    assert left(database, "clients") == {"clients": 5}


@pytest.mark.parametrize(
    ("period", "before", "after"),
    [
        ("CALENDAR_DAY", "2026-01-02T23:59", "2026-01-03T00:00"),
        ("CALENDAR_WEEK", "2026-01-03T23:59", "2026-01-04T00:00"),
        ("CALENDAR_MONTH", "2026-01-31T23:59", "2026-02-01T00:00"),
    ],
)
def test_a_period_begins_anew_in_utc(database: Database, clock: Clock, period: str, before: str, after: str) -> None:
    give(database, "clients", (period, 1, "ENABLED"))
    spend(database, "clients")
    clock.set(before)
    with pytest.raises(BudgetSpent, match=f"refreshed at {after.replace('T', ' ')} UTC"):
        spend(database, "clients")
    clock.set(after)
    assert left(database, "clients") == {"clients": 1}
    spend(database, "clients")
    assert left(database, "clients") == {"clients": 0}


def test_a_period_that_is_not_refreshed_stays_spent(database: Database, clock: Clock) -> None:
    give(database, "clients", ("CALENDAR_DAY", 1, "DISABLED"))
    spend(database, "clients")
    clock.set("2026-01-20T10:00")
    assert left(database, "clients") == {"clients": 0}


def test_another_collaborations_budgets_are_not_touched(database: Database, clock: Clock) -> None:
    give(database, "clients", ("LIFETIME", 1, None))
    other = Collaboration("other", "arn:other", "us-east-1", "", "", "", {}, [], 0, 0)
    database.write_now(lambda connection: budgets.spend(connection, other, ["clients"]))
    assert left(database, "clients") == {"clients": 1}

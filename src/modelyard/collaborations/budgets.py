"""Access budgets: how often the queries and jobs of a collaboration may use a table.

A template belongs to one association, and has up to two budgets: one for each day, week or month, and one for ever.
Each use spends one of both, in the transaction that accepts the use; what fails afterwards is not paid back.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from modelyard.collaborations.model import Collaboration
from modelyard.collaborations.tables import MOST
from modelyard.jobs import resources
from modelyard.jobs.listing import Search
from modelyard.jobs.model import Resource
from modelyard.jobs.resources import Resources
from modelyard.jobs.store import now

TEMPLATE = "privacy budget template"
LIFETIME = "LIFETIME"


class BudgetSpent(Exception):
    """A table's budget does not allow another use."""

    def __init__(self, table: str, type: str, refresh: datetime | None) -> None:
        again = f"; it is refreshed at {refresh:%Y-%m-%d %H:%M} UTC" if refresh else "; its owner can raise it"
        super().__init__(f"the {type} access budget of table {table} is spent{again}")
        self.table = table


class Budgets:
    """The access budgets of all collaborations."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    def of(self, collaboration: Collaboration) -> Sequence[Resource]:
        """The templates of a collaboration, the oldest first."""
        search = Search(root=collaboration.arn, ascending=True, limit=MOST)
        return self._resources.page_under(collaboration.region, TEMPLATE, search).items

    def remaining(self, collaboration: Collaboration, names: Collection[str]) -> Mapping[str, int]:
        """How many more uses each of the tables allows, of those that have a budget."""
        return {
            one.document["table"]: access_budget(one)["aggregateRemainingBudget"]
            for one in self.of(collaboration)
            if one.document["table"] in names
        }

    def access_budgets(self, collaboration: Collaboration, names: Collection[str]) -> Sequence[dict[str, Any]]:
        """The budgets of the tables of these names, as AWS's `accessBudget` describes each."""
        return [access_budget(one) for one in self.of(collaboration) if one.document["table"] in names]


def budget(type: str, amount: int, refresh: str | None) -> dict[str, Any]:
    """A budget as a template's document keeps it: nothing of it is used, and its period begins now."""
    return {"type": type, "budget": amount, "autoRefresh": refresh, "used": 0, "start": _start(type, now())}


def spend(connection: Connection, collaboration: Collaboration, names: Collection[str]) -> None:
    """One use of each table that has a budget, within a transaction. BudgetSpent, and then of none."""
    for one in resources.rooted(connection, TEMPLATE, collaboration.arn):
        if one.document["table"] in names:
            kept = [_spent(one.document["table"], _current(each)) for each in one.document["budgets"]]
            resources.change(connection, one, document={**one.document, "budgets": kept})


def access_budget(template: Resource) -> dict[str, Any]:
    """What is left now of a template's budgets, as AWS's `accessBudget` describes it."""
    current = [_current(one) for one in template.document["budgets"]]
    return {
        "resourceArn": template.document["resourceArn"],
        "details": [_detail(one) for one in current],
        "aggregateRemainingBudget": min(_left(one) for one in current),
    }


def _spent(table: str, budget: Mapping[str, Any]) -> Mapping[str, Any]:
    if not _left(budget):
        refreshed = _end(budget) if budget["autoRefresh"] == "ENABLED" else None
        raise BudgetSpent(table, budget["type"], refreshed)
    return {**budget, "used": budget["used"] + 1}


def _current(budget: Mapping[str, Any]) -> Mapping[str, Any]:
    """The budget as it stands now: unused, if it is refreshed and its period is over."""
    start = _start(budget["type"], now())
    if budget["autoRefresh"] == "ENABLED" and start > budget["start"]:
        return {**budget, "used": 0, "start": start}
    return budget


def _left(budget: Mapping[str, Any]) -> int:
    return max(0, int(budget["budget"] - budget["used"]))


def _detail(budget: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "startTime": datetime.fromtimestamp(budget["start"] / 1000, UTC),
        "endTime": _end(budget),
        "remainingBudget": _left(budget),
        "budget": budget["budget"],
        "budgetType": budget["type"],
        "autoRefresh": budget["autoRefresh"],
    }


def _start(type: str, time: int) -> int:
    """When the period began that a time lies in: UTC, weeks on Sunday, as AWS has them. Milliseconds."""
    moment = datetime.fromtimestamp(time / 1000, UTC)
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    match type:
        case "CALENDAR_DAY":
            moment = day
        case "CALENDAR_WEEK":
            moment = day - timedelta(days=(day.weekday() + 1) % 7)
        case "CALENDAR_MONTH":
            moment = day.replace(day=1)
    return int(moment.timestamp() * 1000)


def _end(budget: Mapping[str, Any]) -> datetime | None:
    """When the period of a budget ends; None for ever."""
    start = datetime.fromtimestamp(budget["start"] / 1000, UTC)
    match budget["type"]:
        case "CALENDAR_DAY":
            return start + timedelta(days=1)
        case "CALENDAR_WEEK":
            return start + timedelta(days=7)
        case "CALENDAR_MONTH":
            return (start + timedelta(days=32)).replace(day=1)
    return None

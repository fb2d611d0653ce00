"""Lists by page: what is looked for, and the statement that finds it by key, never by OFFSET."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from sqlalchemy import Column, ColumnElement, Table, and_, bindparam, func, or_, select

from modelyard.database import Query
from modelyard.jobs.model import DELETED, RESERVED, Owner

Item = TypeVar("Item")
Told = TypeVar("Told")

LAST_KEY = 2**63 - 1


class BadToken(ValueError):
    """A text that is no token of a page."""


def token(position: int | None) -> str | None:
    """A position as clients carry it from page to page."""
    return None if position is None else f"{position:x}"


def position(token: str | None) -> int | None:
    """The position of a token; BadToken, which shows it, for one that was not made here."""
    if token is None:
        return None
    if not 0 < len(token) <= 15 or not all(c in "0123456789abcdef" for c in token):
        raise BadToken(f"{token[:80]!r} is none of ours; repeat one from an answer")
    return int(token, 16)


@dataclass(frozen=True)
class Search:
    """Which rows of an owner's kind are wanted.

    contains: a part of the name. after, before: milliseconds since the epoch, exclusive. statuses: one or two.
    base, root: see `Resource`; jobs have neither. position: the key of the last row that was seen.
    """

    contains: str | None = None
    after: int | None = None
    before: int | None = None
    statuses: Sequence[str] = ()
    base: str | None = None
    root: str | None = None
    ascending: bool = False
    position: int | None = None
    limit: int = 100

    def parameters(self, owner: Owner, kind: str) -> dict[str, Any]:
        """The values for a `statement`: one row more than the limit tells whether there is another page."""
        start = 0 if self.ascending else LAST_KEY
        return {
            "account": owner.account,
            "region": owner.region,
            "kind": kind,
            "contains": self.contains,
            "after": self.after,
            "before": self.before,
            "one_status": self.statuses[0] if self.statuses else None,
            "other_status": self.statuses[-1] if self.statuses else None,
            "base": self.base,
            "root": self.root,
            "position": start if self.position is None else self.position,
            "limit": self.limit + 1,
        }


@dataclass(frozen=True)
class Page(Generic[Item]):
    """Some items in order, and the position to go on from; None on the last page."""

    items: Sequence[Item]
    following: int | None


OWNED = ("account", "region", "kind")
"""What every list of an owner's is by; the rest of a search may be given, or not."""


def filled(
    fetch: Callable[[Search], Page[Item]],
    looked: Search,
    told: Callable[[Item], Told | None],
    key: Callable[[Item], int],
) -> Page[Told]:
    """A page of what is `told` of items; None leaves one out, and others take its place.

    key: that of an item's row, from which the next page goes on.
    """
    items: list[Told] = []
    while True:
        page = fetch(looked)
        for found in page.items:
            if (item := told(found)) is None:
                continue
            items.append(item)
            if len(items) == looked.limit:
                more = found is not page.items[-1] or page.following is not None
                return Page(items, key(found) if more else None)
        if page.following is None:
            return Page(items, None)
        looked = replace(looked, position=page.following)


def statement(table: Table, columns: Sequence[Column[Any]], ascending: bool, by: Sequence[str] = OWNED) -> Query:
    """The query for `Search.parameters`, on a table of jobs or of resources; the columns `by` must be given."""
    c = table.c

    def if_given(name: str, condition: ColumnElement[bool]) -> ColumnElement[bool]:
        return or_(bindparam(name, type_=c.key.type).is_(None), condition)

    conditions = [
        *(c[name] == bindparam(name) for name in by),
        c.status != RESERVED,
        c.status != DELETED,
        c.key > bindparam("position") if ascending else c.key < bindparam("position"),
        if_given("contains", func.instr(c.name, bindparam("contains")) > 0),
        if_given("after", c.created > bindparam("after")),
        if_given("before", c.created < bindparam("before")),
        if_given("one_status", c.status.in_([bindparam("one_status"), bindparam("other_status")])),
        *(if_given(name, c[name] == bindparam(name)) for name in ("base", "root") if name in c and name not in by),
    ]
    order = c.key.asc() if ascending else c.key.desc()
    return Query(select(*columns).where(and_(*conditions)).order_by(order).limit(bindparam("limit")))

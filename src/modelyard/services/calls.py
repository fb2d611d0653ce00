"""What every service makes of a call, and of a request for a list."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from modelyard.jobs import listing
from modelyard.jobs.listing import Page, Search, filled
from modelyard.jobs.model import Job, Owner, Resource
from modelyard.wire.endpoint import Call
from modelyard.wire.errors import Fault

Item = TypeVar("Item")
Row = TypeVar("Row", Job, Resource)


def owner(call: Call) -> Owner:
    """Whose resources a call is about."""
    return Owner(call.account, call.region)


def moment(milliseconds: int) -> datetime:
    """A time of the core's as the wire has it."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def read_position(request: Mapping[str, Any], invalid: Callable[[str, str], Fault]) -> int | None:
    """Where a list goes on; what `invalid` says of the member, for a token that we did not give."""
    try:
        return listing.position(request.get("nextToken"))
    except listing.BadToken as bad:
        raise invalid("nextToken", str(bad)) from None


def next_token(position: int | None) -> str | None:
    """The token that goes on after a position."""
    return listing.token(position)


def listed(name: str, page: Page[Item], told: Callable[[Item], Any]) -> dict[str, Any]:
    """A page of a list as it is answered: under `name` what is `told` of each item."""
    return {name: [told(item) for item in page.items], "nextToken": next_token(page.following)}


def sifted(
    name: str, fetch: Callable[[Search], Page[Row]], looked: Search, told: Callable[[Row], Any]
) -> dict[str, Any]:
    """As `listed`; where None is told of a row it is left out, and others take its place."""
    page = filled(fetch, looked, told, lambda row: row.key)
    return {name: page.items, "nextToken": next_token(page.following)}

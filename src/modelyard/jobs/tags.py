"""Tags: words that users put on what they made. A resource is named by its ARN here."""

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, bindparam, delete, func, select
from sqlalchemy.dialects.sqlite import insert

from modelyard.database import Database, Query
from modelyard.tables import tags


class TooManyTags(Exception):
    """A resource would have more tags than it may."""


class Tags:
    """The tags of all resources. Whether the resource is there is the caller's to know."""

    MOST = 200
    """As many as one answer may list."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, resource: str) -> dict[str, str]:
        """Values by key, in the order of keys."""
        return dict(self._database.read(_OF, resource=resource))

    async def put(self, resource: str, values: Mapping[str, str]) -> None:
        """Adds tags, and gives those that are there already their new values; TooManyTags, or all of them."""
        await self._database.write(lambda connection: put(connection, resource, values))

    async def remove(self, resource: str, keys: Iterable[str]) -> None:
        """Takes tags off; one that is not there is off already."""
        gone = delete(tags).where(tags.c.resource == resource, tags.c.key.in_(list(keys)))
        await self._database.write(lambda connection: connection.execute(gone))


def put(connection: Connection, resource: str, values: Mapping[str, str]) -> None:
    """`Tags.put` within a transaction."""
    for key, value in values.items():
        row = insert(tags).values(resource=resource, key=key, value=value)
        connection.execute(row.on_conflict_do_update(set_={"value": value}))
    count = select(func.count()).select_from(tags).where(tags.c.resource == resource)
    if connection.execute(count).scalar_one() > Tags.MOST:
        raise TooManyTags(f"{resource} would have more than {Tags.MOST} tags")


def drop(connection: Connection, resource: str) -> None:
    """Forgets all tags of a resource that is gone, within a transaction."""
    connection.execute(delete(tags).where(tags.c.resource == resource))


_OF = Query(select(tags.c.key, tags.c.value).where(tags.c.resource == bindparam("resource")).order_by(tags.c.key))

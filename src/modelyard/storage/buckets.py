"""Buckets: whose they are. One that nobody owns is shared by all accounts until somebody is made its owner."""

import asyncio

from sqlalchemy import Delete, delete, select
from sqlalchemy.dialects.sqlite import Insert, insert

from modelyard.database import Database, Query
from modelyard.tables import buckets


class AccessDenied(Exception):
    """The bucket belongs to another account."""


class Buckets:
    """The owners of all buckets. Names are the same for all regions, as in S3.

    They are in the database, and remembered here: every request to S3 asks.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._owners: dict[str, str] = dict(database.read(_ALL))

    def owner(self, bucket: str) -> str | None:
        """The account that owns a bucket; None if it is shared, or not there."""
        return self._owners.get(bucket)

    def owned(self) -> dict[str, str]:
        """The owner of each bucket that has one."""
        return self._owners.copy()

    def check(self, bucket: str, account: str) -> None:
        """AccessDenied if the bucket is another account's."""
        if self.owner(bucket) not in (None, account):
            raise AccessDenied(f"bucket {bucket} belongs to another account")

    async def own(self, bucket: str, account: str, instead: bool = False) -> None:
        """Makes an account the owner of a bucket: of one that has none, or `instead` of whoever it has."""
        row = insert(buckets).values(name=bucket, account=account)
        keep, replace = row.on_conflict_do_nothing(), row.on_conflict_do_update(set_={"account": account})
        await self._change(replace if instead else keep)

    async def disown(self, bucket: str) -> None:
        """Forgets whose a bucket was: it is gone."""
        await self._change(delete(buckets).where(buckets.c.name == bucket))

    async def _change(self, statement: Insert | Delete) -> None:
        """Goes on if the caller is cancelled: what is remembered must be what is written."""

        async def change() -> None:
            await self._database.write(lambda connection: connection.execute(statement))
            self._owners = dict(self._database.read(_ALL))

        await asyncio.shield(asyncio.create_task(change()))


_ALL = Query(select(buckets.c.name, buckets.c.account))

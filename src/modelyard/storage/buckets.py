"""Buckets: whose they are. One that nobody owns is shared by all accounts until somebody is made its owner."""

from sqlalchemy import Connection, bindparam, delete, select
from sqlalchemy.dialects.sqlite import insert

from modelyard.database import Database, Query
from modelyard.tables import buckets


class AccessDenied(Exception):
    """The bucket belongs to another account."""


class Buckets:
    """The owners of all buckets. Names are the same for all regions, as in S3."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def owner(self, bucket: str) -> str | None:
        """The account that owns a bucket; None if it is shared, or not there."""
        rows = self._database.read(_OWNER, bucket=bucket)
        return rows[0][0] if rows else None

    def owned(self) -> dict[str, str]:
        """The owner of each bucket that has one."""
        return dict(self._database.read(_ALL))

    def check(self, bucket: str, account: str) -> None:
        """AccessDenied if the bucket is another account's."""
        if self.owner(bucket) not in (None, account):
            raise AccessDenied(f"bucket {bucket} belongs to another account")

    async def own(self, bucket: str, account: str, instead: bool = False) -> None:
        """Makes an account the owner of a bucket: of one that has none, or `instead` of whoever it has."""

        def work(connection: Connection) -> None:
            row = insert(buckets).values(name=bucket, account=account)
            keep, replace = row.on_conflict_do_nothing(), row.on_conflict_do_update(set_={"account": account})
            connection.execute(replace if instead else keep)

        await self._database.write(work)

    async def disown(self, bucket: str) -> None:
        """Forgets whose a bucket was: it is gone."""
        gone = delete(buckets).where(buckets.c.name == bucket)
        await self._database.write(lambda connection: connection.execute(gone))


_OWNER = Query(select(buckets.c.account).where(buckets.c.name == bindparam("bucket")))
_ALL = Query(select(buckets.c.name, buckets.c.account))

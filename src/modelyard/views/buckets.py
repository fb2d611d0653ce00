"""Buckets as JSON: those that the caller may use; the operator tells whose they are."""

from typing import Any

from modelyard.storage.base import Storage
from modelyard.storage.buckets import Buckets
from modelyard.storage.names import is_bucket
from modelyard.views.ask import Ask, Refused, Views


class BucketsView:
    """The pages over the buckets."""

    def __init__(self, buckets: Buckets, storage: Storage) -> None:
        self._buckets = buckets
        self._storage = storage
        self.views: Views = {"/-/buckets/": ("GET", self._list), "/-/buckets/own": ("POST", self._own)}

    async def _list(self, ask: Ask) -> Any:
        owned = self._buckets.owned()
        theirs = (None, ask.owner.account)
        names = [name for name in await self._storage.buckets() if owned.get(name) in theirs]
        return {"buckets": [{"name": name, "owner": owned.get(name)} for name in names]}

    async def _own(self, ask: Ask) -> Any:
        """Gives a bucket to an account."""
        bucket, account = ask.by_operator().required("bucket"), ask.required("account")
        if not is_bucket(bucket):
            raise Refused(400, f"bucket: {bucket[:80]!r} is no name of a bucket")
        if not (len(account) == 12 and account.isascii() and account.isdigit()):
            raise Refused(400, f"account: {account[:40]!r} is not twelve digits")
        await self._buckets.own(bucket, account, instead=True)
        return {"name": bucket, "owner": account}

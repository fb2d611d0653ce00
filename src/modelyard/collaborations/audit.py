"""The audit log: what was done with an account's data and models, by whom, under which rule, and what left."""

from dataclasses import dataclass, fields

from sqlalchemy import Connection, bindparam, insert, or_, select

from modelyard.database import Database, Query
from modelyard.jobs.listing import LAST_KEY, Page
from modelyard.jobs.store import now
from modelyard.tables import audit


@dataclass(frozen=True)
class Entry:
    """One use of what an account brought into a collaboration.

    collaboration: its id. account: whose data or model was used. actor: the account that used it.
    action: "query", "training", "inference", "export", "delivery", "refused", "deleted" …
    subject: the ARN or id of the job, channel or query. used: the name of the table, or the model's ARN.
    rule: which rule allowed or refused it, as a sentence. left: what left the room, and to whom; empty for nothing.
    amount, unit: how much left, such as 1200 "rows" or "bytes". time: milliseconds since the epoch.
    """

    collaboration: str
    account: str
    actor: str
    action: str
    subject: str
    used: str = ""
    rule: str = ""
    left: str = ""
    amount: int | None = None
    unit: str = ""
    time: int = 0


class Audit:
    """The entries of all accounts. Nothing changes or deletes one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, *entries: Entry) -> None:
        """Keeps entries, all or none."""
        await self._database.write(lambda connection: add(connection, *entries))

    def page(self, account: str, collaboration: str, position: int | None = None, limit: int = 100) -> Page[Entry]:
        """The newest entries before `position` about what the account brought, or did itself."""
        before = LAST_KEY if position is None else position
        asked = {"account": account, "collaboration": collaboration, "position": before, "limit": limit + 1}
        rows = self._database.read(_PAGE, **asked)
        entries = [Entry(*row[1:]) for row in rows[:limit]]
        return Page(entries, rows[limit - 1][0] if len(rows) > limit else None)


def add(connection: Connection, *entries: Entry) -> None:
    """`Audit.record` within a transaction; an entry without a time gets the present."""
    if entries:
        rows = [{**{name: getattr(one, name) for name in _NAMES}, "time": one.time or now()} for one in entries]
        connection.execute(insert(audit), rows)


_NAMES = [field.name for field in fields(Entry)]
_PAGE = Query(
    select(audit.c.key, *(audit.c[name] for name in _NAMES))
    .where(audit.c.collaboration == bindparam("collaboration"), audit.c.key < bindparam("position"))
    .where(or_(audit.c.account == bindparam("account"), audit.c.actor == bindparam("account")))
    .order_by(audit.c.key.desc())
    .limit(bindparam("limit"))
)

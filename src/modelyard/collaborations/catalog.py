"""The small catalog of Modelyard's own: what an account has named a table, in databases as Glue has them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelyard.collaborations.tables import Location
from modelyard.jobs.listing import Search
from modelyard.jobs.model import NotFound, Owner, Resource
from modelyard.jobs.resources import Resources, new

KIND = "catalog table"
_ACTIVE = "ACTIVE"
_MOST = 10_000


@dataclass(frozen=True)
class Entry:
    """A table of the catalog."""

    database: str
    table: str
    location: Location


class Catalog:
    """The catalogs of all accounts: each sees its own alone. Names are told apart without their case, as in Glue."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    async def add(
        self,
        owner: Owner,
        database: str,
        table: str,
        uri: str,
        format: str,
        columns: Mapping[str, str],
        options: Mapping[str, Any] | None = None,
    ) -> Entry:
        """Names a folder or a file, for which the name stands from now on, whatever it stood for before."""
        document = {
            "database": database,
            "table": table,
            "uri": uri,
            "format": format,
            "columns": dict(columns),
            "options": dict(options or {}),
        }
        try:
            kept = await self._resources.change(self._row(owner, database, table), document=document)
        except NotFound:
            name = _name(database, table)
            kept = await self._resources.create(new(owner, KIND, name, name, _ACTIVE, document))
        return _entry(kept)

    def find(self, owner: Owner, database: str, table: str) -> Location | None:
        """Where the account's table of that name lies, if it has one."""
        try:
            return _entry(self._row(owner, database, table)).location
        except NotFound:
            return None

    def list(self, owner: Owner) -> Sequence[Entry]:
        """The account's tables, the oldest first."""
        page = self._resources.page(owner, KIND, Search(ascending=True, limit=_MOST))
        return [_entry(one) for one in page.items]

    async def remove(self, owner: Owner, database: str, table: str) -> Entry:
        """Forgets a name, and leaves the data; configured tables stay as they are. NotFound if there is none."""
        row = self._row(owner, database, table)
        await self._resources.delete(row)
        return _entry(row)

    def _row(self, owner: Owner, database: str, table: str) -> Resource:
        return self._resources.get(owner, KIND, _name(database, table))


def _name(database: str, table: str) -> str:
    return f"{database}.{table}".lower()


def _entry(row: Resource) -> Entry:
    facts = row.document
    location = Location(
        uri=facts["uri"],
        format=facts["format"],
        columns=facts["columns"],
        owner=row.owner.account,
        options=facts["options"],
    )
    return Entry(facts["database"], facts["table"], location)

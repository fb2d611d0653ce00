"""The small catalog of tables: each account sees, adds and removes its own."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from modelyard.collaborations.catalog import Catalog, Entry
from modelyard.collaborations.schemas import NoSchema, Schema, read_schema
from modelyard.collaborations.tables import FORMATS
from modelyard.jobs.model import NotFound
from modelyard.storage.base import Storage
from modelyard.storage.buckets import AccessDenied, Buckets
from modelyard.storage.names import ObjectError, parts
from modelyard.views.ask import Ask, Refused, Views

_NAME = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_-]{0,127})\.([A-Za-z0-9_][A-Za-z0-9_-]{0,127})")


class TablesView:
    """The pages over the catalog. A table's schema is read from its files, which must be within its owner's reach."""

    def __init__(self, catalog: Catalog, buckets: Buckets, storage: Storage) -> None:
        self._catalog = catalog
        self._buckets = buckets
        self._storage = storage
        self.views: Views = {
            "/-/tables/": ("GET", self._list),
            "/-/tables/add": ("POST", self._add),
            "/-/tables/remove": ("POST", self._remove),
        }

    def _list(self, ask: Ask) -> Any:
        return {"tables": [_described(one) for one in self._catalog.list(ask.owner)]}

    async def _add(self, ask: Ask) -> Any:
        database, table = _name(ask)
        uri, format = ask.required("uri").rstrip("/"), ask.query.get("format")
        if format not in (None, *FORMATS):
            raise Refused(400, f"format: {format[:40]!r} is none of {', '.join(FORMATS)}")
        schema = await self._schema(ask, uri, format)
        kept = await self._catalog.add(
            ask.owner, database, table, uri, schema.format, schema.columns, dict(schema.options)
        )
        return _described(kept)

    async def _remove(self, ask: Ask) -> Any:
        database, table = _name(ask)
        try:
            return _described(await self._catalog.remove(ask.owner, database, table))
        except NotFound:
            known = ", ".join(f"{one.database}.{one.table}" for one in self._catalog.list(ask.owner)) or "none"
            raise Refused(404, f"There is no table {database}.{table}; there are: {known[:1000]}") from None

    async def _schema(self, ask: Ask, uri: str, format: str | None) -> Schema:
        try:
            self._buckets.check(parts(uri)[0], ask.owner.account)
            with TemporaryDirectory() as folder:
                path = await self._storage.fetch(uri, Path(folder) / "table")
                return await read_schema(path, format)
        except (AccessDenied, ObjectError, NoSchema) as error:
            raise Refused(400, f"{uri[:1000]} is no table: {error}") from None


def _name(ask: Ask) -> tuple[str, str]:
    """Database and table that are asked for."""
    name = ask.required("name")
    found = _NAME.fullmatch(name)
    if not found:
        raise Refused(400, f"name: {name[:80]!r} is not of the form database.table, of letters, digits, _ and -")
    return found[1], found[2]


def _described(entry: Entry) -> dict[str, Any]:
    location = entry.location
    return {
        "database": entry.database,
        "table": entry.table,
        "uri": location.uri,
        "format": location.format,
        "columns": location.columns,
        "options": location.options,
    }

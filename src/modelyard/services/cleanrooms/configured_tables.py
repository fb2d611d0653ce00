"""Configured tables: an account's tables in a catalog, and the columns of them that collaborations may ever see.

https://docs.aws.amazon.com/clean-rooms/latest/apireference/API_CreateConfiguredTable.html
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from modelyard.collaborations import arns
from modelyard.collaborations.glue import GlueError
from modelyard.collaborations.tables import ASSOCIATION, CONFIGURED_TABLE, Location
from modelyard.jobs import resources
from modelyard.jobs.model import NotFound, Owner, Resource
from modelyard.services.calls import listed, moment, owner
from modelyard.services.cleanrooms.backend import Backend, conflict, invalid, not_found, search, tags_of
from modelyard.services.cleanrooms.policies import check_columns
from modelyard.storage.buckets import AccessDenied
from modelyard.storage.names import ObjectError, parts
from modelyard.wire.endpoint import Call, quick

ACTIVE = "ACTIVE"
CHANGED = ("name", "description")
SHOWN = ("arn", "name", "description", "tableReference", "allowedColumns", "analysisMethod", "selectedAnalysisMethods")


class ConfiguredTables:
    """The operations on configured tables, each of which its owner alone sees."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def create(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Looks the table up in the catalog, and keeps where it lies."""
        _check_method(request)
        location = await self._location(call, request["tableReference"])
        _check_allowed(request["allowedColumns"], location["columns"])
        id = arns.new_id()
        document = {
            **{member: request[member] for member in SHOWN if member in request},
            "arn": arns.configured_table(owner(call), id),
            "location": location,
        }
        made = resources.new(owner(call), CONFIGURED_TABLE, id, None, ACTIVE, document)
        return {"configuredTable": _described(await self._backend.resources.create(made, tagged=tags_of(request)))}

    @quick
    def get(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """One table of the caller's."""
        return {"configuredTable": _described(self.own(call, request))}

    @quick
    def list(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A page of the caller's tables."""
        page = self._backend.resources.page(owner(call), CONFIGURED_TABLE, search(request))
        return listed("configuredTableSummaries", page, _summary)

    async def update(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Changes a table; its columns and their types are read from the catalog again."""
        found = self.own(call, request)
        _check_method(request)
        values = {member: request[member] for member in SHOWN if member in request}
        values["location"] = await self._location(call, request.get("tableReference", found.document["tableReference"]))

        def edit(document: Mapping[str, Any]) -> Mapping[str, Any]:
            changed = {**document, **values}
            _check_allowed(changed["allowedColumns"], changed["location"]["columns"])
            if rule := changed.get("rule"):
                check_columns(rule["policy"], changed["allowedColumns"], "allowedColumns")
            return changed

        return {"configuredTable": _described(await self._backend.resources.edit(found, edit))}

    async def delete(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Forgets a table that no collaboration has any more."""
        found = self.own(call, request)

        def within(connection: Connection) -> None:
            using = [
                one.document["arn"]
                for one in resources.owned(connection, found.owner, ASSOCIATION)
                if one.document["configuredTableId"] == found.id
            ]
            if using:
                reason = f"Configured table {found.id} is associated as {', '.join(using[:5])}; delete that first"
                raise conflict(reason, "SUBRESOURCES_EXIST", "CONFIGURED_TABLE", found.id)

        await self._backend.resources.delete(found, within=within)
        return {}

    def own(self, call: Call, request: Mapping[str, Any]) -> Resource:
        """The caller's table that a request names; else a Fault."""
        id = request["configuredTableIdentifier"]
        try:
            return self._backend.resources.get(owner(call), CONFIGURED_TABLE, id)
        except NotFound:
            raise not_found(call, "CONFIGURED_TABLE", "configured table", id) from None

    async def _location(self, call: Call, reference: Mapping[str, Any]) -> dict[str, Any]:
        """Where the table lies that a catalog knows by the reference, as it is kept; a Fault for one out of reach."""
        if "glue" not in reference:
            raise invalid("tableReference", f"{', '.join(reference)} is not served; glue is")
        database, table = reference["glue"]["databaseName"], reference["glue"]["tableName"]
        where = Owner(call.account, reference["glue"].get("region", call.region))
        found = await self._look_up(where, database, table)
        if found is None:
            way = f"modelyard tables add {database}.{table} s3://bucket/folder makes it known"
            raise invalid("tableReference.glue", f"no catalog has a table {database}.{table}; {way}")
        bucket, _ = parts(found.uri)
        try:
            self._backend.buckets.check(bucket, call.account)
            there = await self._backend.storage.kind(found.uri)
        except (AccessDenied, ObjectError) as error:
            raise invalid("tableReference.glue", f"{database}.{table} cannot be read: {error}") from None
        if there is None:
            raise invalid("tableReference.glue", f"{database}.{table} is to lie at {found.uri}, where nothing is")
        return {"uri": found.uri, "format": found.format, "columns": dict(found.columns), "options": found.options}

    async def _look_up(self, where: Owner, database: str, table: str) -> Location | None:
        """What the account's catalogs of a region know: our own comes first, then Glue."""
        if found := self._backend.catalog.find(where, database, table):
            return found
        if self._backend.glue is None:
            return None
        try:
            return await self._backend.glue.find(where, database, table)
        except GlueError as error:
            raise invalid("tableReference.glue", f"{database}.{table}: {error}") from None


def rule_types(document: Mapping[str, Any]) -> list[str]:
    """The types of the rules that a table or an association has."""
    return [document["rule"]["type"]] if document.get("rule") else []


def _check_method(request: Mapping[str, Any]) -> None:
    """A Fault unless the table is for queries: PySpark jobs are not served."""
    if request.get("analysisMethod", "DIRECT_QUERY") != "DIRECT_QUERY" or "selectedAnalysisMethods" in request:
        raise invalid("analysisMethod", "only DIRECT_QUERY is served, without selectedAnalysisMethods")


def _check_allowed(allowed: Sequence[str], columns: Mapping[str, str]) -> None:
    """A Fault unless all allowed columns are there, each once. The catalog may write them in another case."""
    known = [name.lower() for name in columns]
    for name in allowed:
        if known.count(name) != 1:
            problem = "is not unique there without its case" if name in known else "is none of the table's columns"
            raise invalid("allowedColumns", f"{name} {problem}: {', '.join(columns)[:1000]}")
    if len({*allowed}) < len(allowed):
        raise invalid("allowedColumns", "a column is named twice")


def _summary(found: Resource) -> dict[str, Any]:
    document = found.document
    return {
        "id": found.id,
        "arn": document["arn"],
        "name": document["name"],
        "createTime": moment(found.created),
        "updateTime": moment(found.updated),
        "tableType": "GLUE",
        "analysisRuleTypes": rule_types(document),
        "analysisMethod": document["analysisMethod"],
    }


def _described(found: Resource) -> dict[str, Any]:
    return {**_summary(found), **{member: found.document.get(member) for member in SHOWN}}

"""Queries over the members' tables: what the rules say of one, and the stage that runs it."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from modelyard.analysis.model import Allowed, Analysis, Parameter, Purpose, Refused, Table, Template
from modelyard.collaborations import arns, budgets
from modelyard.collaborations.model import MEMBERSHIP, Collaboration, Membership
from modelyard.collaborations.parties import Parties
from modelyard.collaborations.tables import Location, Tables
from modelyard.engines.base import TaskSpec
from modelyard.jobs import resources
from modelyard.jobs.model import NotFound, Resource, Stage
from modelyard.jobs.resources import Resources
from modelyard.storage.buckets import AccessDenied, Buckets
from modelyard.storage.names import parts

TEMPLATE = "analysis template"
QUERY_SECONDS = 12 * 60 * 60
"""AWS's own limit of a query."""
SPARE_SECONDS = 60
"""How much longer the task would go on by itself: who looks after it ends it, and knows why."""
SHARD_ROWS = 250_000
CORES = 8
"""As many as a query keeps busy at most: on a large machine others get their turn."""


@dataclass(frozen=True)
class Judged:
    """A query that every rule lets through, and what that rests on.

    tables, locations: those that it reads, by name. rests_on: the rows that were looked at.
    """

    collaboration: Collaboration
    allowed: Allowed
    tables: Mapping[str, Table]
    locations: Mapping[str, Location]
    rests_on: Sequence[Resource]

    def accept(self, connection: Connection) -> None:
        """Spends the budgets of its tables, in the transaction that accepts it. BudgetSpent, or Refused if a rule,
        a table or a membership has changed meanwhile.
        """
        for one in self.rests_on:
            try:
                now = resources.row(connection, one.owner, one.kind, one.id)
            except NotFound:
                now = None
            if now is None or (now.status, now.document) != (one.status, one.document):
                raise Refused("CHANGED", "The tables or their rules were changed while the query was judged; ask again")
        budgets.spend(connection, self.collaboration, self.allowed.tables)


class Queries:
    """Judges the queries of members by the rules of all tables that they name."""

    def __init__(self, resources: Resources, parties: Parties, tables: Tables, buckets: Buckets) -> None:
        self._resources = resources
        self._parties = parties
        self._tables = tables
        self._buckets = buckets

    async def judge(
        self,
        membership: Membership,
        parameters: Mapping[str, Any],
        purpose: Purpose,
        receivers: Sequence[str] = (),
        model_association: str | None = None,
    ) -> Judged:
        """What the rules say; Refused if one says no.

        parameters: AWS's `sqlParameters`: a queryString, or an analysisTemplateArn and its parameters. See `Analysis`
        for the rest.
        """
        from modelyard.analysis.check import check  # sqlglot is for those who ask

        collaboration = membership.collaboration
        associations = {one.document["name"]: one for one in self._tables.associations(collaboration)}
        tables = {name: self._tables.table(one) for name, one in associations.items()}
        locations = {name: self._tables.place(one) for name, one in associations.items()}
        analysis, template = self._analysis(membership, parameters, purpose, receivers, model_association)
        rests_on = {name: self._rows(one) for name, one in associations.items()}
        asker = self._resources.get(membership.owner, MEMBERSHIP, membership.id)
        allowed = await asyncio.to_thread(check, analysis, tables)
        for name in allowed.tables:
            self._check_bucket(name, locations[name])
        return Judged(
            collaboration=collaboration,
            allowed=allowed,
            tables={name: tables[name] for name in allowed.tables},
            locations={name: locations[name] for name in allowed.tables},
            rests_on=[asker, *template, *(row for name in allowed.tables for row in rests_on[name])],
        )

    def _rows(self, association: Resource) -> Sequence[Resource]:
        """What lets a table be queried: its association, its configuration, and its owner's part."""
        membership = self._resources.get(association.owner, MEMBERSHIP, association.document["membershipId"])
        return [association, self._tables.configured(association), membership]

    def _analysis(
        self,
        membership: Membership,
        parameters: Mapping[str, Any],
        purpose: Purpose,
        receivers: Sequence[str],
        model_association: str | None,
    ) -> tuple[Analysis, Sequence[Resource]]:
        """The analysis that is asked for, and the row of its template, if it has one."""
        text, arn = parameters.get("queryString"), parameters.get("analysisTemplateArn")
        if (text is None) == (arn is None):
            raise Refused("SYNTAX", "sqlParameters needs either queryString or analysisTemplateArn, and not both")
        template, rows = None, []
        if arn is not None:
            found = self.template(membership.collaboration, arn)
            if found is None:
                raise Refused("UNKNOWN_TEMPLATE", f"There is no analysis template {arn[:200]!r} in this collaboration")
            text, rows = found.document["source"]["text"], [found]
            declared = {one["name"]: _parameter(one) for one in found.document.get("analysisParameters", ())}
            template = Template(arn, found.owner.account, declared)
        assert text is not None
        analysis = Analysis(
            sql=text,
            asker=membership.owner.account,
            purpose=purpose,
            receivers=receivers,
            model_association=model_association,
            template=template,
            values=parameters.get("parameters", {}),
        )
        return analysis, rows

    def template(self, collaboration: Collaboration, text: str) -> Resource | None:
        """The analysis template with this ARN, if an active member of the collaboration has made it for that."""
        arn = arns.parse(text)
        if arn is None:
            return None
        try:
            found = self._resources.get(arn.owner, TEMPLATE, arn.id)
        except NotFound:
            return None
        theirs = self._parties.of_account(collaboration, arn.owner.account)
        known = theirs is not None and found.document["arn"] == text and found.base == theirs.arn
        return found if known else None

    def _check_bucket(self, name: str, location: Location) -> None:
        bucket, _ = parts(location.uri)
        try:
            self._buckets.check(bucket, location.owner)
        except AccessDenied:
            reason = f"The data of table {name} lies in a bucket that belongs to another account than the table"
            raise Refused("LOCATION_NOT_OWNED", reason, name) from None


def query_stage(
    run: str,
    allowed: Allowed,
    tables: Mapping[str, Location],
    format: str,
    publish: str,
    slots: int,
    shard_rows: int | None = SHARD_ROWS,
) -> Stage:
    """The stage "query", which puts shards of `format` (CSV or PARQUET) under `publish`.

    tables: where each table lies that the query reads, by its name; only its allowed columns exist for the query.
    shard_rows: of each file; None writes one file. The result is {"records", "files", "bytes", "columns"}.
    """
    parameters = {
        "sql": allowed.sql,
        "values": allowed.values,
        "format": format,
        "tables": {name: _described(tables[name]) for name in allowed.tables},
        "memory": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2,
        "seconds": QUERY_SECONDS + SPARE_SECONDS,
        "shard_rows": shard_rows,
        "header": True,
    }
    inputs = {name: tables[name].uri for name in allowed.tables}
    spec = TaskSpec("modelyard.workloads.cleanroom.query:run", parameters, inputs, cores=min(slots, CORES))
    return Stage("query", run, spec, publish=publish, timeout=QUERY_SECONDS)


def _described(location: Location) -> dict[str, Any]:
    """A table as the task is told of it, and as whoever asked may see it: no name of a column that is not allowed.

    CSV needs a type for each of its columns, hence such a column is called by its number there.
    """
    columns, partitions = {}, location.options.get("partitions", ())
    for number, (name, type) in enumerate(location.columns.items(), 1):
        if name.lower() in location.allowed:
            columns[name] = type
        elif location.format == "csv" and name not in partitions:
            columns[f"({number})"] = type
    options = {**location.options, "partitions": [name for name in partitions if name in columns]}
    return {"format": location.format, "columns": columns, "allowed": location.allowed, **options}


def _parameter(declared: Mapping[str, str]) -> Parameter:
    return Parameter(declared["type"], declared.get("defaultValue"))

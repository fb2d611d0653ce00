"""The tables of a collaboration: what each active member has associated, as queries see it and where it lies.

A configured table belongs to an account and is the same in all its collaborations: its columns, its rule, and where its
data lies. An association brings it into one collaboration, under the name that it has in SQL there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from modelyard.analysis.model import Table
from modelyard.collaborations.model import Collaboration
from modelyard.collaborations.parties import Parties
from modelyard.jobs.listing import Search
from modelyard.jobs.model import Resource
from modelyard.jobs.resources import Resources

CONFIGURED_TABLE = "configured table"
ASSOCIATION = "configured table association"
FORMATS = ("csv", "parquet", "jsonl")
MOST = 1000
"""Associations that a collaboration can have."""


@dataclass(frozen=True)
class Location:
    """Where a table's data lies.

    uri: a folder or a file, `s3://`. format: one of FORMATS. columns: all of them, in order, with DuckDB's types.
    owner: the account whose table it is. options: of CSV, `header` (bool) and `delimiter` (str); where the names of
    folders are `name=value`, `partitions`, which lists those columns.
    allowed: the columns that exist for queries, in lower case; columns of the files differ in their case at most.
    """

    uri: str
    format: str
    columns: Mapping[str, str]
    owner: str
    options: Mapping[str, Any] = field(default_factory=dict)
    allowed: Sequence[str] = ()


class Tables:
    """The tables of all collaborations. Those of members that have left or were removed are gone at once."""

    def __init__(self, resources: Resources, parties: Parties) -> None:
        self._resources = resources
        self._parties = parties

    def associations(self, collaboration: Collaboration) -> Sequence[Resource]:
        """The associations of all active members, the oldest first."""
        active = {membership.arn for membership in self._parties.memberships(collaboration)}
        search = Search(root=collaboration.arn, ascending=True, limit=MOST)
        page = self._resources.page_under(collaboration.region, ASSOCIATION, search)
        return [one for one in page.items if one.base in active]

    def association(self, name: str, collaboration: Collaboration) -> Resource:
        """The association of that name; KeyError if no active member has one."""
        for one in self.associations(collaboration):
            if one.document["name"] == name:
                return one
        raise KeyError(name)

    def configured(self, association: Resource) -> Resource:
        """The configured table behind an association, which cannot go while it is there."""
        return self._resources.get(association.owner, CONFIGURED_TABLE, association.document["configuredTableId"])

    def of(self, collaboration: Collaboration) -> Mapping[str, Table]:
        """What queries may name, by that name: with the allowed columns alone, and the rules."""
        return {one.document["name"]: self.table(one) for one in self.associations(collaboration)}

    def table(self, association: Resource) -> Table:
        """One table, as queries see it."""
        configured, document = self.configured(association), association.document
        columns = {name.lower(): type for name, type in configured.document["location"]["columns"].items()}
        return Table(
            name=document["name"],
            owner=association.owner.account,
            columns={name: columns[name] for name in configured.document["allowedColumns"]},
            rule=flat(configured.document.get("rule")),
            association_rule=flat(document.get("rule")),
            arn=document["arn"],
        )

    def location(self, name: str, collaboration: Collaboration) -> Location:
        """Where the table of that name lies; KeyError if no active member has one."""
        return self.place(self.association(name, collaboration))

    def place(self, association: Resource) -> Location:
        """Where one table lies."""
        document = self.configured(association).document
        return Location(
            **document["location"], owner=association.owner.account, allowed=tuple(document["allowedColumns"])
        )


def flat(rule: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """A rule as it is kept, `{"type", "policy"}`, as the members of its policy beside its type."""
    if rule is None:
        return None
    (members,) = rule["policy"]["v1"].values()
    return {"type": rule["type"], **members}

"""Associations: a configured table in one collaboration, under its name in SQL there.

https://docs.aws.amazon.com/clean-rooms/latest/apireference/API_CreateConfiguredTableAssociation.html
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from modelyard.collaborations import arns, budgets, parties
from modelyard.collaborations.model import Membership
from modelyard.collaborations.tables import ASSOCIATION
from modelyard.jobs import resources
from modelyard.jobs.model import Resource
from modelyard.services.calls import listed, moment, owner
from modelyard.services.cleanrooms.backend import Backend, check_role, conflict, search, tags_of
from modelyard.services.cleanrooms.configured_tables import ACTIVE, ConfiguredTables, rule_types
from modelyard.wire.endpoint import Call, quick

CHANGED = ("description", "roleArn")


class TableAssociations:
    """The operations on associations, each of which its member alone changes."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._tables = ConfiguredTables(backend)

    async def create(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Brings a table of the caller's into a collaboration; queries need an analysis rule for it as well."""
        membership = self._backend.parties.active(owner(call), request["membershipIdentifier"])
        check_role(call, "roleArn", request["roleArn"])
        table, id, name = self._tables.own(call, request), arns.new_id(), request["name"]
        document = {
            "arn": arns.table_association(owner(call), membership.id, id),
            "name": name,
            "membershipId": membership.id,
            "configuredTableId": table.id,
            **{member: request[member] for member in CHANGED if member in request},
        }

        def within(connection: Connection) -> None:
            parties.require(connection, membership)
            for other in resources.rooted(connection, ASSOCIATION, membership.collaboration.arn):
                if other.document["name"].lower() == name.lower():
                    reason = f"This collaboration has a table called {other.document['name']} already"
                    raise conflict(reason, "ALREADY_EXISTS", "CONFIGURED_TABLE_ASSOCIATION", name)

        made = resources.new(
            owner(call), ASSOCIATION, id, None, ACTIVE, document, membership.arn, membership.collaboration.arn
        )
        kept = await self._backend.resources.create(made, needs=table, tagged=tags_of(request), within=within)
        return {"configuredTableAssociation": self._described(kept, membership)}

    @quick
    def get(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """One association of the caller's."""
        found, membership = self.own(call, request)
        return {"configuredTableAssociation": self._described(found, membership)}

    @quick
    def list(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A page of the associations in a membership of the caller's."""
        membership = self._backend.parties.membership(owner(call), request["membershipIdentifier"])
        page = self._backend.resources.page(owner(call), ASSOCIATION, search(request, base=membership.arn))
        return listed("configuredTableAssociationSummaries", page, lambda one: self._summary(one, membership))

    async def update(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Gives an association another description or role."""
        found, membership = self.own(call, request)
        values = {member: request[member] for member in CHANGED if member in request}
        if "roleArn" in values:
            check_role(call, "roleArn", values["roleArn"])
        changed = await self._backend.resources.edit(found, lambda document: {**document, **values})
        return {"configuredTableAssociation": self._described(changed, membership)}

    async def delete(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Takes a table out of a collaboration, with the association's rule."""
        found, _ = self.own(call, request)

        def within(connection: Connection) -> None:
            for budget in resources.owned(connection, found.owner, budgets.TEMPLATE):
                if budget.document["association"] == found.id:
                    reason = f"Association {found.id} has the budget template {budget.id}; delete that first"
                    raise conflict(reason, "SUBRESOURCES_EXIST", "CONFIGURED_TABLE_ASSOCIATION", found.id)

        await self._backend.resources.delete(found, within=within)
        return {}

    def own(self, call: Call, request: Mapping[str, Any]) -> tuple[Resource, Membership]:
        """The caller's association that a request names, and its membership; else a Fault."""
        id = request["configuredTableAssociationIdentifier"]
        return self._backend.in_membership(
            call, request, ASSOCIATION, id, "configured table association", "CONFIGURED_TABLE_ASSOCIATION"
        )

    def _described(self, found: Resource, membership: Membership) -> dict[str, Any]:
        return {
            **self._summary(found, membership),
            "configuredTableArn": arns.configured_table(found.owner, found.document["configuredTableId"]),
            **{member: found.document.get(member) for member in CHANGED},
        }

    def _summary(self, found: Resource, membership: Membership) -> dict[str, Any]:
        return {
            "id": found.id,
            "arn": found.document["arn"],
            "name": found.document["name"],
            "configuredTableId": found.document["configuredTableId"],
            "membershipId": membership.id,
            "membershipArn": membership.arn,
            "createTime": moment(found.created),
            "updateTime": moment(found.updated),
            "analysisRuleTypes": rule_types(self._backend.tables.configured(found).document),
        }

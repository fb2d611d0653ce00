"""Schemas: what every active member may know of a collaboration's tables, and whether they can be queried yet.

https://docs.aws.amazon.com/clean-rooms/latest/apireference/API_GetSchema.html
"""

from collections.abc import Mapping
from typing import Any

from modelyard.analysis.gates import readiness
from modelyard.analysis.model import Purpose
from modelyard.collaborations.column_types import glue_type
from modelyard.collaborations.model import Collaboration
from modelyard.jobs.listing import LAST_KEY
from modelyard.jobs.model import Resource
from modelyard.services.calls import moment, next_token
from modelyard.services.cleanrooms.backend import Backend, not_found, search
from modelyard.services.cleanrooms.configured_tables import rule_types
from modelyard.wire.endpoint import Call, quick
from modelyard.wire.errors import Fault


class Schemas:
    """The operations on schemas: nothing here is changed."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @quick
    def list(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A page of the tables of all active members, newest first."""
        collaboration = self._backend.collaboration(call, request)
        looked = search(request)
        before = LAST_KEY if looked.position is None else looked.position
        found = [one for one in reversed(self._backend.tables.associations(collaboration)) if one.key < before]
        if request.get("schemaType", "TABLE") != "TABLE":
            found = []
        page = found[: looked.limit]
        return {
            "schemaSummaries": [self._summary(one, collaboration) for one in page],
            "nextToken": next_token(page[-1].key if len(found) > looked.limit else None),
        }

    @quick
    def get(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A table: its allowed columns, and what keeps it from being queried."""
        collaboration = self._backend.collaboration(call, request)
        return {"schema": self._described(self._found(call, collaboration, request["name"]), collaboration)}

    @quick
    def batch_get(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Several tables, and an error for each that is not there."""
        collaboration = self._backend.collaboration(call, request)
        schemas, errors = [], []
        for name in request["names"]:
            try:
                schemas.append(self._described(self._found(call, collaboration, name), collaboration))
            except Fault as fault:
                errors.append({"name": name, "code": fault.code, "message": fault.message})
        return {"schemas": schemas, "errors": errors}

    @quick
    def get_rule(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A table's rule, its association's, and both as one."""
        collaboration = self._backend.collaboration(call, request)
        return {"analysisRule": self._rule(call, collaboration, request["name"], request["type"])}

    @quick
    def batch_get_rules(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """The rules of several tables, and an error for each that is not there."""
        collaboration = self._backend.collaboration(call, request)
        rules, errors = [], []
        for asked in request["schemaAnalysisRuleRequests"]:
            try:
                rules.append(self._rule(call, collaboration, asked["name"], asked["type"]))
            except Fault as fault:
                errors.append({**asked, "code": fault.code, "message": fault.message})
        return {"analysisRules": rules, "errors": errors}

    def _found(self, call: Call, collaboration: Collaboration, name: str) -> Resource:
        try:
            return self._backend.tables.association(name, collaboration)
        except KeyError:
            what = f"table in collaboration {collaboration.id} called"
            raise not_found(call, "CONFIGURED_TABLE_ASSOCIATION", what, name) from None

    def _rule(self, call: Call, collaboration: Collaboration, name: str, type: str) -> dict[str, Any]:
        association = self._found(call, collaboration, name)
        rule = self._backend.tables.configured(association).document.get("rule")
        if rule is None or rule["type"] != type:
            what = f"analysis rule of type {type} for table"
            raise not_found(call, "CONFIGURED_TABLE_ASSOCIATION", what, name)
        shared = association.document.get("rule")
        together = shared if shared and shared["type"] == type else None
        return {
            "collaborationId": collaboration.id,
            "type": type,
            "name": name,
            "createTime": moment(rule["created"]),
            "updateTime": moment(max(rule["updated"], shared["updated"] if shared else 0)),
            "policy": rule["policy"],
            "collaborationPolicy": shared["policy"] if shared else None,
            "consolidatedPolicy": _consolidated(rule["policy"], together["policy"]) if together else None,
        }

    def _described(self, association: Resource, collaboration: Collaboration) -> dict[str, Any]:
        table = self._backend.tables.table(association)
        columns = [{"name": name, "type": glue_type(type)} for name, type in table.columns.items()]
        partitions = [name.lower() for name in self._backend.tables.place(association).options.get("partitions", ())]
        return {
            **self._summary(association, collaboration),
            "columns": columns,
            "partitionKeys": [one for one in columns if one["name"] in partitions],
            "description": association.document.get("description", ""),
            "schemaStatusDetails": [self._status(association, collaboration, purpose) for purpose in Purpose],
            "schemaTypeProperties": {"configuredTableAssociation": {"configuredTableAssociationId": association.id}},
        }

    def _status(self, association: Resource, collaboration: Collaboration, purpose: Purpose) -> dict[str, Any]:
        table = self._backend.tables.table(association)
        reasons = [{"code": code, "message": message} for code, message in readiness(table, purpose)]
        return {
            "status": "NOT_READY" if reasons else "READY",
            "reasons": reasons or None,
            "analysisRuleType": table.rule["type"] if table.rule else None,
            "analysisType": purpose.value,
        }

    def _summary(self, association: Resource, collaboration: Collaboration) -> dict[str, Any]:
        configured = self._backend.tables.configured(association)
        return {
            "name": association.document["name"],
            "type": "TABLE",
            "creatorAccountId": association.owner.account,
            "createTime": moment(association.created),
            "updateTime": moment(max(association.updated, configured.updated)),
            "collaborationId": collaboration.id,
            "collaborationArn": collaboration.arn,
            "analysisRuleTypes": rule_types(configured.document),
            "analysisMethod": configured.document["analysisMethod"],
            "resourceArn": association.document["arn"],
        }


def _consolidated(policy: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """A table's policy with the members of the association's, both of one type."""
    ((type, rule),) = policy["v1"].items()
    return {"v1": {type: {**rule, **shared["v1"][type]}}}

"""Analysis templates: queries that a member wrote, and that the owners of tables can allow by name.

https://docs.aws.amazon.com/clean-rooms/latest/apireference/API_CreateAnalysisTemplate.html
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from modelyard.analysis.model import Analysis, Parameter, Purpose, Refused, Template
from modelyard.collaborations import arns, parties
from modelyard.collaborations.model import Collaboration, Membership
from modelyard.collaborations.queries import TEMPLATE
from modelyard.jobs import resources
from modelyard.jobs.model import Resource
from modelyard.services.calls import listed, moment, next_token, owner
from modelyard.services.cleanrooms.backend import Backend, invalid, not_found, search, tags_of
from modelyard.services.cleanrooms.configured_tables import ACTIVE
from modelyard.wire.endpoint import Call, quick

KEPT = ("name", "description", "format", "source", "analysisParameters")
UNSERVED = ("errorMessageConfiguration", "syntheticDataParameters")


class Templates:
    """The operations on analysis templates. All members can read them; the author alone changes one."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def create(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Keeps a template, whose text can be read as one query."""
        membership = self._backend.parties.active(owner(call), request["membershipIdentifier"])
        _check(request)
        id = arns.new_id()
        arn = arns.analysis_template(owner(call), membership.id, id)
        tables = await _referenced(request, arn, call.account)
        document = {
            **{member: request[member] for member in KEPT if member in request},
            "arn": arn,
            "schema": {"referencedTables": request.get("schema", {}).get("referencedTables", tables)},
        }
        made = resources.new(
            owner(call), TEMPLATE, id, None, ACTIVE, document, membership.arn, membership.collaboration.arn
        )
        kept = await self._backend.resources.create(
            made, tagged=tags_of(request), within=lambda connection: parties.require(connection, membership)
        )
        return {"analysisTemplate": _described(kept, membership)}

    @quick
    def get(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """One template of the caller's."""
        found, membership = self._own(call, request)
        return {"analysisTemplate": _described(found, membership)}

    @quick
    def list(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A page of the templates in a membership of the caller's."""
        membership = self._backend.parties.membership(owner(call), request["membershipIdentifier"])
        page = self._backend.resources.page(owner(call), TEMPLATE, search(request, base=membership.arn))
        return listed("analysisTemplateSummaries", page, lambda one: _summary(one, membership))

    async def update(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Gives a template another description; its text never changes, since others have allowed that."""
        found, membership = self._own(call, request)
        values = {"description": request["description"]} if "description" in request else {}
        changed = await self._backend.resources.edit(found, lambda document: {**document, **values})
        return {"analysisTemplate": _described(changed, membership)}

    async def delete(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Forgets a template."""
        found, _ = self._own(call, request)
        await self._backend.resources.delete(found)
        return {}

    @quick
    def get_of_collaboration(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """One template of any active member, for any other."""
        collaboration = self._backend.collaboration(call, request)
        arn = request["analysisTemplateArn"]
        found = self._backend.queries.template(collaboration, arn)
        if found is None:
            raise not_found(call, "COLLABORATION", "analysis template in this collaboration,", arn)
        return {"collaborationAnalysisTemplate": _shared(found, collaboration)}

    @quick
    def batch_get(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Several templates by their ARNs, and an error for each that is not there."""
        collaboration = self._backend.collaboration(call, request)
        found = {arn: self._backend.queries.template(collaboration, arn) for arn in request["analysisTemplateArns"]}
        missing = {"code": "ResourceNotFoundException", "message": "There is no such template in this collaboration"}
        return {
            "collaborationAnalysisTemplates": [_shared(one, collaboration) for one in found.values() if one],
            "errors": [{"arn": arn, **missing} for arn, one in found.items() if one is None],
        }

    @quick
    def list_of_collaboration(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A page of the templates of all active members."""
        collaboration = self._backend.collaboration(call, request)
        active = {one.arn for one in self._backend.parties.memberships(collaboration)}
        looked = search(request, root=collaboration.arn)
        page = self._backend.resources.page_under(call.region, TEMPLATE, looked)
        return {
            "collaborationAnalysisTemplateSummaries": [
                _shared_summary(one, collaboration) for one in page.items if one.base in active
            ],
            "nextToken": next_token(page.following),
        }

    def _own(self, call: Call, request: Mapping[str, Any]) -> tuple[Resource, Membership]:
        id = request["analysisTemplateIdentifier"]
        return self._backend.in_membership(call, request, TEMPLATE, id, "analysis template")


def _check(request: Mapping[str, Any]) -> None:
    """A Fault for what is no template of a query."""
    if request["format"] != "SQL" or "text" not in request["source"]:
        raise invalid("format", "only templates of the format SQL are served, with their text in source")
    if unserved := [name for name in UNSERVED if name in request]:
        raise invalid(unserved[0], "this is not served")
    names = [one["name"] for one in request.get("analysisParameters", ())]
    if len({name.lower() for name in names}) < len(names):
        raise invalid("analysisParameters", "a name occurs twice")


async def _referenced(request: Mapping[str, Any], arn: str, author: str) -> list[str]:
    """The tables that a template's text names; a Fault if that is no query, or has other parameters than declared."""
    from modelyard.analysis.references import references

    declared = {
        one["name"]: Parameter(one["type"], one.get("defaultValue", ""))
        for one in request.get("analysisParameters", ())
    }
    template = Template(arn, author, declared)
    analysis = Analysis(request["source"]["text"], author, Purpose.DIRECT, template=template)
    try:
        return await asyncio.to_thread(references, analysis)
    except Refused as refused:
        raise invalid("source.text", refused.told, "INVALID_QUERY") from None


def _summary(found: Resource, membership: Membership) -> dict[str, Any]:
    whose = {"membershipId": membership.id, "membershipArn": membership.arn}
    return {**_facts(found, membership.collaboration), **whose, "isSyntheticData": False}


def _shared_summary(found: Resource, collaboration: Collaboration) -> dict[str, Any]:
    whose = {"creatorAccountId": found.owner.account}
    return {**_facts(found, collaboration), **whose, "isSyntheticData": False}


def _described(found: Resource, membership: Membership) -> dict[str, Any]:
    whose = {"membershipId": membership.id, "membershipArn": membership.arn}
    return {**_facts(found, membership.collaboration), **whose, **_text(found)}


def _shared(found: Resource, collaboration: Collaboration) -> dict[str, Any]:
    whose = {"creatorAccountId": found.owner.account}
    return {**_facts(found, collaboration), **whose, **_text(found)}


def _text(found: Resource) -> dict[str, Any]:
    return {member: found.document.get(member) for member in (*KEPT, "schema")}


def _facts(found: Resource, collaboration: Collaboration) -> dict[str, Any]:
    return {
        "id": found.id,
        "arn": found.document["arn"],
        "name": found.document["name"],
        "description": found.document.get("description"),
        "createTime": moment(found.created),
        "updateTime": moment(found.updated),
        "collaborationId": collaboration.id,
        "collaborationArn": collaboration.arn,
    }

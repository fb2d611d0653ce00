"""Who pays for which kind of work. Nobody is charged here, but a payer has to have joined before such work begins.

https://docs.aws.amazon.com/clean-rooms/latest/apireference/API_PaymentConfiguration.html
"""

from collections.abc import Mapping
from typing import Any

from modelyard.collaborations.model import Member
from modelyard.services.cleanrooms.backend import invalid

KINDS = {
    "queryCompute": ("queryCompute",),
    "jobCompute": ("jobCompute",),
    "modelTraining": ("machineLearning", "modelTraining"),
    "modelInference": ("machineLearning", "modelInference"),
    "syntheticDataGeneration": ("machineLearning", "syntheticDataGeneration"),
}
"""The kinds of work, and where a payment configuration speaks of each."""


def settled(members: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Members, by account, with who pays under `payments`: where nobody is named, the one who can query.

    A Fault if that one was said not to pay, and nobody else was named.
    """
    asking = next(account for account, member in members.items() if "CAN_QUERY" in member["memberAbilities"])
    payments: dict[str, dict[str, bool]] = {account: {} for account in members}
    for kind, path in KINDS.items():
        said = {account: _said(member.get("paymentConfiguration"), kind) for account, member in members.items()}
        if said[asking] is False and not any(said.values()):
            where = f"{'.'.join(path)}.isResponsible"
            raise invalid(where, f"account {asking} can query and pays, unless another member is named as the payer")
        for account, pays in said.items():
            payments[account][kind] = bool(pays) if any(said.values()) else account == asking
    return {account: {**member, "payments": payments[account]} for account, member in members.items()}


def check_accepted(member: Member, accepted: Mapping[str, Any] | None, where: str) -> None:
    """A Fault unless a member accepts to pay for what it has to, and for nothing else.

    The one who can query need not say so.
    """
    silent = "CAN_QUERY" in member.abilities
    for kind, path in KINDS.items():
        said, pays = _said(accepted, kind), member.payments[kind]
        if said is None and (silent or not pays):
            continue
        if said is not pays:
            reason = f"account {member.account} {'pays' if pays else 'does not pay'} for this in the collaboration"
            raise invalid(".".join((where, *path, "isResponsible")), f"{reason}; say {str(pays).lower()}")


def shown(configuration: Mapping[str, Any] | None, member: Member) -> Mapping[str, Any]:
    """A payment configuration as it came; without one, whether the member pays for queries."""
    return configuration or {"queryCompute": {"isResponsible": member.payments["queryCompute"]}}


def _said(configuration: Mapping[str, Any] | None, kind: str) -> bool | None:
    """Whether a configuration names a payer for a kind of work; None where it is silent."""
    found: Any = configuration or {}
    for name in KINDS[kind]:
        found = found.get(name, {})
    said: bool | None = found.get("isResponsible")
    return said

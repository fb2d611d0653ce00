"""A server of Clean Rooms, and clients of the parties whose answers are held against the service's own model."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.boto import Clients, Loop

from modelyard.app import Application
from modelyard.settings import Settings
from modelyard.wire.constraints import Constraints
from modelyard.wire.violations import Violation, sentence

BANK, SHOP, STRANGER = "111122223333", "444455556666", "999999999999"
UNKNOWN = "00000000-0000-4000-8000-000000000000"

Parties = Callable[..., Any]
CONTRADICTED = ("configuredTableAssociation.arn", "configuredTableAssociationArn", "privacyBudgetTemplateArn")
"""Ends of members whose patterns do not take the ARNs that AWS gives: an association's lies in its membership."""


@pytest.fixture
def application(tmp_path: Path, loop: Loop) -> Iterator[Application]:
    async def start() -> Application:
        return Application(Settings(data_dir=tmp_path / "data"))

    application = loop.run(start())
    yield application
    loop.run(_closed(application))


async def _closed(application: Application) -> None:
    application.close()


@pytest.fixture
def party(application: Application, client_for: Clients) -> Parties:
    """A function `(account=BANK, region=…) -> cleanrooms client of that account`."""
    constraints = Constraints()

    def make(account: str = BANK, region: str = "us-east-1") -> Any:
        client = client_for(application.endpoint, "cleanrooms", account=account, region=region)

        def look(parsed: dict[str, Any], model: Any, **_: Any) -> None:
            found: list[Violation] = []
            if "Error" not in parsed and model.output_shape is not None:
                answer = {name: value for name, value in parsed.items() if name != "ResponseMetadata"}
                constraints.of(model.output_shape)(answer, "", found)
            found = [one for one in found if not _contradicted(one.member)]
            assert not found, sentence(found)

        client.meta.events.register("after-call.cleanrooms", look)
        return client

    return make


def _contradicted(member: str) -> bool:
    return member.endswith(CONTRADICTED) or (
        member.endswith(".arn") and ("Association" in member or "Budget" in member)
    )


def invite(creator: Any, *accounts: str, **given: Any) -> dict[str, Any]:
    """A collaboration in which the creator asks, and the others receive what models say."""
    receiving = {"customMLMemberAbilities": ["CAN_RECEIVE_MODEL_OUTPUT", "CAN_RECEIVE_INFERENCE_OUTPUT"]}
    request = {
        "name": "bank and shop",
        "description": "who buys what",
        "creatorDisplayName": "the bank",
        "creatorMemberAbilities": ["CAN_QUERY", "CAN_RECEIVE_RESULTS"],
        "members": [
            {"accountId": account, "displayName": f"party {n}", "memberAbilities": [], "mlMemberAbilities": receiving}
            for n, account in enumerate(accounts)
        ],
        "queryLogStatus": "DISABLED",
    }
    made: dict[str, Any] = creator.create_collaboration(**{**request, **given})["collaboration"]
    return made


def join(client: Any, collaboration: str, **given: Any) -> dict[str, Any]:
    made: dict[str, Any] = client.create_membership(
        collaborationIdentifier=collaboration, queryLogStatus="DISABLED", **given
    )["membership"]
    return made

import asyncio

import pytest
from tests.commands.terminal import US, Side
from tests.conftest import wait_for
from tests.jobs.test_supervisor import stage


@pytest.mark.system
def test_endpoints_are_listed(side: Side) -> None:
    asyncio.run(side.deployments.create(US, "endpoint", "e", "e-name", {}, stage("answer")))
    wait_for(lambda: "in service" in side.cli("endpoints", "list").output)
    assert side.cli("endpoints", "list").output.splitlines()[1].split()[:2] == ["e", "e-name"]

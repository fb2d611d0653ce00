from pathlib import Path

from tests.jobs.test_supervisor import eventually, stage
from tests.views.server import THEM, US, Server, run

from modelyard.jobs.model import ServiceStatus


class TestEndpoints:
    def test_are_listed_for_their_owner_with_a_log(self, data: Path) -> None:
        async def test(server: Server) -> None:
            await server.app.deployments.create(US, "endpoint", "e", "e-name", {}, stage("answer"))
            await server.app.deployments.create(THEM, "endpoint", "t", "t-name", {}, stage("answer"))
            server.app.supervisor.wake()
            await eventually(lambda: server.app.deployments.get(US, "endpoint", "e").status is ServiceStatus.IN_SERVICE)
            _, answer = await server.ask("endpoints/")
            (found,) = answer["endpoints"]
            assert (found["id"], found["name"], found["status"]) == ("e", "e-name", "in service")
            assert (await server.send(found["log"]))[0] == 200

        run(data, test)

"""What our own pages tell of jobs on what several parties brought, though one account alone started them."""

import json

from tests.boto import Loop, Send
from tests.services.cleanrooms.conftest import BANK, Parties
from tests.services.cleanrooms.tables import Room

from modelyard.app import Application
from modelyard.jobs.model import Status


def test_a_job_on_many_parties_data_shows_how_it_stands_and_no_more(
    application: Application, loop: Loop, party: Parties, send: Send
) -> None:
    room = Room(application, loop, party)
    room.open()
    id = room.ask()["id"]
    scope = f"Credential={BANK}/20260101/us-east-1/modelyard/aws4_request, SignedHeaders=host, Signature=0"
    signed = {"authorization": f"AWS4-HMAC-SHA256 {scope}"}

    def page(path: str) -> str:
        status, _, content = send(application.endpoint, "GET", path, headers=signed)
        assert status == 200
        return content.decode()

    shown = page(f"/-/jobs/show?id={id}")
    assert json.loads(shown)["status"] == "queued"
    for kept in (shown, page("/-/jobs/"), page(f"/-/jobs/events?id={id}&stage=query")):
        for secret in ("of-visitors", "of-clients", "Secret", "visits", "modelyard://", "/-/logs/"):
            assert secret not in kept

    async def finish(failure: str | None) -> None:
        (claim,) = await application.store.claim(2)
        await application.store.begin(claim, 1, 0)
        if failure is None:
            await application.store.complete(claim, {"records": 48151623, "columns": ["visits"]})
        else:
            await application.store.end(claim, Status.FAILED, failure)

    loop.run(finish(None))
    failed = room.ask()["id"]
    loop.run(finish("a row has 48151623 in visits"))
    assert json.loads(page(f"/-/jobs/show?id={failed}"))["failure"] == "told by the operations of Clean Rooms"
    for shown in (page(f"/-/jobs/show?id={one}") for one in (id, failed)):
        for secret in ("48151623", "visits", "of-visitors", "/-/logs/"):
            assert secret not in shown

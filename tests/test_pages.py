import json
from pathlib import Path

import pytest

from tests.views.server import Server, run


class TestThePages:
    def test_say_that_the_server_is_well(self, data: Path) -> None:
        async def test(server: Server) -> None:
            status, headers, body = await server.send("/health")
            assert (status, headers["content-type"]) == (200, "application/json")
            assert json.loads(body)["status"] == "ok"
            status, headers, body = await server.send("/")
            assert (status, headers["content-type"]) == (200, "text/plain; charset=utf-8")
            assert b"Modelyard" in body
            assert (await server.send("/health", "HEAD"))[::2] == (200, b"")

        run(data, test)

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("POST", "/", 405),
            ("POST", "/health", 405),
            ("GET", "/-/jobs/nothing", 404),
            ("GET", "/-/jobs/show", 400),
            ("GET", "/-/jobs/show?id=%00%ff%F0", 404),
            ("GET", "/-/jobs/show?" + "&".join(f"a{n}=1" for n in range(1000)), 400),
            ("GET", "/-/jobs/?limit=0", 400),
            ("GET", "/-/jobs/?limit=1001", 400),
            ("GET", "/-/jobs/?limit=" + "9" * 5000, 400),
            ("GET", "/-/jobs/?limit=%C2%B2", 400),
            ("GET", "/-/jobs/stop?id=j", 405),
            ("DELETE", "/-/jobs/show?id=j", 405),
            ("POST", "/-/jobs/stop?id=j", 404),
            ("GET", "/-/logs/", 403),
            ("GET", "/-/logs/..%2f..%2fmodelyard.db?expires=1&signature=1", 403),
            ("POST", "/-/logs/x", 405),
            ("POST", "/-/buckets/own?bucket=../x&account=111122223333", 400),
            ("POST", "/-/buckets/own?bucket=fine&account=1", 400),
        ],
    )
    def test_refuse_nonsense_with_a_message(self, data: Path, method: str, path: str, status: int) -> None:
        async def test(server: Server) -> None:
            answered, headers, body = await server.send(path, method)
            assert answered == status
            assert headers["x-content-type-options"] == "nosniff"
            assert len(body) > 10

        run(data, test)

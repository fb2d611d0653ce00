from pathlib import Path

from tests.views.server import THEM, US, Server, run


class TestBuckets:
    def test_are_those_of_the_caller_and_the_shared_ones(self, data: Path) -> None:
        async def test(server: Server) -> None:
            for name in ("mine", "theirs", "shared", "no_bucket"):
                (data / "objects" / name).mkdir()
            (data / "objects" / "file-of-mine").touch()
            (data / "objects" / "link-to-root").symlink_to("/")
            for name, owner in (("mine", US), ("theirs", THEM)):
                status, owned = await server.ask("buckets/own", "POST", bucket=name, account=owner.account)
                assert (status, owned) == (200, {"name": name, "owner": owner.account})
            _, answer = await server.ask("buckets/")
            assert answer["buckets"] == [{"name": "mine", "owner": US.account}, {"name": "shared", "owner": None}]

        run(data, test)

    def test_are_given_away_from_this_machine_only(self, data: Path) -> None:
        async def test(server: Server) -> None:
            path = "/-/buckets/own?bucket=mine&account=111122223333"
            assert (await server.send(path, "POST", client="192.0.2.1"))[0] == 403
            assert (await server.send(path, "POST", headers={"Origin": "http://evil.test"}))[0] == 403
            assert server.app.buckets.owner("mine") is None

        run(data, test)

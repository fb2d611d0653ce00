import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from modelyard.jobs.model import NotFound, Status
from modelyard.logs import CHUNK_BYTES, Logs
from tests.conftest import printed
from tests.jobs.test_supervisor import Core, eventually, running, stage


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 120))


def logs(core: Core) -> Logs:
    return Logs(core.store, core.engine)


async def text(core: Core, follow: bool = False) -> str:
    return "".join([piece async for piece in logs(core).read(core.job().stages[0].task, follow)])


def write(core: Core, attempt: int, data: bytes) -> Path:
    folder = core.engine.attempt_folder(core.job().stages[0].task, attempt)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log").write_bytes(data)
    return folder / "log"


async def queued(core: Core, attempts: int) -> None:
    """A job that no supervisor looks at, and that has had so many attempts."""
    await core.create(stage("succeed"))
    (claim,) = await core.store.claim(2)
    for attempt in range(1, attempts + 1):
        await core.store.begin(claim, attempt, 0)


def test_shows_what_the_work_printed(data: Path) -> None:
    async def test() -> None:
        async with running(data) as core:
            await core.create(stage("refuse"))
            await core.until(Status.FAILED)
            assert printed(await text(core)) == "error: nodes.csv, line 3, column age: 'x' is not a number\n"

    run(test)


def test_followed_goes_on_until_the_task_ends(data: Path) -> None:
    async def test() -> None:
        async with running(data) as core:
            await core.create(stage("say", parameters={"text": "hello"}))
            following = asyncio.create_task(text(core, follow=True))
            await core.file("began-1")
            await asyncio.sleep(0.5)
            assert not following.done()
            (core.state() / "release").touch()
            assert printed(await following) == "hello\n"
            assert core.job().status is Status.COMPLETED

    run(test)


def test_has_all_attempts_with_the_oldest_first(data: Path) -> None:
    async def test() -> None:
        core = Core(data)
        await queued(core, attempts=2)
        write(core, 1, b"first\n")
        write(core, 2, b"second\n")
        assert await text(core) == "--- attempt 1 ---\nfirst\n--- attempt 2 ---\nsecond\n"
        core.database.close()

    run(test)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        (b"tab\tand line\n", "tab\tand line\n"),
        (b"10%\r20%\x00", r"10%\r20%\x00"),
        ("ü € \u202e\u2066\x9b".encode(), r"ü € \u202e\u2066\x9b"),
        (b"half \xe2\x82", r"half "),
        (b"wrong \xff\xfe.", r"wrong \xff\xfe."),
        (b"<script>alert(1)</script>", "<script>alert(1)</script>"),
    ],
)
def test_cannot_steer_a_terminal(data: Path, written: bytes, shown: str) -> None:
    async def test() -> None:
        core = Core(data)
        await queued(core, attempts=1)
        write(core, 1, written)
        assert await text(core) == shown
        core.database.close()

    run(test)


def test_larger_than_a_piece_comes_whole(data: Path) -> None:
    async def test() -> None:
        core = Core(data)
        await queued(core, attempts=1)
        letters = "€" * CHUNK_BYTES
        write(core, 1, letters.encode())
        pieces = [piece async for piece in logs(core).read(core.job().stages[0].task, False)]
        assert "".join(pieces) == letters
        assert max(map(len, pieces)) <= CHUNK_BYTES
        core.database.close()

    run(test)


def test_that_is_a_link_to_another_file_is_not_read(data: Path) -> None:
    async def test() -> None:
        core = Core(data)
        await queued(core, attempts=1)
        (data / "other").write_text("another's")
        log = write(core, 1, b"")
        log.unlink()
        log.symlink_to(data / "other")
        with pytest.raises(OSError, match="symbolic links"):
            await text(core)
        core.database.close()

    run(test)


def test_of_an_unknown_task_is_not_found(data: Path) -> None:
    async def test() -> None:
        core = Core(data)
        with pytest.raises(NotFound):
            await anext(logs(core).read("x", False))
        core.database.close()

    run(test)


def test_before_the_first_attempt_is_empty_and_followed_waits_for_it(data: Path) -> None:
    async def test() -> None:
        core = Core(data)
        job = await core.create(stage("succeed"))
        assert await text(core) == ""
        following = logs(core).read(job.stages[0].task, follow=True)
        assert await anext(following) == ""
        await following.aclose()
        core.database.close()
        async with running(data) as core:
            followed = asyncio.create_task(text(core, follow=True))
            await eventually(lambda: core.job().status is Status.COMPLETED)
            assert printed(await followed) == ""

    run(test)

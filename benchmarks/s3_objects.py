"""10,000 objects of 10 KB, put and got, beside moto_server.

One client for both sides: obstore (in Rust, of the kind that data tools bring along), with 16 requests under way at
once over connections that it keeps. Every object is compared with what was put. "cpu us" is the server's processor
time for one request. Sides alternate; each round writes the keys anew.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable

import obstore
import psutil
from obstore.store import S3Store
from rounds import Bar, Report, main
from servers import Modelyard, Moto, Server, running

BUCKET = "bench"
AT_ONCE = 16
CONTENT = os.urandom(10_000)


def run(quick: bool) -> Report:
    """Measures both servers."""
    count, rounds = (500, 2) if quick else (10_000, 3)
    report = Report(f"{count:,} objects of 10 KB, obstore with {AT_ONCE} requests at once: requests a second")
    with running(modelyard := Modelyard(), moto := Moto()):
        moto.client("s3").create_bucket(Bucket=BUCKET)
        report.measure(
            {"modelyard": lambda: measure(modelyard, count), "moto_server": lambda: measure(moto, count)}, rounds
        )
    for way in ("put", "get"):
        report.bars.append(Bar(f"{way}, over moto's", report.ratio(f"{way}/s", "modelyard", "moto_server"), low=5))
    return report


def measure(server: Server, count: int) -> dict[str, float]:
    """Puts all objects, then gets all."""
    store = S3Store(
        BUCKET,
        endpoint=server.url,
        region="us-east-1",
        access_key_id="000000000000",
        secret_access_key="secret",
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )

    async def put(key: str) -> None:
        await obstore.put_async(store, key, CONTENT, use_multipart=False)

    async def get(key: str) -> None:
        answer = await obstore.get_async(store, key)
        assert bytes(await answer.bytes_async()) == CONTENT

    process = psutil.Process(server.process.pid)
    folder = f"round-{time.time_ns()}"
    found: dict[str, float] = {}
    for way, work in (("put", put), ("get", get)):
        before = process.cpu_times()
        found[f"{way}/s"] = count / asyncio.run(many(work, folder, count))
        after = process.cpu_times()
        busy = after.user - before.user + after.system - before.system
        found[f"{way} cpu us"] = busy / count * 1e6
    return found


async def many(work: Callable[[str], Awaitable[None]], folder: str, count: int) -> float:
    """Seconds for the work on all keys, so many at once."""
    keys = iter([f"{folder}/folder-{number % 10}/object-{number:05}" for number in range(count)])

    async def some() -> None:
        for key in keys:
            await work(key)

    began = time.perf_counter()
    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return time.perf_counter() - began


if __name__ == "__main__":
    main(run, __doc__)

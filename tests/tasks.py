"""Small tasks that the tests run for real."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelyard import atomic
from modelyard.runner.context import Channel, Context, InputError, Stopped
from modelyard.runner.serving import serve


def succeed(context: Context) -> Mapping[str, Any]:
    (context.output / "answer.txt").write_text("42")
    return {"attempt": context.attempt, "cores": context.cores}


def fail(context: Context) -> Mapping[str, Any]:
    raise ZeroDivisionError("division by zero")


def refuse(context: Context) -> Mapping[str, Any]:
    raise InputError("nodes.csv, line 3, column age: 'x' is not a number")


def hold(context: Context) -> Mapping[str, Any]:
    """Works until `release` appears in the state folder, or until it is asked to stop."""
    atomic.write(context.state / f"began-{context.attempt}", str(os.getpid()).encode())
    for step in range(100_000):
        context.report(step, phase="holding")
        if context.should_stop():
            raise Stopped
        if (context.state / "release").exists():
            (context.output / "answer.txt").write_text(str(context.attempt))
            return {"attempt": context.attempt}
        time.sleep(0.01)
    raise TimeoutError


def gather(context: Context) -> Mapping[str, Any]:
    """Works until it is asked to stop, and ends well with what it has."""
    atomic.write(context.state / f"began-{context.attempt}", str(os.getpid()).encode())
    while not context.should_stop():
        time.sleep(0.01)
    (context.output / "answer.txt").write_text("42")
    return {"gathered": 1}


def be_stubborn(context: Context) -> Mapping[str, Any]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    atomic.write(context.state / f"began-{context.attempt}", str(os.getpid()).encode())
    time.sleep(600)
    return {}


def lead(context: Context) -> Mapping[str, Any]:
    """Forks workers, gathers what they say, and waits like `hold`."""
    workers = [context.fork("tests.tasks:work", {"number": n}) for n in range(context.parameters["workers"])]
    said = [worker.channel.receive() for worker in workers]
    atomic.write(context.state / "workers", " ".join(str(worker.pid) for worker in workers).encode())
    held = hold(context)
    return {**held, "said": said}


def lead_later(context: Context) -> Mapping[str, Any]:
    """Waits like `hold`, and forks its workers only then."""
    hold(context)
    return lead(context)


def work(channel: Channel, parameters: Mapping[str, Any]) -> None:
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else None
    channel.send(number=parameters["number"], threads=threads)
    while channel.receive() is not None:
        pass
    time.sleep(600)


def say(context: Context) -> Mapping[str, Any]:
    """Prints what it is given, then works like `hold`."""
    print(context.parameters["text"], flush=True)
    return hold(context)


def answer(context: Context) -> Mapping[str, Any]:
    """Serves: echoes what it is asked."""

    async def echo(header: Mapping[str, Any], body: bytes) -> tuple[Mapping[str, Any], bytes]:
        return {"status": 200}, body

    serve(context, Path(context.parameters["socket"]), echo)
    return {}


def answer_slowly(context: Context) -> Mapping[str, Any]:
    """Serves: echoes what it is asked, after as many seconds as that says."""

    async def echo(header: Mapping[str, Any], body: bytes) -> tuple[Mapping[str, Any], bytes]:
        (context.state / f"heard-{context.attempt}").touch()
        await asyncio.sleep(float(body))
        return {"status": 200}, body

    serve(context, Path(context.parameters["socket"]), echo)
    return {}

"""A server on this machine for as long as a demo runs, and its clients.

It is started on a free port, and stopped with all that it started.
"""

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import click

STOP_SECONDS = 30
MODELYARD = (sys.executable, "-m", "modelyard")
ANY_KEY = {"aws_access_key_id": "demo", "aws_secret_access_key": "demo"}
"""Good enough for a server that checks no signatures."""


class DemoFailed(click.ClickException):
    """The demo cannot go on; the message is the real reason."""


@contextmanager
def server(data_dir: Path, port: int) -> Iterator[str]:
    """A server over `data_dir` and its address. In the end, SIGTERM's too, it is stopped with all that it started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with started(data_dir, port) as url:
            yield url
    except OSError as error:
        raise DemoFailed(f"{error}. Choose another folder with --data-dir") from error


@contextmanager
def started(data_dir: Path, port: int) -> Iterator[str]:
    """A server over a folder that is there, and its address."""
    log = data_dir / "server.log"
    command = [*MODELYARD, "serve", "--port", str(port), "--data-dir", str(data_dir)]
    with log.open("w") as stderr:
        # A session of its own: Ctrl-C is for the demo, which then stops the server in order.
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, start_new_session=True)
    try:
        assert process.stdout
        line = process.stdout.readline()
        if not line.startswith("modelyard listening on "):
            raise DemoFailed(f"the server did not start: {last_line(log)}")
        yield line.split()[-1]
    finally:
        stop(process, data_dir)


def stop(process: subprocess.Popen[str], data_dir: Path) -> None:
    """Ends a server and every task over its data folder. A second Ctrl-C has to wait for that."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        subprocess.run(
            [*MODELYARD, "stop", "--all", "--data-dir", str(data_dir)], check=True, stdout=subprocess.DEVNULL
        )
    finally:
        signal.signal(signal.SIGINT, before)


def client(service: str, url: str, keys: Mapping[str, str] = ANY_KEY) -> Any:
    """A boto3 client as against AWS, but for the address."""
    return boto3.client(service, endpoint_url=url, region_name="us-east-1", **keys)


def last_line(log: Path) -> str:
    """The last thing that a log says."""
    lines = log.read_text(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), f"it said nothing; see {log}")

"""Ends the server of a data folder, and what it left running."""

import fcntl
import os
import signal
import time
from pathlib import Path

import click

from modelyard.engines.local import LocalEngine

END_SECONDS = 30.0


def stop_server(data_dir: Path) -> int | None:
    """Asks the server to end, and waits until it has; returns its pid, None if there is none."""
    if (pid := _server(data_dir)) is None:
        return None
    try:
        os.kill(pid, signal.SIGTERM)
    except PermissionError:
        raise click.ClickException(f"The server with pid {pid} is another user's") from None
    deadline = time.monotonic() + END_SECONDS
    while _server(data_dir) == pid:
        if time.monotonic() > deadline:
            raise click.ClickException(f"The server with pid {pid} does not end; kill -9 {pid} is safe for its jobs")
        time.sleep(0.05)
    return pid


def stop_tasks(data_dir: Path) -> tuple[int, int]:
    """Ends all tasks, then all resident parents, of a folder without a server; returns how many there were."""
    return LocalEngine(data_dir / "tasks", data_dir / "residents", slots=0).end_all()


def _server(data_dir: Path) -> int | None:
    """The pid of the server that has the folder locked."""
    try:
        descriptor = os.open(data_dir / "lock", os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        return int(os.pread(descriptor, 32, 0) or 0) or None
    finally:
        os.close(descriptor)

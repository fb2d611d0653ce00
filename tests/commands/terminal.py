"""The command line, and a second hand on the database of the server that it asks."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from click.testing import CliRunner, Result
from tests.conftest import wait_for
from tests.system.server import Server

from modelyard.cli import main
from modelyard.database import Database
from modelyard.jobs.deployments import Deployments
from modelyard.jobs.model import Job, Owner, Stage, Status
from modelyard.jobs.store import Store

US = Owner("000000000000", "us-east-1")
LIBRARIES = ("torch", "torch_geometric", "numpy", "polars", "pyarrow", "optuna", "duckdb", "transformers", "scipy")


def cli(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(main, arguments, env=environment)


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command line in a process of its own, whose output is read as it comes."""
    command = [sys.executable, "-m", "modelyard", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


class Side:
    """A second hand on the server's database: it accepts jobs of small tasks, as a service would."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._database = Database(server.folder / "modelyard.db")
        self.store = Store(self._database)
        self.deployments = Deployments(self._database)

    def create(self, *stages: Stage, id: str = "j", owner: Owner = US) -> None:
        asyncio.run(self.store.create(owner, "test", id, {"asked": 1}, stages))

    def job(self, id: str = "j") -> Job:
        return self.store.get(US, "test", id)

    def until(self, status: Status, id: str = "j") -> None:
        wait_for(lambda: self.job(id).status is status)

    def release(self, id: str = "j") -> None:
        state = self.server.folder / "tasks" / self.job(id).stages[0].task / "state"
        wait_for((state / "began-1").exists)
        (state / "release").touch()

    def cli(self, *arguments: str) -> Result:
        return cli(*arguments, MODELYARD_DATA_DIR=str(self.server.folder))

    def close(self) -> None:
        self._database.close()

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.commands.terminal import Side
from tests.system.server import Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "data").start()
    yield server
    server.close()


@pytest.fixture
def side(server: Server) -> Iterator[Side]:
    side = Side(server)
    yield side
    side.close()

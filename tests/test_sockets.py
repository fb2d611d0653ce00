import os
import stat
from contextlib import ExitStack
from pathlib import Path

import pytest

from modelyard import sockets


def _exchange(path: Path) -> bytes:
    with sockets.bind(path) as listener, sockets.connect(path, timeout=5) as client:
        server, _ = listener.accept()
        with server:
            server.sendall(b"hello")
            return client.recv(5)


def test_a_deep_folder_is_no_obstacle(tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 100) / ("b" * 100)
    folder.mkdir(parents=True)
    assert _exchange(folder / "serve.sock") == b"hello"
    assert [p.name for p in folder.iterdir()] == ["serve.sock"]


def test_a_dead_listeners_name_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "serve.sock"
    sockets.bind(path).close()
    with pytest.raises(ConnectionRefusedError):
        sockets.connect(path)
    assert _exchange(path) == b"hello"


def test_only_the_owner_may_connect(tmp_path: Path) -> None:
    with sockets.bind(tmp_path / "serve.sock"):
        assert stat.S_IMODE((tmp_path / "serve.sock").stat().st_mode) == 0o600


def test_no_socket_and_no_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sockets.connect(tmp_path / "none.sock")
    with pytest.raises(FileNotFoundError):
        sockets.bind(tmp_path / "none" / "serve.sock")


def test_a_full_queue_does_not_block(tmp_path: Path) -> None:
    path = tmp_path / "serve.sock"
    with ExitStack() as opened:
        opened.enter_context(sockets.bind(path, backlog=0))
        opened.enter_context(sockets.connect(path, timeout=0))
        with pytest.raises(BlockingIOError):
            sockets.connect(path, timeout=0)


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    _exchange(tmp_path / "serve.sock")
    assert len(os.listdir("/proc/self/fd")) == before

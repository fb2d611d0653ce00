"""What a server says at its start of what sandboxes cannot do on its machine."""

from pathlib import Path
from typing import Any

import pytest

from modelyard import sandboxes
from tests.conftest import wait_for
from tests.system.server import Server

NETWORK = "custom models' scripts reach what this machine reaches, this server included (--custom-model-network)"


@pytest.fixture(autouse=True)
def _without_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sandboxes, "NVIDIA", tmp_path / "nvidia0")
    monkeypatch.setattr(sandboxes, "AMD", tmp_path / "kfd")


@pytest.mark.parametrize(
    "found",
    [
        {"bubblewrap": None, "kernel": True},
        {"bubblewrap": None, "podman": "Podman is not installed", "kernel": True},
        {"bubblewrap": "bubblewrap is not installed", "podman": None, "kernel": True},
    ],
)
def test_one_that_works_is_enough(found: dict[str, Any]) -> None:
    assert list(sandboxes.lacking(found, network=False, gpu=True)) == []


@pytest.mark.parametrize(("device", "allowed"), [("nvidia0", False), ("kfd", True)])
def test_each_lack_is_said(tmp_path: Path, device: str, allowed: bool) -> None:
    (tmp_path / device).touch()
    memory, gpu, network = sandboxes.lacking({"bubblewrap": None, "kernel": False}, network=True, gpu=allowed)
    assert "we may make no control group" in memory
    assert "see no GPU" in gpu
    assert network == NETWORK


def test_that_scripts_share_a_gpu_is_said(tmp_path: Path) -> None:
    (tmp_path / "nvidia0").touch()
    [sentence] = sandboxes.lacking({"bubblewrap": None, "kernel": True}, network=False, gpu=True)
    assert sentence.startswith("custom models' scripts share this machine's GPUs")


def test_without_any_all_reasons_are_said() -> None:
    found = {"bubblewrap": "one reason", "podman": "another", "kernel": True}
    [sentence] = sandboxes.lacking(found, network=True, gpu=True)
    assert sentence.endswith("jobs with them will fail: one reason; another")
    assert "the trial failed" in next(sandboxes.lacking({}, network=False, gpu=True))


@pytest.mark.system
@pytest.mark.slow
class TestServer:
    def log_of(self, server: Server, words: str) -> str:
        """The log of a server that has said the words."""
        path = server.folder / "server.log"
        wait_for(lambda: words in path.read_text())
        return path.read_text()

    def test_says_what_isolates(self, tmp_path: Path, sandbox: str) -> None:
        server = Server(tmp_path / "data").start()
        try:
            log = self.log_of(server, "are isolated by")
        finally:
            server.close()
        assert f"are isolated by {sandboxes.TITLES[sandbox]}\n" in log
        assert "WARNING modelyard.sandboxes: nothing" not in log

    def test_says_that_nothing_can(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        server = Server(tmp_path / "data", PATH=str(tmp_path / "empty")).start()
        try:
            log = self.log_of(server, "jobs with them will fail")
        finally:
            server.close()
        assert "WARNING modelyard.sandboxes: nothing can isolate" in log
        assert "bubblewrap is not installed (bwrap is not found); Podman is not installed" in log

import json
import re
from pathlib import Path

import pytest
from tests.commands.terminal import LIBRARIES, Side, cli, started
from tests.conftest import processes_of, wait_for
from tests.jobs.test_supervisor import stage
from tests.system.server import Server

from modelyard.jobs.model import Status


def test_help_names_the_variable_of_each_setting() -> None:
    shown = cli("serve", "--help").output
    for name in ("HOST", "PORT", "DATA_DIR", "SLOTS", "MAX_BODY", "ALLOW_REMOTE"):
        assert f"MODELYARD_{name}" in re.sub(r"\s+", "", shown)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.test"])
def test_other_machines_are_not_served_unless_that_is_said(host: str, tmp_path: Path) -> None:
    refused = cli("serve", "--host", host, "--data-dir", str(tmp_path / "data"))
    assert refused.exit_code == 2
    assert "--allow-remote" in refused.output
    assert not (tmp_path / "data").exists()


def test_scripts_get_the_network_only_where_signatures_are_checked(tmp_path: Path) -> None:
    refused = cli("serve", "--custom-model-network", "--data-dir", str(tmp_path / "data"))
    assert refused.exit_code == 2
    assert "modelyard keys add" in refused.output
    assert not (tmp_path / "data").exists()


def test_vllm_is_missed_at_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    refused = cli("serve", "--language-engine", "vllm", "--data-dir", str(tmp_path / "data"))
    assert refused.exit_code == 2
    assert "vLLM is not installed" in refused.output
    assert not (tmp_path / "data").exists()


@pytest.mark.system
class TestTheServersProcess:
    def test_prints_one_line_and_tells_its_address(self, tmp_path: Path) -> None:
        folder = tmp_path / "data"
        arguments = ("serve", "--port", "0", "--data-dir", str(folder))
        with started(*arguments) as process:
            wait_for((folder / "server.json").exists)
            address = json.loads((folder / "server.json").read_text())
            assert address["pid"] == process.pid
            with started(*arguments) as second:
                printed, logged = second.communicate(timeout=30)
                assert (second.returncode, printed) == (1, "")
                assert logged == f"Error: {folder} is in use by the server with pid {process.pid}\n"
            process.terminate()
            printed, logged = process.communicate(timeout=30)
            assert process.returncode == 0
            assert printed == f"modelyard listening on {address['url']}\n"
            assert "Traceback" not in logged

    def test_has_no_library_of_its_tasks_in_it_and_is_small(self, server: Server) -> None:
        pid = json.loads((server.folder / "server.json").read_text())["pid"]
        maps = Path(f"/proc/{pid}/maps").read_text()
        assert not [name for name in (*LIBRARIES, "rich") if f"/{name}/" in maps]
        status = Path(f"/proc/{pid}/status").read_text()
        resident = int(re.search(r"VmRSS:\s+(\d+) kB", status)[1])
        assert resident < 120 * 1024

    def test_ends_without_its_tasks_and_the_next_one_finds_them(self, side: Side) -> None:
        side.create(stage("hold"))
        side.until(Status.RUNNING)
        wait_for(lambda: processes_of(side.server.folder / "tasks"))
        assert side.server.terminate() == 0
        assert processes_of(side.server.folder / "tasks")
        side.server.start()
        side.release()
        side.until(Status.COMPLETED)
        assert side.job().stages[0].attempt == 1

    def test_ends_at_once_though_a_log_is_followed(self, side: Side) -> None:
        side.create(stage("say", parameters={"text": "hello"}))
        with started("jobs", "logs", "-f", "j", "--endpoint-url", side.server.url) as following:
            assert following.stdout is not None
            assert "hello\n" in following.stdout
            assert side.server.terminate() == 0
            assert following.wait(30) == 1
            assert following.stderr is not None
            assert "does not answer" in following.stderr.read()
        assert "ERROR" not in (side.server.folder / "server.log").read_text()

import json
from pathlib import Path

import pytest
from tests.commands.terminal import Side, cli
from tests.conftest import processes_of, wait_for
from tests.jobs.test_supervisor import stage


def test_stop_finds_nothing_to_stop(tmp_path: Path) -> None:
    stopped = cli("stop", "--all", "--data-dir", str(tmp_path))
    assert stopped.exit_code == 0
    assert stopped.output.splitlines() == [
        f"No server runs on {tmp_path}.",
        "Ended 0 tasks and 0 resident parents; their jobs go on at the next start.",
    ]


@pytest.mark.system
@pytest.mark.slow
def test_a_server_is_stopped_with_all_that_it_started(side: Side) -> None:
    side.create(stage("hold"))
    side.create(stage("hold", family="graph"), id="k")
    for id in ("j", "k"):
        state = side.server.folder / "tasks" / side.job(id).stages[0].task / "state"
        wait_for((state / "began-1").exists)
    pid = json.loads((side.server.folder / "server.json").read_text())["pid"]
    stopped = side.cli("stop", "--all").output.splitlines()
    assert stopped == [
        f"Stopped the server with pid {pid}.",
        "Ended 2 tasks and 1 resident parent; their jobs go on at the next start.",
    ]
    assert processes_of(side.server.folder) == []
    assert side.server.terminate() == 0
    side.server.start()
    wait_for((state / "began-2").exists)

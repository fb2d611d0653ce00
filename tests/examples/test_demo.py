import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import baselines
import demo
import numpy as np
import pytest
from tests.conftest import ROOT, processes_of, wait_for

SCRIPT = ROOT / "examples" / "demo.py"


def run(data_dir: Path, *options: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--data-dir", str(data_dir), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)


@pytest.mark.slow
@pytest.mark.system
def test_the_demo_beats_both_baselines_and_leaves_nothing_running(data: Path) -> None:
    done = run(data, "--trials", "1", seconds=600)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split("│") for line in done.stdout.splitlines() if line.startswith("│")]
    f1 = {row[1].strip().partition(",")[0].partition(":")[0]: row[3].strip() for row in rows[:3]}
    assert float(f1["the graph only"]) > float(f1["names only"]) > float(f1["always no"]) == 0.0
    assert "predictions in one request" in done.stdout
    [predictions] = data.glob("runs/*/artifacts/predictions.csv")
    assert len(predictions.read_text().splitlines()) > 19_000
    assert processes_of(data) == []


@pytest.mark.slow
@pytest.mark.system
def test_ctrl_c_stops_the_demo_its_job_and_its_server(data: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    with output.open("w") as file:
        command = [sys.executable, "-u", str(SCRIPT), "--data-dir", str(data)]
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
    wait_for(lambda: "search: trial" in output.read_text() or process.poll() is not None, seconds=300)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 1
    assert "Aborted!" in output.read_text()
    assert processes_of(data) == []


@pytest.mark.system
def test_a_port_in_use_is_named(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run(data, "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "the server did not start" in done.stderr
    assert "in use" in done.stderr
    assert processes_of(data) == []


@pytest.mark.system
def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run(tmp_path / "file" / "data")
    assert done.returncode == 1
    assert "file/data" in done.stderr
    assert "--data-dir" in done.stderr


def test_the_graph_is_right_and_wrong_as_it_comes() -> None:
    names, graph = np.array([0.9, 0.9, 0.1, 0.2]), np.array([0.2, 0.8, 0.7, 0.1])
    test = baselines.Operations(["s:A", "s:B", "s:C", "s:D"], [], np.array([False, True, False, False]))
    table = demo.operations_table(demo.Result(test, names, names, graph, Path()), np.array([0, 2]))
    operations, by_names, by_graph, truth = (list(column.cells) for column in table.columns)
    assert operations == ["s:A", "s:C"]
    assert by_names == ["[red]yes[/] (90%)", "[green]no[/] (90%)"]
    assert by_graph == ["[green]no[/] (80%)", "[red]yes[/] (70%)"]
    assert truth == ["no", "no"]


def test_an_endpoints_answer_holds_both_classes_in_any_order() -> None:
    item = {"id": "s:A", "predictions": [{"value": "false", "score": 0.7}, {"value": "true", "score": 0.3}]}
    assert demo.probability(item) == 0.3

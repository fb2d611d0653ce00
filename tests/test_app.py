import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

import pytest

from tests.commands.terminal import Side, cli, started
from tests.conftest import ROOT, wait_for
from tests.jobs.test_supervisor import stage
from tests.system.server import Server

LIBRARIES = {
    *("torch", "torch_geometric", "transformers", "peft", "optuna", "duckdb"),
    *("numpy", "scipy", "sklearn", "polars", "pyarrow", "safetensors", "ray", "rich", "boto3"),
}


def test_an_application_is_built_without_any_library_of_its_tasks(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; import modelyard.commands.serve; from modelyard.app import Application; "
        "from modelyard.settings import Settings; application = Application(Settings(Path(sys.argv[1]))); "
        "application.close(); print(*sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    modules = set(ran.stdout.split())
    assert "modelyard.services.neptune_ml.service" in modules
    assert not modules & LIBRARIES
    assert not [name for name in modules if name.startswith(("modelyard.workloads", "modelyard.runner"))]


def test_the_secret_of_links_is_kept_with_the_data(tmp_path: Path) -> None:
    from modelyard.app import Application
    from modelyard.settings import Settings

    urls = []
    for folder in ("one", "one", "two"):
        application = Application(Settings(tmp_path / folder))
        urls.append(re.sub("expires=[0-9]+", "", application.links.url("", "task")))
        application.close()
    assert urls[0] != urls[2]


def test_tasks_are_told_what_generates(tmp_path: Path) -> None:
    from modelyard.app import Application
    from modelyard.settings import Settings

    application = Application(Settings(tmp_path / "data", language_engine="vllm"))
    assert application.on_demand._spec("base").parameters == {"base": "base", "engine": "vllm"}
    assert application.bedrock.engine == "vllm"
    application.close()


def test_the_generated_pages_are_up_to_date() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", "import generate; print(generate.operations(), end='')"],
        cwd=ROOT / "docs",
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == (ROOT / "docs" / "operations.md").read_text(), "run: make docs"


@pytest.mark.system
def test_a_server_that_is_killed_gives_its_port_back_though_its_tasks_live(tmp_path: Path) -> None:
    server = Server(tmp_path / "data").start()
    side = Side(server)
    try:
        side.create(stage("hold"))
        state = server.folder / "tasks" / side.job().stages[0].task / "state"
        wait_for((state / "began-1").exists)
        port = int(server.url.rpartition(":")[2])
        server.kill()
        server.start(port)
        assert json.loads(urllib.request.urlopen(f"{server.url}/health", timeout=10).read())["status"] == "ok"
    finally:
        side.close()
        server.close()


@pytest.mark.system
def test_an_address_of_the_newer_protocol_is_served_too(tmp_path: Path) -> None:
    with started("serve", "--host", "::1", "--port", "0", "--data-dir", str(tmp_path)) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        assert url.startswith("http://[::1]:")
        assert json.loads(urllib.request.urlopen(f"{url}/health", timeout=10).read())["status"] == "ok"
        assert cli("jobs", "list", "--data-dir", str(tmp_path)).exit_code == 0


@pytest.mark.system
def test_links_outlive_the_server_and_close_with_a_sentence(tmp_path: Path) -> None:
    server = Server(tmp_path / "data").start()
    side = Side(server)
    try:
        side.create(stage("refuse"))
        wait_for(lambda: side.job().status.final)
        link = re.search(r"/-/logs/\S+", side.cli("jobs", "show", "j").output)[0]
        server.kill()
        server.start()
        assert b"error: nodes.csv" in urllib.request.urlopen(server.url + link, timeout=10).read()
        with pytest.raises(HTTPError) as refused:
            urllib.request.urlopen(server.url + link.replace("signature=", "signature=0"), timeout=10)
        assert refused.value.code == 403
        refused.value.close()
    finally:
        side.close()
        server.close()


@pytest.mark.system
def test_a_port_that_is_taken_ends_the_server_with_a_reason(tmp_path: Path) -> None:
    server = Server(tmp_path / "data").start()
    try:
        port = server.url.rpartition(":")[2]
        other = subprocess.run(
            [sys.executable, "-m", "modelyard", "serve", "--port", port, "--data-dir", str(tmp_path / "other")],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (other.returncode, other.stdout) == (1, "")
        reason = "Address already in use; --port 0 picks a free port"
        assert other.stderr == f"Error: cannot listen on 127.0.0.1 port {port}: {reason}\n"
    finally:
        server.close()


def test_a_folder_that_cannot_hold_data_ends_the_server_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "data"
    command = [sys.executable, "-m", "modelyard", "serve", "--port", "0", "--data-dir", str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"Error: {folder} cannot be the data folder: Not a directory; --data-dir names another\n"

import asyncio
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click import Command, Context, Group
from click.testing import CliRunner, Result

from modelyard.cli import COMMANDS, main
from modelyard.console import doctor
from modelyard.database import Database
from modelyard.jobs.deployments import Deployments
from modelyard.jobs.model import Job, Owner, Stage, Status
from modelyard.jobs.store import Store
from tests.conftest import ROOT, printed, processes_of, wait_for
from tests.jobs.test_supervisor import stage
from tests.system.server import Server

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


class TestWithoutAServer:
    def test_help_names_the_variable_of_each_setting(self) -> None:
        shown = cli("serve", "--help").output
        for name in ("HOST", "PORT", "DATA_DIR", "SLOTS", "MAX_BODY", "ALLOW_REMOTE"):
            assert f"MODELYARD_{name}" in re.sub(r"\s+", "", shown)

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.test"])
    def test_other_machines_are_not_served_unless_that_is_said(self, host: str, tmp_path: Path) -> None:
        refused = cli("serve", "--host", host, "--data-dir", str(tmp_path / "data"))
        assert refused.exit_code == 2
        assert "--allow-remote" in refused.output
        assert not (tmp_path / "data").exists()

    def test_scripts_get_the_network_only_where_signatures_are_checked(self, tmp_path: Path) -> None:
        refused = cli("serve", "--custom-model-network", "--data-dir", str(tmp_path / "data"))
        assert refused.exit_code == 2
        assert "modelyard keys add" in refused.output
        assert not (tmp_path / "data").exists()

    def test_vllm_is_missed_at_the_start(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        refused = cli("serve", "--language-engine", "vllm", "--data-dir", str(tmp_path / "data"))
        assert refused.exit_code == 2
        assert "vLLM is not installed" in refused.output
        assert not (tmp_path / "data").exists()

    def test_keys_are_made_shown_and_taken_away(self, tmp_path: Path) -> None:
        def keys(*arguments: str) -> Result:
            return cli("keys", *arguments, "--data-dir", str(tmp_path / "data"))

        assert "has no keys file" in keys("list").output
        assert "'me' is not twelve digits" in keys("add", "--account", "me").output
        made = keys("add", "--account", "111122223333")
        id, secret = re.findall(r"export AWS_[A-Z_]+=(\S+)", made.stdout)
        assert "next start" in made.stderr
        shown = keys("list").output
        assert f"{id}  111122223333" in shown
        assert secret not in shown
        assert keys("remove", id).exit_code == 0
        assert f"has no key {id}" in keys("remove", id).output
        assert id not in keys("list").output
        (tmp_path / "data" / "keys.json").write_text("broken")
        for work in (
            keys("list"),
            keys("add", "--account", "111122223333"),
            cli("serve", "--data-dir", str(tmp_path / "data")),
        ):
            assert work.exit_code == 1
            assert "is no keys file" in work.output

    def test_jobs_say_how_to_start_one(self, tmp_path: Path) -> None:
        failed = cli("jobs", "list", "--data-dir", str(tmp_path))
        assert failed.exit_code == 1
        assert failed.output.startswith(f"Error: No server has run on {tmp_path}. Start one with: modelyard serve")

    def test_an_address_where_nobody_listens_is_named(self) -> None:
        failed = cli("jobs", "list", MODELYARD_ENDPOINT_URL="http://127.0.0.1:9")
        assert failed.exit_code == 1
        assert "http://127.0.0.1:9 does not answer (Connection refused)" in failed.output

    @pytest.mark.parametrize("url", ["nonsense", "ftp://x", "http://x:port", "http://[::"])
    def test_an_address_that_is_none_is_refused(self, url: str) -> None:
        failed = cli("jobs", "list", "--endpoint-url", url)
        assert failed.exit_code == 2
        assert "is no address of a server" in failed.output

    def test_an_account_has_twelve_digits(self) -> None:
        assert "'12' is not twelve digits" in cli("jobs", "list", "--account", "12").output

    def test_stop_finds_nothing_to_stop(self, tmp_path: Path) -> None:
        stopped = cli("stop", "--all", "--data-dir", str(tmp_path))
        assert stopped.exit_code == 0
        assert stopped.output.splitlines() == [
            f"No server runs on {tmp_path}.",
            "Ended 0 tasks and 0 resident parents; their jobs go on at the next start.",
        ]

    def test_doctor_finds_this_machine_fit_and_imports_no_library(self, tmp_path: Path) -> None:
        script = (
            "import sys; from modelyard.console.doctor import examine; from pathlib import Path; "
            f"assert not [f for f in examine(Path({str(tmp_path)!r})) if f.missing]; print(*sys.modules)"
        )
        shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
        assert not set(shown.split()) & set(LIBRARIES)

    def test_doctor_fails_where_something_is_missing(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr("modelyard.console.doctor.find_spec", lambda name: None if name == "polars" else object())
        found = cli("doctor", "--data-dir", str(tmp_path))
        assert found.exit_code == 1
        assert re.search(
            r'missing\s+libraries for graph jobs\s+missing polars; pip install "modelyard\[graph\]"', found.output
        )

    def test_doctor_looks_for_the_libraries_of_every_extra_that_users_install(self) -> None:
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        assert set(doctor.LIBRARIES) == set(extras) - {"dev", "vllm"}


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

    @pytest.mark.slow
    def test_is_stopped_by_the_command_with_all_that_it_started(self, side: Side) -> None:
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


@pytest.mark.system
class TestJobs:
    def test_are_listed_shown_and_logged(self, side: Side) -> None:
        side.create(stage("refuse"), stage("succeed", "two"), id="training")
        side.until(Status.FAILED, "training")
        listed = side.cli("jobs", "list").output.splitlines()
        assert listed[1].split()[:4] == ["training", "test", "failed", "two"]
        shown = side.cli("jobs", "show", "training").output
        assert "failure  nodes.csv, line 3, column age: 'x' is not a number" in shown
        assert f"{side.server.url}/-/logs/" in shown
        logged = side.cli("jobs", "logs", "training").output
        assert printed(logged) == "=== one ===\nerror: nodes.csv, line 3, column age: 'x' is not a number\n"
        assert side.cli("jobs", "logs", "training", "--stage", "three").output == (
            "Error: 'three' is no stage of this job; its stages: one, two\n"
        )

    def test_of_other_accounts_are_not_there(self, side: Side) -> None:
        side.create(stage("succeed"), owner=Owner("111122223333", "eu-west-1"), id="theirs")
        missing = side.cli("jobs", "show", "theirs")
        assert missing.exit_code == 1
        assert missing.output == ("Error: There is no job 'theirs'; there are no jobs of this account and region\n")
        theirs = side.cli("jobs", "list", "--account", "111122223333", "--region", "eu-west-1").output
        assert theirs.splitlines()[1].startswith("theirs")

    def test_are_watched_until_they_end(self, side: Side) -> None:
        side.create(stage("hold"))
        with started("jobs", "watch", "j", "--endpoint-url", side.server.url) as watching:
            side.release()
            told, _ = watching.communicate(timeout=60)
            assert watching.returncode == 0
        assert re.search(r"^\d\d:\d\d:\d\d one: completed in ", told, re.MULTILINE)
        assert told.splitlines()[-1].startswith("j completed in ")

    def test_that_fail_or_are_stopped_end_the_watch_with_status_1(self, side: Side) -> None:
        side.create(stage("fail"))
        watched = side.cli("jobs", "watch", "j")
        assert watched.exit_code == 1
        assert watched.output.splitlines()[-1].endswith(": ZeroDivisionError: division by zero")
        side.create(stage("hold"), id="k")
        side.until(Status.RUNNING, "k")
        assert side.cli("jobs", "stop", "k").output == "test job k: stopping\n"
        assert side.cli("jobs", "watch", "k").exit_code == 1
        assert processes_of(side.server.folder / "tasks") == []

    def test_are_watched_through_a_restart_of_the_server(self, side: Side) -> None:
        side.create(stage("hold"))
        side.until(Status.RUNNING)
        port = int(side.server.url.rpartition(":")[2])
        with started("jobs", "watch", "j", "--endpoint-url", side.server.url) as watching:
            assert watching.stdout is not None
            assert "one: " in watching.stdout.readline()
            side.server.kill()
            side.server.start(port)
            side.release()
            assert watching.wait(60) == 0

    def test_logs_are_followed_into_the_next_stage(self, side: Side) -> None:
        first = stage("say", parameters={"text": "\x1b[31mfirst"})
        side.create(first, stage("say", "two", parameters={"text": "second"}))
        with started("jobs", "logs", "-f", "j", "--endpoint-url", side.server.url) as following:
            assert following.stdout is not None
            assert following.stdout.readline() == "=== one ===\n"
            assert "\\x1b[31mfirst\n" in following.stdout
            side.release()
            assert "=== two ===\n" in following.stdout
            assert "second\n" in following.stdout
            side.cli("jobs", "stop", "j")
            assert following.wait(60) == 0


@pytest.mark.system
class TestTheRest:
    def test_endpoints_are_listed(self, side: Side) -> None:
        asyncio.run(side.deployments.create(US, "endpoint", "e", "e-name", {}, stage("answer")))
        wait_for(lambda: "in service" in side.cli("endpoints", "list").output)
        assert side.cli("endpoints", "list").output.splitlines()[1].split()[:2] == ["e", "e-name"]

    def test_buckets_are_given_to_an_account(self, side: Side) -> None:
        (side.server.folder / "objects" / "bucket").mkdir()
        assert "shared by all accounts" in side.cli("buckets", "list").output
        assert side.cli("buckets", "own", "bucket", "111122223333").output == "bucket belongs to 111122223333.\n"
        assert "bucket" not in side.cli("buckets", "list").output
        assert "bucket  111122223333" in side.cli("buckets", "list", "--account", "111122223333").output
        refused = side.cli("buckets", "own", "bucket", "me")
        assert (refused.exit_code, refused.output) == (1, "Error: account: 'me' is not twelve digits\n")


def test_every_command_and_setting_is_documented() -> None:
    page = (ROOT / "docs" / "command-line.md").read_text()
    commands: dict[str, Command] = {}
    for name in COMMANDS:
        command = main.get_command(Context(main), name)
        assert command is not None
        parts = command.commands if isinstance(command, Group) else {}
        commands |= {f"{name} {part}": one for part, one in parts.items()} or {name: command}
    assert [name for name in commands if f"`{name}" not in page] == []
    options = {flag for name in ("serve", "jobs list") for option in commands[name].params for flag in option.opts}
    assert [flag for flag in options - {"--limit"} if f"`{flag}`" not in page] == []

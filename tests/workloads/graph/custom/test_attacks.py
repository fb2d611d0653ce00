"""What the author of a script may try: each of these ends harmlessly, and takes nothing along."""

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.runner.sandbox.conftest import unusable
from tests.workloads.graph.custom.conftest import configuration

from modelyard.runner.context import Context, InputError
from modelyard.runner.sandbox.isolation import RUNTIMES, isolation
from modelyard.workloads.graph.custom import script
from modelyard.workloads.graph.custom import search as stage

SECRET = "canary-4711-lovelace"
SAID = "print('score: 1', flush=True)\n"
TRY = """
import json, os, socket, subprocess
said = {}
def attempt(what, action):
    try:
        said[what] = repr(action())
    except BaseException as error:
        pass
"""
TOLD = "\njson.dump(said, open('/opt/ml/checkpoints/said.json', 'w'))\nprint('score: 1')\n"


@pytest.fixture
def graph(two_communities: Any, tmp_path: Path) -> Path:
    folder: Path = two_communities(people=50).write(tmp_path / "graph").folder
    return folder


@pytest.fixture
def attack(graph: Path, source: Callable[..., Path], search: Callable[..., Context]) -> Callable[..., Path]:
    """Searches with a hostile training script; the output."""

    def call(program: str, files: dict[str, str] | None = None, **changes: Any) -> Path:
        context = search(graph, source({"training.py": program, **(files or {})}), max_trials=1, **changes)
        stage.run(context)
        return context.output

    return call


@pytest.fixture(autouse=True)
def _bounded() -> Iterator[None]:
    """No attack holds a job up."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < 300


def said(output: Path) -> dict[str, str]:
    """What succeeded, of all that was tried."""
    found: dict[str, str] = json.loads((output / "model" / "said.json").read_text())
    return found


def test_nothing_of_the_machine_is_seen(attack: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    (tmp_path / "modelyard.db").write_text(SECRET)
    program = f"""
attempt("shadow", lambda: open("/etc/shadow").read())
attempt("data folder", lambda: os.listdir({os.fspath(tmp_path)!r}))
attempt("database", lambda: open({os.fspath(tmp_path / "modelyard.db")!r}).read())
attempt("environment", lambda: os.environ["AWS_SECRET_ACCESS_KEY"])
attempt("parent", lambda: open("/proc/1/environ").read().index("{SECRET}"))
attempt("root", lambda: os.setuid(0))
attempt("processes", lambda: [pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) > 50] or 1 / 0)
"""
    assert said(attack(TRY + program + TOLD)) == {}


def test_nothing_can_be_written_but_the_folders_of_the_run(attack: Any, graph: Path) -> None:
    places = ["/", "/etc", "/usr", "/opt/program", "/opt/ml/input", "/opt/ml/input/data/train", sys.prefix]
    before = sorted(path.name for path in graph.iterdir())
    program = f"for place in {places!r}:\n    attempt(place, lambda: open(place + '/written', 'w').write('x'))"

    assert said(attack(TRY + program + TOLD)) == {}
    assert sorted(path.name for path in graph.iterdir()) == before


def test_the_package_itself_cannot_be_changed(attack: Any) -> None:
    program = """
import modelyard
attempt("package", lambda: open(modelyard.__file__, "a").write("x"))
attempt("packages", lambda: open(os.path.dirname(json.__file__) + "/x", "w"))
"""
    assert said(attack(TRY + program + TOLD)) == {}


def test_nobody_can_be_reached(attack: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        program = f"""
def reach(address):
    with socket.create_connection(address, timeout=2):
        pass
for address in (("1.1.1.1", 53), ("169.254.169.254", 80), ("example.com", 80), {server.getsockname()!r}):
    attempt(address[0], lambda: reach(address))
attempt("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
attempt("interfaces", lambda: [name for _, name in socket.if_nameindex()] != ["lo"] or 1 / 0)
"""
        assert said(attack(TRY + program + TOLD)) == {}


class TestEither:
    """What holds by whichever program isolates the scripts."""

    @pytest.fixture(params=sorted(RUNTIMES), autouse=True)
    def _by(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        if reason := unusable(request.param):
            pytest.skip(reason)
        only = {request.param: RUNTIMES[request.param]}
        monkeypatch.setattr(sys.modules[isolation.__module__], "RUNTIMES", only)
        isolation.cache_clear()
        yield
        assert isolation() == request.param
        isolation.cache_clear()

    @pytest.mark.parametrize("network", [False, True])
    def test_a_listener_is_reached_only_where_the_operator_allows_it(self, attack: Any, network: bool) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            program = f"""
def reach():
    with socket.create_connection({listening.getsockname()!r}, timeout=30) as connection:
        connection.sendall(b"from a trial")
    return True
attempt("reached", reach)
"""
            tried = said(attack(TRY + program + TOLD, network=network))
            listening.settimeout(0)  # whoever came has come by now
            heard = answered(listening)
        assert (tried, heard) == (({"reached": "True"}, b"from a trial") if network else ({}, b""))

    def test_other_jobs_and_the_data_folder_are_not_seen(self, attack: Any, tmp_path: Path, graph: Path) -> None:
        other = tmp_path / "tasks" / "other"
        (other / "state").mkdir(parents=True)
        for secret in (
            tmp_path / "modelyard.db",
            tmp_path / "keys.json",
            other / "spec.json",
            other / "state" / "best",
        ):
            secret.write_text(SECRET)
        places = [os.fspath(path) for path in (tmp_path, *tmp_path.rglob("*"), graph)]
        program = f"""
for place in {places!r}:
    attempt(place, lambda: os.lstat(place) and (os.listdir(place) if os.path.isdir(place) else open(place).read()))
def processes():
    seen = subprocess.run(["cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline"], shell=True, capture_output=True).stdout
    return [word for word in (b"pytest", {os.fsencode(tmp_path)!r}) if word in seen]
attempt("processes", lambda: processes() or 1 / 0)
attempt("graph", lambda: os.path.exists(os.environ["SM_CHANNEL_TRAIN"] + "/graph.json"))
"""
        assert said(attack(TRY + program + TOLD)) == {"graph": "True"}

    def test_memory_that_is_not_its_own_ends_it(self, attack: Any) -> None:
        with pytest.raises(
            InputError, match=r"training\.py needed more than the 0\.5 GiB of memory that a run may use"
        ):
            attack("held = [bytearray(1 << 24) for _ in range(1000)]")


def answered(listening: socket.socket) -> bytes:
    """What the first who connected has said; nothing if nobody has."""
    try:
        connection, _ = listening.accept()
    except BlockingIOError:
        return b""
    with connection:
        connection.settimeout(30)
        return connection.recv(100)


def test_a_fork_bomb_stays_small(attack: Any) -> None:
    program = """
import os, time
for _ in range(2000):
    try:
        if os.fork() == 0:
            time.sleep(600)
    except OSError:
        open("/opt/ml/model/refused", "w")
        break
"""
    assert (attack(program + SAID, memory=2 * 2**30) / "model" / "refused").exists()


def test_links_and_devices_take_nothing_along(attack: Any, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text(SECRET)
    program = f"""
import os
os.symlink({os.fspath(tmp_path / "outside")!r}, "/opt/ml/model/outside")
os.symlink("/", "/opt/ml/checkpoints/root")
os.symlink("../../../../../../etc/passwd", "/opt/ml/checkpoints/up")
os.mkfifo("/opt/ml/checkpoints/pipe")
os.symlink("/etc/passwd", "/opt/ml/checkpoints/eval_metrics_info.json")
open("/opt/ml/checkpoints/weights", "w").write("w")
"""
    output = attack(program + SAID)

    assert [path.name for path in (output / "model").iterdir()] == ["weights"]
    assert json.loads((output / "eval_metrics_info.json").read_text()) == {"SCORE": 1.0}


def test_a_link_in_the_folder_of_scripts_shows_nothing(
    graph: Path, source: Callable[..., Path], search: Callable[..., Context], tmp_path: Path
) -> None:
    (tmp_path / "outside").write_text(SECRET)
    folder = source({"training.py": "import os\nassert not os.path.lexists('/opt/program/link')\n" + SAID})
    (folder / "link").symlink_to(tmp_path / "outside")
    context = search(graph, folder, max_trials=1)
    stage.run(context)

    assert not os.path.lexists(context.output / "code" / "link")


def test_a_flood_of_output_fills_nothing(
    attack: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "MOST_LOGGED", 100_000)
    attack("import os\nfor _ in range(200):\n    os.write(1, b'x' * 50_000)\nprint()\n" + SAID)

    assert len(capfd.readouterr().err) < 400_000


def test_a_million_values_are_counted_and_not_kept(attack: Any) -> None:
    output = attack("import sys\nsys.stdout.write('score: 2\\n' * 100_000)\n" + SAID)
    [trial] = json.loads((output / "trials.json").read_text())

    assert (trial["value"], len(trial["values"])) == (1.0, 1000)


def test_a_log_steers_no_terminal(attack: Any, capfd: pytest.CaptureFixture[str]) -> None:
    attack(r"print('\x1b]0;owned\x07\x1b[2Jgone', flush=True)" + "\n" + SAID)

    assert "trial 0: ]0;owned[2Jgone" in capfd.readouterr().err


def test_a_pattern_that_explodes_elsewhere_takes_linear_time(attack: Any) -> None:
    metric = configuration()["models"][0]["eval_metric"]
    metric["metric_definitions"].append({"Name": "slow", "Regex": "(x+x+)+y"})
    space = json.dumps(configuration(eval_metric=metric))
    output = attack("print('x' * 100_000)\n" + SAID, {"model-hpo-configuration.json": space})

    assert json.loads((output / "eval_metrics_info.json").read_text()) == {"SCORE": 1.0}


def test_a_huge_output_ends_the_run(attack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "DISK", 32 * 2**20)
    program = """
import time
for number in range(200):
    open(f"/opt/ml/model/{number}", "wb").write(bytes(1 << 20))
time.sleep(60)
"""
    with pytest.raises(InputError, match="wrote more than"):
        attack(program)


def test_children_end_with_the_script(attack: Any) -> None:
    program = """
import os, time
if os.fork() == 0:
    os.setsid()
    time.sleep(5)
    open("/opt/ml/model/late", "w").write("x")
    time.sleep(600)
"""
    assert list((attack(program + SAID) / "model").iterdir()) == []


@pytest.mark.parametrize("name", ["a b", "--help", "x\0y", "", "ä"])
def test_a_parameter_that_is_no_argument_is_refused(name: str, attack: Any) -> None:
    space = json.dumps(configuration(**{"fixed-param": [{"param": name, "type": "int", "default": 1}]}))
    with pytest.raises(InputError, match="cannot be the name of an argument"):
        attack(SAID, {"model-hpo-configuration.json": space})

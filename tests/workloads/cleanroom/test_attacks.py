"""What the author of an image may try: each of these ends harmlessly, and takes no row along."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard.runner.context import Context
from modelyard.workloads.cleanroom import training

BANK = "111111111111"
SECRET = "canary-4711-lovelace"
MIB = 2**20


@pytest.fixture
def attack(
    project: Callable[[str], Path], channel: Callable[..., Path], attempt: Callable[..., Context]
) -> Callable[..., tuple[dict[str, Any], Path]]:
    """Trains with a hostile program over a channel that holds a secret; tells the result and the output."""

    def call(program: str, **changes: Any) -> tuple[dict[str, Any], Path]:
        parameters = {
            "name": "../../escape",
            "arn": "arn",
            "entrypoint": None,
            "arguments": None,
            "hyperparameters": {},
            "environment": {},
            "channels": [
                {"name": "train", "distribution": "FullyReplicated", "format": "CSV", "input": "channel-0"},
            ],
            "incremental": [],
            "mode": "File",
            "instances": 1,
            "memory": 256 * MIB,
            "volume": 64 * MIB,
            "seconds": 60,
            "metrics": [],
            "policy": None,
            "loggers": [BANK],
            **changes,
        }
        context = attempt(parameters, {"channel-0": channel(f"a,b\n1,{SECRET}\n"), "image": project(program)})
        return training.run(context), context.output

    return call


@pytest.fixture(autouse=True)
def _bounded() -> Iterator[None]:
    """No attack holds a job up."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < 60


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def said(output: Path) -> str:
    return (output / "model" / "said.txt").read_text()


TRY = """
import os, socket, subprocess
said = open("/opt/ml/model/said.txt", "w")
def attempt(what, action):
    try:
        print(what, "succeeded", action(), file=said, flush=True)
    except BaseException as error:
        print(what, "failed", file=said, flush=True)
"""


def test_nothing_can_be_written_but_the_folders_of_the_job(attack: Any) -> None:
    places = [
        "/",
        "/etc",
        "/usr",
        "/opt",
        "/opt/program",
        "/opt/ml",
        "/opt/ml/input",
        "/opt/ml/input/data/train",
        "/proc",
    ]
    result, output = attack(
        TRY + f'for place in {places!r}:\n    attempt(place, lambda: open(place + "/written", "w").write("x"))'
    )

    assert "failure" not in result
    assert said(output).splitlines() == [f"{place} failed" for place in places]


def test_the_data_and_the_earlier_model_cannot_be_changed(attack: Any, tmp_path: Path) -> None:
    program = """
path = "/opt/ml/input/data/train/part-00000.csv"
attempt("write", lambda: open(path, "a").write("x"))
attempt("delete", lambda: os.unlink(path))
attempt("chmod", lambda: os.chmod(path, 0o777))
attempt("mount", lambda: subprocess.run(["mount", "-o", "remount,rw", "/opt/ml/input/data/train"], check=True))
"""
    _, output = attack(TRY + program)

    assert "succeeded" not in said(output)
    assert (tmp_path / "channel" / "part-00000.csv").read_text() == f"a,b\n1,{SECRET}\n"


def test_nobody_can_be_reached(attack: Any) -> None:
    program = """
def reach(address):
    with socket.create_connection(address, timeout=2):
        pass
for address in (("1.1.1.1", 53), ("169.254.169.254", 80), ("10.0.0.1", 80), ("example.com", 80), ("::1", 22)):
    attempt(address[0], lambda: reach(address))
attempt("datagram", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("1.1.1.1", 53)))
attempt("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
attempt("abstract", lambda: socket.socket(socket.AF_UNIX).connect("\\0/tmp/.X11-unix/X0"))
attempt("interfaces", lambda: [name for _, name in socket.if_nameindex()] != ["lo"] or 1 / 0)
"""
    _, output = attack(TRY + program)

    assert "succeeded" not in said(output)


def test_nothing_of_the_server_is_seen(attack: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    program = f"""
attempt("environment", lambda: os.environ["AWS_SECRET_ACCESS_KEY"])
attempt("its folder", lambda: os.listdir({os.fspath(tmp_path)!r}))
attempt("other processes", lambda: [pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) > 50] or 1 / 0)
attempt("root", lambda: os.setuid(0) or os.getuid())
attempt("parent", lambda: open("/proc/1/environ").read().index("{SECRET}"))
attempt("devices", lambda: os.mknod("/tmp/disk", 0o60600, os.makedev(8, 0)) or open("/tmp/disk", "rb").read(1))
"""
    _, output = attack(TRY + program)

    assert "succeeded" not in said(output)


def test_links_and_devices_in_artifacts_take_nothing_along(attack: Any, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("of the server")
    program = f"""
import os
os.symlink("/opt/ml/input/data/train/part-00000.csv", "/opt/ml/model/link")
os.symlink({os.fspath(tmp_path / "outside")!r}, "/opt/ml/model/outside")
os.symlink("/", "/opt/ml/model/root")
os.symlink("../../../../../../etc/passwd", "/opt/ml/model/up")
os.mkfifo("/opt/ml/model/pipe")
os.rmdir("/opt/ml/output/data")
os.symlink({os.fspath(tmp_path)!r}, "/opt/ml/output/data")
os.symlink("/opt/ml/input/data/train/part-00000.csv", "/opt/ml/output/failure")
open("/opt/ml/model/model.bin", "w").write("model")
"""
    result, output = attack(program)

    assert "failure" not in result
    assert names(output) == ["logs", "model", "model/model.bin", "output"]
    assert result["skipped"] == 6


def test_a_failure_file_that_is_none_says_nothing(attack: Any, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("of the server")
    policy = {"containerLogs": [{"allowedAccountIds": [BANK]}]}
    program = (
        f"import os\nos.symlink({os.fspath(tmp_path / 'outside')!r}, '/opt/ml/output/failure')\nraise SystemExit(1)"
    )

    assert attack(program, policy=policy)[0]["failure"]["said"] == {}


def test_a_pipe_as_failure_file_holds_nobody_up(attack: Any) -> None:
    policy = {"containerLogs": [{"allowedAccountIds": [BANK]}]}
    result, _ = attack("import os\nos.mkfifo('/opt/ml/output/failure')\nraise SystemExit(1)", policy=policy)

    assert result["failure"]["said"] == {}


def test_names_that_climb_stay_below(attack: Any) -> None:
    program = """
import os
os.makedirs("/opt/ml/model/..hidden/...")
for name in ("..hidden/.../x", "-rf", "~", "a b", "$(id)", "%2e%2e%2f"):
    open("/opt/ml/model/" + name, "w").write("x")
for name in (b"new\\nline", b"back\\\\slash", b"\\xff", b"\\x1b[2J"):
    open(b"/opt/ml/model/" + name, "w").write("x")
"""
    result, output = attack(program)

    assert sorted(path.name for path in (output / "model").rglob("*") if path.is_file()) == sorted(
        ["x", "-rf", "~", "a b", "$(id)", "%2e%2e%2f"]
    )
    assert result["skipped"] == 4


def test_folders_without_end_are_taken_away_again(attack: Any) -> None:
    program = """
import os
os.chdir("/opt/ml/model")
for _ in range(1500):
    os.mkdir("d")
    os.chdir("d")
"""
    result, output = attack(program)

    assert result["skipped"] == 1
    assert max(name.count("/") for name in names(output)) == 64


def test_files_that_nobody_could_read_are_deleted_too(attack: Any) -> None:
    result, output = attack("import os\nos.mkdir('/opt/ml/output/data/d')\nos.chmod('/opt/ml/output/data/d', 0)")

    assert "failure" not in result
    assert names(output / "output") == ["d"]


def test_a_huge_output_ends_the_container(attack: Any) -> None:
    program = """
import os
for number in range(1000):
    file = open(f"/opt/ml/model/{number}", "wb")
    file.write(bytes(1 << 20))
    file.flush()
    os.unlink(f"/opt/ml/model/{number}") if number % 2 else None
    globals()[f"held{number}"] = file
import time
time.sleep(60)
"""
    result, output = attack(program)

    assert result["failure"]["code"] == "VOLUME_FULL"
    assert not (output / "model").exists()


def test_a_sparse_output_is_as_large_as_it_says(attack: Any) -> None:
    program = "for number in range(200):\n    open(f'/opt/ml/model/{number}', 'wb').truncate(60 << 20)"
    result, _ = attack(program)

    assert result["failure"]["code"] == "ARTIFACT_TOO_LARGE"


def test_rows_in_names_count_as_output(attack: Any) -> None:
    program = "for number in range(100):\n    open(f'/opt/ml/model/{number:0100}', 'w')"
    result, output = attack(program, policy={"maxArtifactSize": {"unit": "GB", "value": 5000 / 10**9}})

    assert result["failure"]["code"] == "ARTIFACT_TOO_LARGE"
    assert names(output) == ["logs"]


def test_too_much_memory_ends_the_container(attack: Any) -> None:
    result, _ = attack("held = []\nwhile True:\n    held.append(bytearray(1 << 24))")

    assert result["failure"]["code"] == "MEMORY_EXCEEDED"


def test_a_fork_bomb_stays_small(attack: Any) -> None:
    program = """
import os, time
for _ in range(2000):
    try:
        if os.fork() == 0:
            time.sleep(60)
    except OSError:
        open("/opt/ml/model/refused", "w")
        break
"""
    _, output = attack(program, memory=2048 * MIB)

    assert (output / "model" / "refused").exists()


def test_children_end_with_the_container(attack: Any) -> None:
    program = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(3)
        open("/opt/ml/model/late", "w").write("x")
        time.sleep(600)
"""
    started = time.monotonic()
    _, output = attack(program)

    assert time.monotonic() - started < 30
    assert names(output / "model") == []


def test_a_flood_of_output_fills_nothing(attack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from modelyard.workloads.cleanroom import container_log

    monkeypatch.setattr(container_log, "MOST_BYTES", 100_000)
    program = """
import os
for _ in range(200):
    os.write(1, b"x" * 50_000)
os.write(2, b"end\\n")
"""
    _, output = attack(program, policy={"containerLogs": [{"allowedAccountIds": [BANK]}]})
    log = output / "logs" / f"{BANK}.log"

    assert log.stat().st_size < 110_000
    assert log.read_text().endswith("[the log ends here: it reached 100,000 bytes]\n")


def test_secrets_leave_by_no_way_that_the_policy_does_not_open(attack: Any) -> None:
    program = """
import sys
secret = open("/opt/ml/input/data/train/part-00000.csv").read()
print(secret, flush=True)
print('"accuracy": 0.5', secret, file=sys.stderr, flush=True)
open("/opt/ml/output/failure", "w").write(secret)
open("/opt/ml/output/other", "w").write(secret)
open("/tmp/other", "w").write(secret)
open("/opt/ml/checkpoints/other", "w").write(secret)
raise ValueError(secret)
"""
    policy = {
        "containerLogs": [{"allowedAccountIds": [BANK], "logType": "ERROR_SUMMARY"}],
        "containerMetrics": {"noiseLevel": "HIGH"},
    }
    metrics = [{"name": "accuracy", "regex": '"accuracy": ([0-9.]+)'}]
    result, output = attack(program, policy=policy, metrics=metrics)
    task = output.parent
    told = b"".join(path.read_bytes() for path in task.rglob("*") if path.is_file()) + json.dumps(result).encode()

    assert SECRET.encode() not in told
    assert result["failure"]["said"] == {}


def test_a_log_steers_no_terminal(attack: Any) -> None:
    program = r"print('\x1b]0;owned\x07\x1b[2Jgone', chr(0x202e) + 'txt.exe', flush=True)"
    _, output = attack(program, policy={"containerLogs": [{"allowedAccountIds": [BANK]}]})
    log = (output / "logs" / f"{BANK}.log").read_text()

    assert log.rstrip("\n").endswith("]0;owned[2Jgone txt.exe")
    assert log.isascii()


@pytest.mark.parametrize(
    ("entrypoint", "code"), [(["/no/such/program"], "CONTAINER_EXITED_NON_ZERO"), ([], "IMAGE_NOT_USABLE")]
)
def test_an_image_without_a_program_fails_the_job(entrypoint: list[str], code: str, attack: Any) -> None:
    result, _ = attack("", entrypoint=entrypoint, arguments=[])

    assert result["failure"]["code"] == code


@pytest.mark.parametrize(
    "changes",
    [
        {"environment": {"A": "x\0--bind\0/\0/opt/ml/model"}},
        {"arguments": ["x\0y"]},
        {"entrypoint": ["python\0", "main.py"]},
    ],
)
def test_no_zero_byte_reaches_the_sandbox(changes: dict[str, Any], attack: Any) -> None:
    result, _ = attack("", **changes)

    assert result["failure"]["code"] == "IMAGE_NOT_USABLE"
    assert "no program can be given that" in result["failure"]["message"]


def test_hyperparameters_may_be_odd(attack: Any) -> None:
    program = """
import json, os
told = json.load(open("/opt/ml/input/config/hyperparameters.json"))
assert told == json.loads(os.environ["SM_HPS"])
open("/opt/ml/model/odd.json", "w").write(json.dumps(told))
"""
    odd = {"a=b": "x", "zero": "x\0y", "\n": "\n", "\u00e9": "\u2028", "": "empty", "half": "\ud800"}
    result, output = attack(program, hyperparameters=odd)

    assert "failure" not in result
    assert json.loads((output / "model" / "odd.json").read_text()) == odd

import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from modelyard.runner.context import Context, InputError, Stopped
from modelyard.workloads.cleanroom import transform
from modelyard.workloads.cleanroom.inference import run

BANK = "111111111111"
MIB = 2**20

SERVER = """
import json, os, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PARAMETERS = None
lock, active, most, seen = threading.Lock(), 0, 0, 0

def answer(body, headers):
    return 200, b"".join(line + b"!\\n" for line in body.splitlines())

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/ping":
            self.reply(200, b"")
        elif PARAMETERS is not None:
            self.reply(200, json.dumps(PARAMETERS).encode())
        else:
            self.reply(404, b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.reply(*answer(body, self.headers))

    def reply(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, form, *values):
        print(form % values, flush=True)

def serve():
    assert sys.argv[1:] == ["serve"], sys.argv
    ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
"""


def server(own: str = "") -> str:
    """A program that serves, with definitions of its own."""
    return f"{SERVER}\n{own}\nserve()\n"


@pytest.fixture
def infer(
    project: Callable[[str], Path], channel: Callable[..., Path], attempt: Callable[..., Context], tmp_path: Path
) -> Callable[..., tuple[dict[str, Any], dict[str, str], Path]]:
    """Runs an inference of a program over files; tells the result, the answers by file, and the output."""

    def call(program: str, *files: str, number: int = 1, should_stop: Any = lambda: False, **changes: Any) -> Any:
        if number == 1:
            (tmp_path / "model").mkdir()
            (tmp_path / "model" / "model.json").write_text('{"factor": 3}')
            call.inputs = {
                "image": project(program),
                "model": tmp_path / "model",
                "channel": channel(*(files or ("a\n1\n2\n",))),
            }
        parameters = {
            "name": "first job",
            "arn": "arn",
            "environment": {"OWN": "value"},
            "accept": "text/csv",
            "content_type": "text/csv",
            "header": "first",
            "max_payload": None,
            "records": None,
            "instances": 1,
            "memory": 512 * MIB,
            "policy": None,
            "loggers": [BANK],
            "start_seconds": 30,
            **changes,
        }
        context = attempt(parameters, call.inputs, number, should_stop=should_stop)
        result = run(context)
        out = {path.name: path.read_text() for path in sorted((context.output / "out").iterdir())}
        return result, out, context.output

    return call


def test_every_record_is_answered_in_order(infer: Any, sandbox: str) -> None:
    result, out, _ = infer(server(), "a\n1\n2\n", "a\n3\n")

    assert out == {"part-00000.csv.out": "a!\n1!\n2!\n", "part-00001.csv.out": "a!\n3!\n"}
    assert result == {
        "digest": f"sha256:{'0' * 64}",
        "isolation": sandbox,
        "records": 3,
        "bytes": 15,
        "logs": [],
    }


TELLS = """
def answer(body, headers):
    told = {"body": body.decode(), "accept": headers["Accept"], "type": headers["Content-Type"],
            "model": open("/opt/ml/model/model.json").read(), "environment": dict(os.environ)}
    return 200, json.dumps(told).encode()
"""


def test_a_container_is_asked_as_batch_transform_asks(infer: Any) -> None:
    told = json.loads(infer(server(TELLS), max_payload=7, accept="application/jsonlines")[1]["part-00000.csv.out"])

    assert (told["body"], told["accept"], told["type"]) == ("a\n1\n2\n", "application/jsonlines", "text/csv")
    assert told["model"] == '{"factor": 3}'
    expected = {
        "OWN": "value",
        "SAGEMAKER_BATCH": "true",
        "SAGEMAKER_BATCH_STRATEGY": "MULTI_RECORD",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": "7",
    }
    assert expected.items() <= told["environment"].items()


def test_the_header_can_be_left_out(infer: Any) -> None:
    assert infer(server(), header="none")[1] == {"part-00000.csv.out": "1!\n2!\n"}


def test_each_answer_ends_with_a_line_break(infer: Any) -> None:
    program = server('def answer(body, headers):\n    return 200, b"%d" % len(body)')
    rows = "".join(f"{number:07}\n" for number in range(3 * MIB // 8))

    assert infer(program, f"abcdefg\n{rows}", max_payload=1)[1] == {
        "part-00000.csv.out": f"{MIB}\n{MIB}\n{MIB}\n8\n",
    }


def test_the_container_may_say_how_much_it_takes_at_once(infer: Any) -> None:
    own = """
PARAMETERS = {"MaxConcurrentTransforms": 3, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 1}
together = threading.Barrier(3, timeout=20)
def answer(body, headers):
    together.wait()
    return 200, body[:8]
"""
    rows = "".join(f"{number:07}\n" for number in range(6 * MIB // 8 - 1))
    result, out, _ = infer(server(own), f"abcdefg\n{rows}")

    assert "failure" not in result
    starts = [0, *(number * MIB // 8 - 1 for number in range(1, 6))]
    assert out["part-00000.csv.out"].splitlines() == ["abcdefg", *(f"{start:07}" for start in starts[1:])]


def test_what_the_job_says_goes_above_what_the_container_says(infer: Any) -> None:
    own = 'PARAMETERS = {"MaxPayloadInMB": 1}\ndef answer(body, headers):\n    return 200, b"%d" % len(body)'
    rows = "".join(f"{number:07}\n" for number in range(2 * MIB // 8))

    assert infer(server(own), f"a\n{rows}", max_payload=4)[1] == {"part-00000.csv.out": f"{2 * MIB + 2}\n"}


@pytest.mark.parametrize("parameters", ["[]", '"x"', '{"MaxConcurrentTransforms": -1, "MaxPayloadInMB": 1e9}'])
def test_odd_wishes_of_a_container_are_ignored(parameters: str, infer: Any) -> None:
    assert infer(server(f"PARAMETERS = json.loads('{parameters}')"))[1] == {"part-00000.csv.out": "a!\n1!\n2!\n"}


def test_files_are_shared_out_among_instances(infer: Any) -> None:
    own = """
both = "/opt/ml/model"
def answer(body, headers):
    time.sleep(0.2)
    return 200, os.uname().nodename.encode()
"""
    result, out, _ = infer(server(own), *(f"a\n{number}\n" for number in range(6)), instances=2)

    assert result["records"] == 6
    assert {text.strip() for text in out.values()} == {"algo-1", "algo-2"}


def test_a_request_is_tried_again_while_that_may_help(infer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transform, "RETRY_SECONDS", 0.01)
    own = """
def answer(body, headers):
    global seen
    seen += 1
    return (503, b"busy") if seen < 4 else (200, b"%d" % seen)
"""
    assert infer(server(own))[1] == {"part-00000.csv.out": "4\n"}


def test_a_connection_that_breaks_is_made_anew(infer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transform, "RETRY_SECONDS", 0.01)
    own = """
def answer(body, headers):
    global seen
    seen += 1
    if seen < 3:
        raise ConnectionAbortedError
    return 200, b"%d" % seen
"""
    assert infer(server(own))[1] == {"part-00000.csv.out": "3\n"}


def test_a_bad_file_has_no_output_and_the_others_have(infer: Any) -> None:
    own = """
def answer(body, headers):
    global seen
    seen += 1
    return (400, b"secret row") if b"bad" in body else (200, b"ok")
"""
    result, out, _ = infer(server(own), "a\n1\n", "a\nbad\n", "a\n3\n")

    assert out == {"part-00000.csv.out": "ok\n", "part-00002.csv.out": "ok\n"}
    assert result["records"] == 2
    assert result["failure"] == {
        "code": "INVOCATION_FAILED",
        "message": "1 of 3 files have no answers. part-00001.csv: to request 1 the container answered with HTTP "
        "status 400.",
    }


def test_a_record_that_fits_into_no_request_is_named_by_its_line(infer: Any) -> None:
    result, out, _ = infer(server(), "a\n1\n" + "x" * (MIB + 1) + "\n", "a\n1\n", max_payload=1)

    assert list(out) == ["part-00001.csv.out"]
    assert result["failure"]["code"] == "PAYLOAD_TOO_LARGE"
    assert "part-00000.csv: line 3 is larger than a request may be (1 MB)" in result["failure"]["message"]


@pytest.mark.parametrize(("limit", "allowed"), [(1001, True), (1000, False)])
def test_the_output_is_limited_to_the_byte(limit: int, allowed: bool, infer: Any) -> None:
    program = server('def answer(body, headers):\n    return 200, b"x" * 1000')
    result, out, _ = infer(program, policy={"maxOutputSize": {"unit": "GB", "value": limit / 10**9}})

    assert ("failure" not in result) == allowed
    assert bool(out) == allowed
    if not allowed:
        assert result["failure"]["code"] == "OUTPUT_TOO_LARGE"
        assert result["bytes"] == 0


def test_an_answer_without_end_fills_nothing(infer: Any) -> None:
    own = """
class Handler(Handler):
    def do_POST(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            self.wfile.write(b"100000\\r\\n" + b"x" * 0x100000 + b"\\r\\n")
"""
    result, out, _ = infer(server(own), policy={"maxOutputSize": {"unit": "GB", "value": 0.05}})

    assert result["failure"]["code"] == "OUTPUT_TOO_LARGE"
    assert out == {}


def test_a_container_that_ends_early_fails_the_job(infer: Any) -> None:
    result, _, output = infer(
        "print('no model'); raise SystemExit(3)", policy={"containerLogs": [{"allowedAccountIds": [BANK]}]}
    )

    assert result["failure"] == {
        "code": "CONTAINER_EXITED_NON_ZERO",
        "message": "The container algo-1 ended with exit status 3.",
    }
    log = (output / "logs" / f"{BANK}.log").read_text()
    assert "algo-1 no model" in log
    assert "modelyard The container algo-1 ended with exit status 3." in log


def test_a_container_that_dies_under_a_request_fails_the_job(infer: Any) -> None:
    result, out, _ = infer(server("def answer(body, headers):\n    os._exit(9)"))

    assert result["failure"]["code"] == "CONTAINER_EXITED_NON_ZERO"
    assert out == {}


def test_a_container_that_never_gets_healthy_is_given_up(infer: Any) -> None:
    result, _, _ = infer(
        server("class Handler(Handler):\n    def do_GET(self):\n        self.reply(500, b'')"), start_seconds=0.5
    )

    assert result["failure"]["code"] == "CONTAINER_UNHEALTHY"


def test_an_answer_that_drips_comes_to_an_end(infer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transform, "INVOCATION_SECONDS", 0.5)
    monkeypatch.setattr(transform, "RETRY_SECONDS", 0.01)
    own = """
class Handler(Handler):
    protocol_version = "HTTP/1.0"
    def do_POST(self):
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(b"x")
            time.sleep(0.05)
"""
    started = time.monotonic()
    result, _, _ = infer(server(own))

    assert result["failure"]["code"] == "INVOCATION_FAILED"
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    "line", ["garbage", "HTTP/1.1 100 Continue\\r\\n" * 3, "HTTP/1.1 200 OK\\r\\nX: " + "x" * 70000]
)
def test_what_is_no_http_is_no_answer(line: str, infer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transform, "RETRY_SECONDS", 0.01)
    own = f"""
class Handler(Handler):
    def do_POST(self):
        self.wfile.write(b"{line}\\r\\n\\r\\n")
        self.close_connection = True
"""
    result, out, _ = infer(server(own))

    assert result["failure"]["code"] == "INVOCATION_FAILED"
    assert result["failure"]["message"].endswith("part-00000.csv: to request 1 the container gave no answer.")
    assert out == {}


def test_what_is_answered_is_not_asked_again(infer: Any) -> None:
    own = """
def answer(body, headers):
    print("asked", flush=True)
    if b"second" in body and "SLOW" in os.environ:
        time.sleep(60)
    return 200, b"ok"
"""
    with pytest.raises(Stopped):
        infer(
            server(own),
            "a\nfirst\n",
            "a\nsecond\n",
            should_stop=lambda: _finished(infer),
            environment={"SLOW": "yes"},
        )
    policy = {"containerLogs": [{"allowedAccountIds": [BANK]}]}
    result, out, output = infer(server(own), number=2, policy=policy)

    assert out == {"part-00000.csv.out": "ok\n", "part-00001.csv.out": "ok\n"}
    assert result["records"] == 2
    assert (output / "logs" / f"{BANK}.log").read_text().count("asked") == 1


@pytest.mark.parametrize(
    "cut", ["Content-Length: 1000\\r\\n\\r\\nhalf", "Transfer-Encoding: chunked\\r\\n\\r\\n10\\r\\nhalf"]
)
def test_an_answer_that_is_cut_off_is_none(cut: str, infer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transform, "RETRY_SECONDS", 0.01)
    own = f"""
class Handler(Handler):
    def do_POST(self):
        self.wfile.write(b"HTTP/1.1 200 OK\\r\\n{cut}")
        self.close_connection = True
"""
    result, out, _ = infer(server(own))

    assert result["failure"]["code"] == "INVOCATION_FAILED"
    assert out == {}


def test_an_answer_that_its_containers_death_cuts_off_is_none(infer: Any) -> None:
    own = """
class Handler(Handler):
    protocol_version = "HTTP/1.0"
    def do_POST(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"half of it")
        self.wfile.flush()
        os._exit(1)
"""
    result, out, _ = infer(server(own))

    assert result["failure"]["code"] == "CONTAINER_EXITED_NON_ZERO"
    assert out == {}


def test_a_killed_attempt_leaves_no_container_and_loses_no_finished_file(infer: Any, tmp_path: Path) -> None:
    own = """
def answer(body, headers):
    print("asked", flush=True)
    if b"second" in body and "SLOW" in os.environ:
        time.sleep(600)
    return 200, b"ok"
"""
    if (task := os.fork()) == 0:
        with suppress(BaseException):
            infer(server(own), "a\nfirst\n", "a\nsecond\n", environment={"SLOW": "yes"})
        os._exit(0)
    deadline = time.monotonic() + 60
    while not any(tmp_path.glob("task-*/state/out/part-00000.csv.out")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert _running(tmp_path)
    os.kill(task, signal.SIGKILL)
    os.waitpid(task, 0)
    while _running(tmp_path):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    infer.inputs = {name: tmp_path / name for name in ("image", "model", "channel")}
    result, out, output = infer(server(own), number=2, policy={"containerLogs": [{"allowedAccountIds": [BANK]}]})

    assert (result["records"], out) == (2, {"part-00000.csv.out": "ok\n", "part-00001.csv.out": "ok\n"})
    assert (output / "logs" / f"{BANK}.log").read_text().count("asked") == 1


def _running(folder: Path) -> list[str]:
    """Processes that see the image of a test as their files."""
    found = []
    for path in Path("/proc").glob("[0-9]*/mountinfo"):
        with suppress(OSError):
            if f"{folder.name}/image/project" in path.read_text():
                found.append(path.parent.name)
    return found


def _finished(infer: Any) -> bool:
    """Whether the first file's answers are kept."""
    task = infer.inputs["image"].parent
    return any(task.glob("task-*/state/out/part-00000.csv.out"))


def test_a_wrong_accept_is_refused(infer: Any) -> None:
    with pytest.raises(InputError, match="accept"):
        infer(server(), accept="text/csv\r\nX: y")

"""wrk, the load generator: what one server answers to many connections that ask for the same thing."""

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil
from servers import Server

UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 60e3}
"""Milliseconds."""


def load(server: Server, path: str, signing_name: str, seconds: float, connections: int = 16) -> dict[str, float]:
    """Requests a second, the middle and the slowest hundredth of their latencies (milliseconds), and what one costs
    the server (microseconds of processor time).

    Signed GETs of `path`, one thread of wrk. AssertionError if a single answer is no success.
    """
    headers = server.signed(path, signing_name).items()
    said = [part for name, value in headers for part in ("-H", f"{name}: {value}")]
    return _measured(server, [*said, server.url + path], seconds, connections)


def _measured(server: Server, arguments: Sequence[str], seconds: float, connections: int) -> dict[str, float]:
    process = psutil.Process(server.process.pid)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", *arguments]
    before = process.cpu_times()
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    after = process.cpu_times()
    assert "Non-2xx" not in said, said
    assert "Socket errors" not in said, said
    busy = after.user - before.user + after.system - before.system
    return {
        "requests/s": float(_find(r"Requests/sec:\s+([\d.]+)", said)[1]),
        "p50 ms": _latency(said, 50),
        "p99 ms": _latency(said, 99),
        "cpu us": busy * 1e6 / int(_find(r"(\d+) requests in", said)[1]),
    }


def load_posts(
    server: Server, path: str, signing_name: str, bodies: Sequence[str], folder: Path, seconds: float, connections: int
) -> dict[str, float]:
    """As `load`, of signed POSTs of these JSON bodies in turn, which a script of wrk in `folder` sends."""
    headers = server.signed(path, signing_name, method="POST") | {"Content-Type": "application/json"}
    script = folder / "posts.lua"
    script.write_text(_posts(path, headers, bodies))
    return _measured(server, ["-s", str(script), server.url + path], seconds, connections)


def _posts(path: str, headers: Mapping[str, str], bodies: Sequence[str]) -> str:
    """A script that formats all requests at its start, so that sending one costs wrk little."""
    said = ", ".join(f"[{json.dumps(name)}] = {json.dumps(value)}" for name, value in headers.items())
    texts = ",\n".join(f"[=[{body}]=]" for body in bodies)
    return f"""
local headers, bodies, requests, turn = {{ {said} }}, {{
{texts} }}, {{}}, 0
function init()
  for number, body in ipairs(bodies) do
    requests[number] = wrk.format("POST", {json.dumps(path)}, headers, body)
  end
end
function request()
  turn = turn % #requests + 1
  return requests[turn]
end
"""


def _latency(said: str, percent: int) -> float:
    found = _find(rf"(?m)^\s+{percent}%\s+([\d.]+)(\w+)", said)
    return float(found[1]) * UNITS[found[2]]


def _find(pattern: str, said: str) -> re.Match[str]:
    found = re.search(pattern, said)
    assert found, said
    return found

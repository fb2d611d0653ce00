"""wrk, the load generator: what one server answers to many connections that ask for the same thing."""

import re
import subprocess

import psutil
from servers import Server

UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 60e3}
"""Milliseconds."""


def load(server: Server, path: str, signing_name: str, seconds: float, connections: int = 16) -> dict[str, float]:
    """Requests a second, the middle and the slowest hundredth of their latencies (milliseconds), and what one costs
    the server (microseconds of processor time).

    Signed GETs of `path`, one thread of wrk. AssertionError if a single answer is no success.
    """
    process = psutil.Process(server.process.pid)
    headers = server.signed(path, signing_name)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    before = process.cpu_times()
    said = subprocess.run([*command, server.url + path], check=True, capture_output=True, text=True).stdout
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


def _latency(said: str, percent: int) -> float:
    found = _find(rf"(?m)^\s+{percent}%\s+([\d.]+)(\w+)", said)
    return float(found[1]) * UNITS[found[2]]


def _find(pattern: str, said: str) -> re.Match[str]:
    found = re.search(pattern, said)
    assert found, said
    return found

"""wrk, the load generator: what one server answers to many connections that ask for the same thing."""

import re
import subprocess

UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 60e3}
"""Milliseconds."""


def load(url: str, headers: dict[str, str], seconds: float, connections: int = 16) -> dict[str, float]:
    """Requests a second, and the middle and the slowest hundredth of their latencies (milliseconds).

    One thread of wrk. AssertionError if a single answer is no success.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    said = subprocess.run([*command, url], check=True, capture_output=True, text=True).stdout
    assert "Non-2xx" not in said, said
    assert "Socket errors" not in said, said
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert found, said
    return {"requests/s": float(found[1]), "p50 ms": _latency(said, 50), "p99 ms": _latency(said, 99)}


def _latency(said: str, percent: int) -> float:
    found = re.search(rf"^\s+{percent}%\s+([\d.]+)(\w+)", said, re.MULTILINE)
    assert found, said
    return float(found[1]) * UNITS[found[2]]

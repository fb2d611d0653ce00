"""One object of 1 GB, up and down: boto3's transfer manager as the client, beside `cp`.

`cp` copies the same file on the same disk. "null" is the same client against a server that throws away what comes and
sends zeros from memory (`null_s3.py`): as fast as that client can go here. Every side works with warm page caches, on a
file of random bytes. "cpu s" is the server's processor time, "peak MB" the most memory it has held, "client busy" the
client's processor time over the time that passed. "curl" is what the server does with a client that costs next to
nothing: where that is faster than boto3 against "null", boto3 is the slower of the two, and what else is lost is the
core that both may have to share.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from rounds import Bar, Report, main
from servers import Modelyard, NullS3, Server, running

BUCKET, KEY = "bench", "large"
GIGABYTE = 1 << 30


def run(quick: bool) -> Report:
    """Measures all sides."""
    report = Report("1 GB: boto3's transfer manager and cp, MB/s")
    rounds = 1 if quick else 5
    with running(modelyard := Modelyard(), null := NullS3()), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "file")
        ours, nothing = modelyard.client("s3"), null.client("s3")

        def copy() -> dict[str, float]:
            return {"MB/s": speed(lambda: subprocess.run(["cp", folder / "file", folder / "copy"], check=True))}

        def up(server: Server, client: Any) -> dict[str, float]:
            return of_server(server, lambda: client.upload_file(str(folder / "file"), BUCKET, KEY))

        def down(server: Server, client: Any) -> dict[str, float]:
            (folder / "back").unlink(missing_ok=True)
            return of_server(server, lambda: client.download_file(BUCKET, KEY, str(folder / "back")))

        def curl(*options: str | Path) -> dict[str, float]:
            headers = [part for name, value in modelyard.signed(f"/{BUCKET}/{KEY}", "s3").items()
                       for part in ("-H", f"{name}: {value}")]  # fmt: skip
            command = ["curl", "--silent", "--fail", *options, *headers, f"{modelyard.url}/{BUCKET}/{KEY}"]
            return {"MB/s": speed(lambda: subprocess.run(command, check=True))}

        report.measure(
            {
                "cp": copy,
                "upload": lambda: up(modelyard, ours),
                "upload, null": lambda: up(null, nothing),
                "upload, curl": lambda: curl("--upload-file", folder / "file"),
                "download": lambda: down(modelyard, ours),
                "download, null": lambda: down(null, nothing),
                "download, curl": lambda: curl("--output", "/dev/null"),
            },
            rounds,
        )
        ours.download_file(BUCKET, KEY, str(folder / "back"))
        subprocess.run(["cmp", folder / "file", folder / "back"], check=True)
    for way in ("upload", "download"):
        report.bars += [
            Bar(f"{way}, over cp", report.ratio("MB/s", way, "cp"), low=0.5),
            Bar(f"or over what the client can do: {way}", report.ratio("MB/s", way, f"{way}, null"), low=0.9),
            Bar(
                f"the server alone over what the client can do: {way}",
                report.ratio("MB/s", f"{way}, curl", f"{way}, null"),
                low=1,
            ),
        ]
    return report


def write(path: Path) -> None:
    """A file of random bytes."""
    with path.open("wb") as file:
        for _ in range(GIGABYTE >> 24):
            file.write(os.urandom(1 << 24))


def speed(work: Callable[[], object]) -> float:
    """Megabytes a second of work that moves a gigabyte."""
    began = time.perf_counter()
    work()
    return GIGABYTE / 1e6 / (time.perf_counter() - began)


def of_server(server: Server, work: Callable[[], object]) -> dict[str, float]:
    """The speed of some work, and what it costs the server and its client, which is this process."""
    process = psutil.Process(server.process.pid)
    before, client, began = process.cpu_times(), time.process_time(), time.perf_counter()
    measured = {"MB/s": speed(work)}
    measured["client busy"] = (time.process_time() - client) / (time.perf_counter() - began)
    after = process.cpu_times()
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return measured | {
        "cpu s": after.user - before.user + after.system - before.system,
        "peak MB": peak / 1e3,
    }


if __name__ == "__main__":
    main(run, __doc__)

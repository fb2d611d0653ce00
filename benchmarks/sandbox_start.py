"""How soon a program runs in a sandbox, beside the same program as a plain process.

Each round starts Python, which says a word, as a plain process, in a container by bubblewrap and in one by Podman, and
takes the time until the word is heard. What a container needs beyond the plain process is its start. The images are the
same Python project; the first, uncounted round finds out what works here.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from rounds import Bar, Report, main

from modelyard.images.folder import OpenedImage
from modelyard.runner.sandbox import Container, Limits, NoSandbox
from modelyard.runner.sandbox.isolation import Isolation, attempt

CODE = "import os; os.write(1, b'up')"
ASKED: Mapping[Isolation, float] = {"bubblewrap": 50, "podman": 400}
"""Milliseconds."""


def run(quick: bool) -> Report:
    """Measures starts by all that can run here."""
    report = Report("From the start of a program to its first word")
    with TemporaryDirectory() as folder:
        image = OpenedImage(Path(folder), "project", "sha256:0", ["python", "-I", "-S", "-c"], workdir="/opt/program")
        image.files.mkdir()
        sides: dict[str, Callable[[], dict[str, float]]] = {"plain process": plain}
        for name in ASKED:
            try:
                attempt(name)
            except NoSandbox as error:
                print(f"{name} is left out: {error}", file=sys.stderr)
                continue
            sides[name] = lambda name=name: contained(image, name)
        report.measure(sides, 5 if quick else 25)
    unboxed = report.medians["plain process"]["word ms"]
    for name, asked in ASKED.items():
        if name in report.medians:
            report.bars.append(Bar(f"{name}, ms more", report.medians[name]["word ms"] - unboxed, high=asked))
    return report


def plain() -> dict[str, float]:
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", CODE], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(2) == b"up"
        heard = time.perf_counter()
    return {"word ms": 1000 * (heard - began), "all ms": 1000 * (time.perf_counter() - began)}


def contained(image: OpenedImage, by: Isolation) -> dict[str, float]:
    heard: SimpleQueue[Any] = SimpleQueue()
    began = time.perf_counter()
    with Container(
        image,
        [CODE],
        {},
        [],
        Limits(memory=2**29, cores=1),
        uuid4().hex,
        lambda piece: heard.put((piece, time.perf_counter())),
        by=by,
    ) as container:
        piece, at = heard.get(timeout=60)
        assert piece == b"up", piece
        assert container.wait(60) == 0
    return {"word ms": 1000 * (at - began), "all ms": 1000 * (time.perf_counter() - began)}


if __name__ == "__main__":
    main(run, __doc__)

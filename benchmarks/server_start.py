"""How soon a server is ready, and what it holds when idle, beside moto_server.

Each round starts `modelyard serve` over a new data folder, and moto_server, and times both from the start of the
process to the first answered call (`GET /health`; moto's own page), and Modelyard also to its line on standard output.
Memory is what the process holds five seconds later: RSS, and PSS, its share of what processes hold together.
What any Python program needs to begin stands beside them: `python -c pass`.
"""

import subprocess
import sys
import time
from urllib.request import urlopen

from rounds import Bar, Report, main
from servers import Modelyard, Moto, Server

SETTLED_SECONDS = 5.0


def run(quick: bool) -> Report:
    """Measures starts of both servers."""
    report = Report("From the start of the process to its first answer, and idle memory")
    settled = 1.0 if quick else SETTLED_SECONDS

    def measure_modelyard() -> dict[str, float]:
        began = time.monotonic()
        with Modelyard() as server:
            line = time.monotonic() - began
            return {"line s": line, **first_answer(server, "/health", began), **memory(server, settled)}

    def measure_moto() -> dict[str, float]:
        began = time.monotonic()
        with Moto() as server:
            return {**first_answer(server, "/moto-api/", began), **memory(server, settled)}

    def measure_python() -> dict[str, float]:
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        return {"answer s": time.monotonic() - began}

    sides = {"modelyard": measure_modelyard, "moto_server": measure_moto, "python -c pass": measure_python}
    report.measure(sides, 3 if quick else 7)
    found = report.medians["modelyard"]
    report.bars += [Bar("ready, s", found["answer s"], high=0.8), Bar("idle RSS, MB", found["RSS MB"], high=120)]
    return report


def first_answer(server: Server, path: str, began: float) -> dict[str, float]:
    """Asks once; moto listens before this."""
    with urlopen(server.url + path) as answer:
        assert answer.status == 200, answer.status
    return {"answer s": time.monotonic() - began}


def memory(server: Server, settled: float) -> dict[str, float]:
    """What the server holds once it has settled."""
    time.sleep(settled)
    rss, pss = server.memory()
    return {"RSS MB": rss, "PSS MB": pss}


if __name__ == "__main__":
    main(run, __doc__)

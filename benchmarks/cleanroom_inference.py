"""Inference over one million rows in a sandboxed container beside a plain script with the same model.

Both cut the same CSV files into the same requests of 6 MB, read them with pandas, ask the same scikit-learn model and
write CSV. The plain script is one process that does so in a loop. Modelyard's side is the task: it starts a container,
sends the requests to its web server (Python's own), and keeps the answers. Both are timed from the start of a process,
imports included.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
from rounds import Bar, Report, main
from sklearn.linear_model import LogisticRegression

from modelyard.images.folder import OpenedImage
from modelyard.runner.context import Context
from modelyard.workloads.cleanroom.inference import run

CORES, FEATURES, SHARDS = 2, 10, 4
BAR = 0.8

MODEL = """
import io, json
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

class Scorer:
    def __init__(self, path):
        told = json.load(open(path))
        self.model = LogisticRegression()
        self.model.classes_ = np.array([0, 1])
        self.model.coef_, self.model.intercept_ = np.array(told["coef"]), np.array(told["intercept"])
        self.names = [f"f{number}" for number in range(self.model.coef_.shape[1])]

    def score(self, body):
        head = 0 if body[:1] == b"f" else None
        rows = pd.read_csv(io.BytesIO(body), header=head, names=None if head == 0 else self.names)
        scores = self.model.predict_proba(rows.to_numpy())[:, 1]
        return pd.Series(scores).to_csv(header=False, index=False, float_format="%.6f").encode()
"""
PLAIN = """
import sys
from pathlib import Path
from scorer import Scorer

most = 6 * 2**20
scorer = Scorer(sys.argv[1])
for path in sorted(Path(sys.argv[2]).iterdir()):
    with path.open("rb") as file, open(Path(sys.argv[3]) / f"{path.name}.out", "wb") as out:
        rest = b""
        while body := rest + file.read(most - len(rest)):
            end = body.rfind(b"\\n") + 1 or len(body)
            body, rest = body[:end], body[end:]
            out.write(scorer.score(body))
"""
SERVER = """
from http.server import BaseHTTPRequestHandler, HTTPServer
from scorer import Scorer

scorer = Scorer("/opt/ml/model/model.json")

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.reply(200 if self.path == "/ping" else 404, b"")

    def do_POST(self):
        self.reply(200, scorer.score(self.rfile.read(int(self.headers["Content-Length"]))))

    def reply(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

HTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
"""


def run_benchmark(quick: bool) -> Report:
    rows = 100_000 if quick else 1_000_000
    report = Report(f"inference over {rows:,} rows of {FEATURES} features")
    with TemporaryDirectory() as name:
        folder = Path(name)
        _prepare(folder, rows)
        report.measure(
            {"plain script": lambda: _plain(folder, rows), "modelyard": lambda: _job(folder, rows)}, 3 if quick else 7
        )
        for path in sorted((folder / "plain").iterdir()):
            assert path.read_bytes() == (folder / "job" / "out" / path.name).read_bytes(), path.name
    report.bars.append(
        Bar("rows/s, of the plain script's", report.round_ratio("rows/s", "modelyard", "plain script"), low=BAR)
    )
    return report


def _prepare(folder: Path, rows: int) -> None:
    """A model, a channel of some shards, and a project that serves it."""
    rng = np.random.default_rng(7)
    for name in ("channel", "model", "image/project"):
        (folder / name).mkdir(parents=True)
    header = ",".join(f"f{number}" for number in range(FEATURES))
    for shard in range(SHARDS):
        values = rng.normal(size=(rows // SHARDS, FEATURES))
        np.savetxt(folder / "channel" / f"part-{shard:05}.csv", values, "%.5f", ",", header=header, comments="")
    some = rng.normal(size=(2000, FEATURES))
    model = LogisticRegression().fit(some, some[:, 0] + some[:, 1] > 0)
    told = {"coef": model.coef_.tolist(), "intercept": model.intercept_.tolist()}
    (folder / "model" / "model.json").write_text(json.dumps(told))
    for file, text in {"scorer.py": MODEL, "plain.py": PLAIN, "main.py": SERVER}.items():
        (folder / "image" / "project" / file).write_text(text)
    digest = f"sha256:{'0' * 64}"
    OpenedImage(folder / "image", "project", digest, ["python", "main.py"], workdir="/opt/program").write()


def _plain(folder: Path, rows: int) -> Mapping[str, float]:
    output = _new(folder / "plain")
    arguments = [folder / "image" / "project" / "plain.py", folder / "model" / "model.json", folder / "channel", output]
    started = perf_counter()
    subprocess.run([sys.executable, *map(str, arguments)], check=True)
    seconds = perf_counter() - started
    return {"rows/s": rows / seconds, "seconds": seconds}


def _job(folder: Path, rows: int) -> Mapping[str, float]:
    inputs = {name: folder / name for name in ("image", "model", "channel")}
    parameters = {
        "name": "benchmark",
        "arn": "",
        "environment": {},
        "accept": "text/csv",
        "content_type": "text/csv",
        "header": "first",
        "max_payload": None,
        "records": rows,
        "instances": 1,
        "memory": 4 << 30,
        "policy": None,
        "loggers": [],
    }
    context = Context(parameters, inputs, _new(folder / "state"), _new(folder / "job"), cores=CORES)
    started = perf_counter()
    found = run(context)
    seconds = perf_counter() - started
    assert found["records"] == rows, found
    return {"rows/s": rows / seconds, "seconds": seconds}


def _new(folder: Path) -> Path:
    rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


if __name__ == "__main__":
    main(run_benchmark, __doc__)

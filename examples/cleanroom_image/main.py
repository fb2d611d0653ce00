"""The shop's image: `train` learns what digit a picture shows, `serve` answers rows of pixels with digits.

It meets what SageMaker asks of containers, and so what Clean Rooms ML does: folders and files below `/opt/ml`, and an
HTTP server on port 8080. Rows are CSV: an id, the pixels, and for training the digit last. A header may come or not.
"""

import csv
import io
import json
import sys
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import joblib
import numpy as np
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC

ML = Path("/opt/ml")
MODEL = ML / "model" / "digits.joblib"


def train() -> None:
    """Learns from the channel `train`, and keeps the model."""
    hyperparameters = json.loads((ML / "input/config/hyperparameters.json").read_text())
    files = sorted((ML / "input/data/train").glob("*.csv"))
    rows = np.concatenate([numbers(file.read_text())[:, 1:] for file in files])
    pixels, digits = rows[:, :-1], rows[:, -1].astype(int)
    print(f"{len(rows)} pictures of {pixels.shape[1]} pixels", flush=True)
    model = SVC(gamma=float(hyperparameters.get("gamma", 0.001)), C=float(hyperparameters.get("c", 10)))
    print(f"accuracy={cross_val_score(model, pixels, digits, cv=3).mean():.4f}", flush=True)
    joblib.dump(model.fit(pixels, digits), MODEL)


def serve() -> None:
    """Answers until it is stopped."""
    Handler.model = joblib.load(MODEL)
    ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()


class Handler(BaseHTTPRequestHandler):
    """`GET /ping`, and `POST /invocations` with rows of an id and pixels: one line `id,digit` for each."""

    model: SVC

    def do_GET(self) -> None:
        self._answer(200 if self.path == "/ping" else 404, b"")

    def do_POST(self) -> None:
        rows = numbers(self.rfile.read(int(self.headers["Content-Length"])).decode())
        digits = self.model.predict(rows[:, 1:])
        lines = (f"{int(id)},{digit}\n" for id, digit in zip(rows[:, 0], digits, strict=True))
        self._answer(200, "".join(lines).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/csv")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing: logs leave the room."""


def numbers(text: str) -> np.ndarray:
    """Rows of CSV as numbers `[rows, columns]`, without the header."""
    rows: Iterable[list[str]] = csv.reader(io.StringIO(text))
    return np.array([[float(value) for value in row] for row in rows if row and not row[0].isidentifier()])


if __name__ == "__main__":
    {"train": train, "serve": serve}[sys.argv[1]]()

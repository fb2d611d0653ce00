"""A real server with a keys file, and the parties of a room as its clients."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from modelyard import keys
from tests.conftest import wait_for
from tests.rooms import BANK, IMAGE, SHOP, TABLES, Room, rows, write_image
from tests.system.server import Server

OVER = ("ACTIVE", "CREATE_FAILED", "INACTIVE")
SECONDS = 300

PROGRAM = """
import csv, io, json, os, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

ML = Path("/opt/ml")


def table(text):
    found = [line.split(",") for line in text.splitlines() if line]
    return [line for line in found if line[0] != "income"]


def train():
    wanted = json.loads((ML / "input/config/hyperparameters.json").read_text())
    seen = [row for file in sorted((ML / "input/data/train").glob("*.csv")) for row in table(file.read_text())]
    print("accuracy=0.75", flush=True)
    print("the first row is", seen[0], "of person p7@example.com", flush=True)
    time.sleep(float(wanted.get("seconds", 0)))
    before = ML / "input/data/before/model.json"
    count = len(seen) + (json.loads(before.read_text())["count"] if before.exists() else 0)
    mean = sum(int(row[0]) for row in seen) / len(seen)
    (ML / "model/model.json").write_text(json.dumps({"count": count, "mean": mean}))
    (ML / "output/data/metrics.json").write_text(json.dumps({"count": count}))


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.reply(200 if self.path == "/ping" else 404, b"")

    def do_POST(self):
        time.sleep(float(os.environ.get("SECONDS", "0")))
        model = json.loads((ML / "model/model.json").read_text())
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        lines = [f"{row[0]},{int(int(row[0]) > model['mean'])}" for row in table(body)]
        self.reply(200, "\\n".join(lines).encode())

    def reply(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if sys.argv[1] == "serve":
    HTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
train()
"""


class KeyedServer(Server):
    """A server that knows its parties by their keys."""

    def __init__(self, folder: Path, *accounts: str) -> None:
        super().__init__(folder, "--slots", "2")
        folder.mkdir(parents=True, exist_ok=True)
        self._keys = {account: keys.add(folder, account) for account in accounts}

    def client(self, service: str = "cleanroomsml", account: str = BANK) -> Any:
        key = self._keys[account]
        session = boto3.session.Session(key.id, key.secret, region_name="us-east-1")
        return session.client(service, endpoint_url=self.url, config=Config(retries={"total_max_attempts": 3}))

    def modelyard(self, *arguments: str) -> str:
        """What the operator's command line prints."""
        command = [sys.executable, "-m", "modelyard", *arguments, "--data-dir", str(self.folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False, env=os.environ)
        assert done.returncode == 0, done.stderr
        return done.stdout


class LiveRoom(Room):
    """The room of `tests.rooms` on such a server, whose members can wait."""

    def __init__(self, server: KeyedServer) -> None:
        super().__init__(server.client)
        self.server = server

    def furnish(self, folder: Path, policies: Any = None, **changes: Any) -> "LiveRoom":
        """Opens the room, with tables in their owners' buckets, an image, and the model's association."""
        self.open()
        for name, (account, _, _) in TABLES.items():
            s3 = self.client("s3", account)
            s3.create_bucket(Bucket=f"{name}-data")
            s3.put_object(Bucket=f"{name}-data", Key=f"{name}/part-0.csv", Body=rows(name).encode())
            self.server.modelyard("tables", "add", f"rooms.{name}", f"s3://{name}-data/{name}", "--account", account)
        image = write_image(folder / "image", PROGRAM)
        self.server.modelyard("images", "add", IMAGE, str(image))
        self.bring_model(policies, **changes)
        self.bring_tables()
        for account, bucket in ((BANK, "bank-out"), (SHOP, "shop-out")):
            self.client("s3", account).create_bucket(Bucket=bucket)
            self.configure(account, f"s3://{bucket}/received")
        return self

    def filled(self, **changes: Any) -> str:
        """A channel that is ready."""
        arn = self.channel(**changes)
        assert self.ended(lambda: self.get_channel(arn))["status"] == "ACTIVE"
        return arn

    def ended(self, get: Any) -> dict[str, Any]:
        """What Get answers when a job is over."""
        wait_for(lambda: get()["status"] in OVER, SECONDS)
        return dict(get())

    def received(self, account: str, bucket: str) -> dict[str, bytes]:
        """The objects of a bucket, as an account reads them."""
        s3 = self.client("s3", account)
        keys = [item["Key"] for item in s3.list_objects_v2(Bucket=bucket).get("Contents", ())]
        return {key: s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}

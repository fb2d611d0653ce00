"""A server with a keys file, asked by boto3, by our own client, and by those who have no business there."""

import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from modelyard import keys
from modelyard.app import Application
from modelyard.collaborations import audit
from modelyard.collaborations.audit import Entry
from modelyard.console.client import Client, ServerError
from modelyard.database import Database
from modelyard.settings import Settings
from tests.boto import Clients, Loop, Send
from tests.commands.terminal import cli
from tests.system.server import Server

BANK, SHOP = "111122223333", "444455556666"
Party = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def parties(folder: Path) -> dict[str, keys.Key]:
    return {account: keys.add(folder, account) for account in (BANK, SHOP)}


def started(loop: Loop, folder: Path) -> Application:
    async def start() -> Application:
        return Application(Settings(data_dir=folder))

    return loop.run(start())


def closed(loop: Loop, application: Application) -> None:
    async def close() -> None:
        application.close()

    loop.run(close())


@pytest.fixture
def application(folder: Path, parties: dict[str, keys.Key], loop: Loop) -> Iterator[Application]:
    application = started(loop, folder)
    yield application
    closed(loop, application)


@pytest.fixture
def client(application: Application, parties: dict[str, keys.Key], client_for: Clients) -> Party:
    """A function `(service, account, **changes) -> boto3 client` that signs with the account's key."""

    def make(service: str, account: str = BANK, **changes: Any) -> Any:
        key = parties[account]
        options = {"aws_access_key_id": key.id, "aws_secret_access_key": key.secret, **changes}
        return client_for(application.endpoint, service, **options)

    return make


def code(work: Callable[..., Any], **asked: Any) -> str:
    with pytest.raises(ClientError) as refused:
        work(**asked)
    return str(refused.value.response["Error"]["Code"])


def asked(send: Send, application: Application, page: str, key: keys.Key | None, method: str = "GET") -> Any:
    """Status and answer of one of our pages."""
    request = AWSRequest(method, f"http://modelyard.test{page}", {"host": "modelyard.test"})
    if key is not None:
        SigV4Auth(Credentials(key.id, key.secret), "modelyard", "us-east-1").add_auth(request)
    status, _, content = send(application.endpoint, method, page, headers=dict(request.headers.items()))
    return status, json.loads(content)


def collaborate(client: Party) -> dict[str, str]:
    """The memberships of a bank and a shop, by account."""
    made = client("cleanrooms").create_collaboration(
        name="both",
        description="bank and shop",
        creatorDisplayName="bank",
        creatorMemberAbilities=["CAN_QUERY"],
        members=[{"accountId": SHOP, "displayName": "shop", "memberAbilities": ["CAN_RECEIVE_RESULTS"]}],
        queryLogStatus="DISABLED",
    )["collaboration"]["id"]
    memberships = {}
    for account in (BANK, SHOP):
        joined = client("cleanrooms", account).create_membership(
            collaborationIdentifier=made, queryLogStatus="DISABLED"
        )
        memberships[account] = joined["membership"]["id"]
    return memberships


def test_a_key_is_its_account_and_no_other(client: Party, parties: dict[str, keys.Key]) -> None:
    assert client("sts").get_caller_identity()["Account"] == BANK
    assert client("sts", SHOP).get_caller_identity()["Account"] == SHOP
    for service, work in (("cleanrooms", "list_memberships"), ("cleanroomsml", "list_configured_model_algorithms")):
        assert code(getattr(client(service, aws_secret_access_key="guessed"), work)) == "InvalidSignatureException"
        assert code(getattr(client(service, aws_access_key_id=BANK), work)) == "UnrecognizedClientException"
        assert code(getattr(client(service, SHOP, aws_access_key_id=parties[BANK].id), work)) == (
            "InvalidSignatureException"
        )
        getattr(client(service), work)()


def test_every_service_wants_a_signature(application: Application, send: Send) -> None:
    for path, refusal in (
        ("/collaborations", "MissingAuthenticationTokenException"),
        ("/configured-model-algorithms", "MissingAuthenticationTokenException"),
        ("/foundation-models", "MissingAuthenticationTokenException"),
        ("/ml/modeltraining", "MissingAuthenticationTokenException"),
    ):
        status, headers, _ = send(application.endpoint, "GET", path)
        assert (status, headers["x-amzn-errortype"]) == (403, refusal)
    bearer = {"authorization": f"Bearer {BANK}"}
    assert send(application.endpoint, "GET", "/foundation-models", headers=bearer)[0] == 403


def test_objects_and_presigned_addresses(
    client: Party, parties: dict[str, keys.Key], application: Application, send: Send
) -> None:
    bank, shop = client("s3"), client("s3", SHOP)
    bank.create_bucket(Bucket="vault")
    bank.put_object(Bucket="vault", Key="a b/ü~.csv", Body=b"rows", Metadata={"note": "two  words"})
    assert bank.get_object(Bucket="vault", Key="a b/ü~.csv")["Body"].read() == b"rows"
    assert [one["Key"] for one in bank.list_objects_v2(Bucket="vault", Prefix="a b/")["Contents"]] == ["a b/ü~.csv"]
    assert code(shop.get_object, Bucket="vault", Key="a b/ü~.csv") == "AccessDenied"
    assert code(client("s3", aws_secret_access_key="x").list_objects_v2, Bucket="vault") == "SignatureDoesNotMatch"

    one = {"Bucket": "vault", "Key": "a b/ü~.csv"}

    def presigned(signer: Any) -> str:
        return str(signer.generate_presigned_url("get_object", one, ExpiresIn=60)).removeprefix("http://modelyard.test")

    status, _, content = send(application.endpoint, "GET", presigned(bank))
    assert (status, b"s3v4" in content) == (400, True), "version 2, which boto3 prefers, is refused with the way out"
    path = presigned(_signer_of_version_4(parties[BANK]))
    assert send(application.endpoint, "GET", path)[2] == b"rows"
    assert send(application.endpoint, "GET", path.replace(".csv", ".tsv"))[0] == 403
    assert send(application.endpoint, "GET", path.partition("?")[0])[0] == 403


def _signer_of_version_4(key: keys.Key) -> Any:
    credentials = {"aws_access_key_id": key.id, "aws_secret_access_key": key.secret, "region_name": "us-east-1"}
    return boto3.client(
        "s3", endpoint_url="http://modelyard.test", config=Config(signature_version="s3v4"), **credentials
    )


def test_no_bucket_is_read_by_naming_it(client: Party) -> None:
    bank, shop = client("s3"), client("s3", SHOP)
    bank.create_bucket(Bucket="vault")
    shop.create_bucket(Bucket="shelf")
    bank.put_object(Bucket="vault", Key="rows.csv", Body=b"rows")
    assert code(shop.copy_object, Bucket="shelf", Key="mine", CopySource="vault/rows.csv") == "AccessDenied"
    assert code(shop.put_object, Bucket="vault", Key="rows.csv", Body=b"cows") == "AccessDenied"
    assert code(shop.delete_object, Bucket="vault", Key="rows.csv") == "AccessDenied"
    assert [one["Name"] for one in shop.list_buckets()["Buckets"]] == ["shelf"]


def test_a_body_that_was_changed_on_its_way_is_not_kept(
    client: Party, parties: dict[str, keys.Key], application: Application, send: Send
) -> None:
    bank, key = client("s3"), parties[BANK]
    bank.create_bucket(Bucket="vault")
    url = "http://modelyard.test/vault/rows.csv"
    request = AWSRequest("PUT", url, {"host": "modelyard.test", "x-amz-meta-from": "bank"}, b"rows")
    request.context["payload_signing_enabled"] = True
    S3SigV4Auth(Credentials(key.id, key.secret), "s3", "us-east-1").add_auth(request)
    headers = dict(request.headers.items())
    status, _, content = send(application.endpoint, "PUT", "/vault/rows.csv", b"cows", headers)
    assert (status, b"XAmzContentSHA256Mismatch" in content) == (400, True)
    assert "Contents" not in bank.list_objects_v2(Bucket="vault")
    assert send(application.endpoint, "PUT", "/vault/rows.csv", b"rows", headers)[0] == 200
    assert bank.get_object(Bucket="vault", Key="rows.csv")["Body"].read() == b"rows"


def test_an_account_assumes_its_own_roles(client: Party) -> None:
    work = client("sts").assume_role
    assert code(work, RoleArn=f"arn:aws:iam::{SHOP}:role/any", RoleSessionName="own") == "AccessDenied"
    got = work(RoleArn=f"arn:aws:iam::{BANK}:role/own", RoleSessionName="own")["Credentials"]
    session = {
        "aws_access_key_id": got["AccessKeyId"],
        "aws_secret_access_key": got["SecretAccessKey"],
        "aws_session_token": got["SessionToken"],
    }
    assert client("sts", **session).get_caller_identity()["Account"] == BANK
    forged = {**session, "aws_secret_access_key": "guessed"}
    assert code(client("cleanrooms", **forged).list_memberships) == "InvalidSignatureException"
    forged = {**session, "aws_session_token": "guessed"}
    assert code(client("cleanrooms", **forged).list_memberships) == "UnrecognizedClientException"


def test_sessions_of_a_rehearsal_end_with_it(folder: Path, loop: Loop, client_for: Clients) -> None:
    rehearsal = started(loop, folder)
    role = {"RoleArn": f"arn:aws:iam::{BANK}:role/any", "RoleSessionName": "own"}
    got = client_for(rehearsal.endpoint, "sts", account=SHOP).assume_role(**role)["Credentials"]
    closed(loop, rehearsal)
    keys.add(folder, BANK)
    checked = started(loop, folder)
    try:
        client = client_for(
            checked.endpoint,
            "cleanrooms",
            aws_access_key_id=got["AccessKeyId"],
            aws_secret_access_key=got["SecretAccessKey"],
            aws_session_token=got["SessionToken"],
        )
        assert code(client.list_memberships) == "UnrecognizedClientException"
    finally:
        closed(loop, checked)


def test_a_rehearsal_says_so(folder: Path, loop: Loop, client_for: Clients) -> None:
    rehearsal = started(loop, folder)
    try:
        for service, work in (("cleanrooms", "list_memberships"), ("cleanroomsml", "list_configured_model_algorithms")):
            answer = getattr(client_for(rehearsal.endpoint, service), work)()
            headers = answer["ResponseMetadata"]["HTTPHeaders"]
            assert headers["x-modelyard-rehearsal"] == "signatures are not checked"
        answer = client_for(rehearsal.endpoint, "bedrock").list_foundation_models()
        assert "x-modelyard-rehearsal" not in answer["ResponseMetadata"]["HTTPHeaders"]
    finally:
        closed(loop, rehearsal)


def test_where_signatures_are_checked_it_is_no_rehearsal(client: Party) -> None:
    answer = client("cleanrooms").list_memberships()
    assert "x-modelyard-rehearsal" not in answer["ResponseMetadata"]["HTTPHeaders"]


def test_pages_want_a_signature_too(application: Application, parties: dict[str, keys.Key], send: Send) -> None:
    bank = parties[BANK]
    for page in ("/-/jobs/", "/-/buckets/", "/-/endpoints/", "/-/models/", "/-/audit/?membership=m"):
        status, answer = asked(send, application, page, None)
        assert (status, "AWS_ACCESS_KEY_ID" in answer["message"]) == (401, True)
        forged = keys.Key(bank.id, "guessed", BANK)
        assert asked(send, application, page, forged)[0] == 401
        as_account = keys.Key(BANK, bank.secret, BANK)
        assert asked(send, application, page, as_account)[0] == 401
    assert asked(send, application, "/-/jobs/", bank) == (200, {"jobs": []})
    assert asked(send, application, "/health", None)[0] == 200


def test_a_party_is_no_operator(application: Application, parties: dict[str, keys.Key], send: Send) -> None:
    page = f"/-/buckets/own?bucket=vault&account={SHOP}"
    assert asked(send, application, page, parties[SHOP], "POST")[0] == 403
    assert application.access.operator is not None
    operator = keys.Key(BANK, application.access.operator, BANK)
    assert asked(send, application, page, operator, "POST") == (200, {"name": "vault", "owner": SHOP})
    assert asked(send, application, "/-/models/add?id=x&path=%2Fetc", parties[SHOP], "POST")[0] == 403


def test_a_party_reads_its_own_part_of_the_audit_log(
    application: Application, parties: dict[str, keys.Key], client: Party, send: Send, loop: Loop
) -> None:
    memberships = collaborate(client)
    bank = client("cleanrooms").get_membership(membershipIdentifier=memberships[BANK])["membership"]
    room = bank["collaborationId"]
    entries = [
        Entry(room, SHOP, BANK, "query", f"query {n}", "purchases", "LIST", "to the bank", n, "rows") for n in range(3)
    ]
    own = Entry(room, SHOP, SHOP, "deleted", "channel")
    elsewhere = Entry("another room", SHOP, BANK, "query", "other")
    loop.run(application.audit.record(*entries, own, elsewhere))

    def read(account: str, membership: str, **more: Any) -> Any:
        query = "&".join(f"{name}={value}" for name, value in {"membership": membership, **more}.items())
        return asked(send, application, f"/-/audit/?{query}", parties[account])

    status, first = read(SHOP, memberships[SHOP], limit=3)
    assert (status, [one["subject"] for one in first["entries"]]) == (200, ["channel", "query 2", "query 1"])
    assert first["entries"][1]["amount"] == 2
    _, second = read(SHOP, memberships[SHOP], limit=3, before=first["following"])
    assert ([one["subject"] for one in second["entries"]], second["following"]) == (["query 0"], None)
    _, banks = read(BANK, memberships[BANK])
    assert [one["subject"] for one in banks["entries"]] == ["query 2", "query 1", "query 0"]

    foreign, unknown = read(BANK, memberships[SHOP]), read(BANK, "0" * 36)
    assert foreign[0] == unknown[0] == 404
    assert foreign[1]["message"].replace(memberships[SHOP], "0" * 36) == unknown[1]["message"]
    assert read(SHOP, memberships[SHOP], before="x")[0] == 400

    client("cleanrooms", SHOP).delete_membership(membershipIdentifier=memberships[SHOP])
    assert read(SHOP, memberships[SHOP])[0] == 404
    assert len(read(SHOP, room)[1]["entries"]) == 4, "who has left still reads what was done with its data"


@pytest.mark.system
def test_the_command_line_signs(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    key = keys.add(folder, BANK)
    server = Server(folder).start()
    try:
        assert (folder / "server.json").stat().st_mode & 0o777 == 0o600
        told = json.loads((folder / "server.json").read_text())
        assert Client(server.url, SHOP, "us-east-1", (SHOP, told["operator"], None)).get("jobs/") == {"jobs": []}
        assert Client(server.url, SHOP, "us-east-1", (key.id, key.secret, None)).get("jobs/", limit=3) == {"jobs": []}
        for credentials in (None, (key.id, "guessed", None), (BANK, key.secret, None)):
            with pytest.raises(ServerError):
                Client(server.url, BANK, "us-east-1", credentials).get("jobs/")
        assert urllib.request.urlopen(f"{server.url}/health").status == 200
        membership = _membership_with_an_entry(server, key)
        shown = cli("audit", membership, "--account", BANK, "--data-dir", str(folder)).output
        assert re.search(rf"{SHOP}\s+query\s+clients\s+LIST\s+rows to the shop\s+3 rows", shown)
        environment = {"AWS_ACCESS_KEY_ID": key.id, "AWS_SECRET_ACCESS_KEY": key.secret}
        assert cli("audit", membership, "--endpoint-url", server.url, **environment).output == shown
        foreign = cli("audit", membership, "--account", SHOP, "--data-dir", str(folder))
        assert (foreign.exit_code, "You have no membership" in foreign.output) == (1, True)
        stranger = cli(
            "audit", membership, "--endpoint-url", server.url, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY=""
        )
        assert "The request is not signed" in stranger.output
    finally:
        server.terminate()


def _membership_with_an_entry(server: Server, key: keys.Key) -> str:
    """The bank's membership of a collaboration of its own, in which the shop has asked for its clients."""
    credentials = {"aws_access_key_id": key.id, "aws_secret_access_key": key.secret, "region_name": "us-east-1"}
    client = boto3.client("cleanrooms", endpoint_url=server.url, **credentials)
    made = client.create_collaboration(
        name="own",
        creatorDisplayName="bank",
        creatorMemberAbilities=["CAN_QUERY"],
        members=[],
        queryLogStatus="DISABLED",
    )["collaboration"]["id"]
    joined = client.create_membership(collaborationIdentifier=made, queryLogStatus="DISABLED")["membership"]["id"]
    database = Database(server.folder / "modelyard.db")
    entry = Entry(made, BANK, SHOP, "query", "id", "clients", "LIST", "rows to the shop", 3, "rows")
    database.write_now(lambda connection: audit.add(connection, entry))
    database.close()
    return str(joined)

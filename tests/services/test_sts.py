"""STS over boto3: who calls, and calls as another account."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.boto import Clients
from tests.system.server import Server

from modelyard.database import Database
from modelyard.services.sts import account_of, sts
from modelyard.sessions import Sessions
from modelyard.wire.endpoint import Call, Endpoint, Service

ROLE = "arn:aws:iam::444455556666:role/team/analyst"


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "db")
    yield database
    database.close()


def endpoint_over(database: Database, clock: Clock) -> Endpoint:
    async def lists(call: Call, input: dict[str, Any]) -> dict[str, Any]:
        return {"Name": call.account} if call.service == "s3" else {"ids": [call.account]}

    async def page(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("signed requests are no page's")

    sessions = Sessions(database)
    services = [
        sts(sessions, clock),
        Service("s3", {"list_objects_v2": lists}),
        Service("neptunedata", {"list_ml_endpoints": lists}),
    ]
    return Endpoint(services, {"/": page}, identify=account_of(sessions, clock))


@pytest.fixture
def endpoint(database: Database, clock: Clock) -> Endpoint:
    return endpoint_over(database, clock)


def assume(client: Any, **more: Any) -> dict[str, Any]:
    return dict(client.assume_role(RoleArn=ROLE, RoleSessionName="me", **more))


def as_session(client_for: Clients, endpoint: Endpoint, service: str, credentials: dict[str, Any]) -> Any:
    return with_keys(client_for, endpoint, service, credentials["AccessKeyId"], credentials["SessionToken"])


def with_keys(client_for: Clients, endpoint: Endpoint, service: str, key: str, token: str | None) -> Any:
    keys = {"aws_access_key_id": key, "aws_secret_access_key": "x", "aws_session_token": token}
    return client_for(endpoint, service, **keys)


def test_a_caller_is_told_who_it_is(client_for: Clients, endpoint: Endpoint) -> None:
    answer = client_for(endpoint, "sts").get_caller_identity()
    assert (answer["Account"], answer["UserId"]) == ("111122223333", "111122223333")
    assert answer["Arn"] == "arn:aws:iam::111122223333:root"
    assert client_for(endpoint, "sts", "AKIAIOSFODNN7EXAMPLE").get_caller_identity()["Account"] == "000000000000"
    others = with_keys(client_for, endpoint, "sts", "ASIAIOSFODNN7EXAMPLE", "x")
    assert others.get_caller_identity()["Account"] == "000000000000"


def test_a_role_calls_as_its_account_in_every_service(client_for: Clients, endpoint: Endpoint, clock: Clock) -> None:
    answer = assume(client_for(endpoint, "sts"), SourceIdentity="Ada", Tags=[{"Key": "a", "Value": "b"}])
    credentials = answer["Credentials"]
    assert credentials["Expiration"].timestamp() == clock.now + 3600
    assert answer["AssumedRoleUser"]["Arn"] == "arn:aws:sts::444455556666:assumed-role/analyst/me"
    assert answer["SourceIdentity"] == "Ada"
    identity = as_session(client_for, endpoint, "sts", credentials).get_caller_identity()
    assert identity["Account"] == "444455556666"
    assert identity["Arn"] == answer["AssumedRoleUser"]["Arn"]
    assert identity["UserId"] == answer["AssumedRoleUser"]["AssumedRoleId"]
    s3, neptune = (as_session(client_for, endpoint, name, credentials) for name in ("s3", "neptunedata"))
    assert s3.list_objects_v2(Bucket="bucket")["Name"] == "444455556666"
    assert neptune.list_ml_endpoints()["ids"] == ["444455556666"]


def test_a_role_keeps_its_id_and_each_session_has_keys_of_its_own(client_for: Clients, endpoint: Endpoint) -> None:
    one, other = assume(client_for(endpoint, "sts")), assume(client_for(endpoint, "sts"))
    assert one["AssumedRoleUser"] == other["AssumedRoleUser"]
    for name in ("AccessKeyId", "SecretAccessKey", "SessionToken"):
        assert one["Credentials"][name] != other["Credentials"][name]
    assert len(one["Credentials"]["AccessKeyId"]) == 20
    assert len(one["Credentials"]["SecretAccessKey"]) == 40


REFUSALS = {
    "sts": ("get_caller_identity", {}, ("ExpiredToken", 403), ("InvalidClientTokenId", 403)),
    "s3": ("list_objects_v2", {"Bucket": "bucket"}, ("ExpiredToken", 400), ("InvalidToken", 400)),
    "neptunedata": ("list_ml_endpoints", {}, ("ExpiredTokenException", 403), ("UnrecognizedClientException", 403)),
}


@pytest.mark.parametrize("service", REFUSALS)
def test_a_session_ends_and_its_token_is_needed(
    client_for: Clients, database: Database, clock: Clock, service: str
) -> None:
    endpoint = endpoint_over(database, clock)
    credentials = assume(client_for(endpoint, "sts"), DurationSeconds=900)["Credentials"]
    method, params, expired, unknown = REFUSALS[service]

    def refusal(key: str, token: str | None) -> tuple[str, int]:
        with pytest.raises(ClientError) as caught:
            getattr(with_keys(client_for, endpoint, service, key, token), method)(**params)
        response = caught.value.response
        return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]

    key, token = credentials["AccessKeyId"], credentials["SessionToken"]
    assert refusal(key, None) == unknown  # also where a page has the path of an unsigned request
    assert refusal(key, token[:-1]) == unknown
    assert refusal(key[:-1] + "A" if key[-1] != "A" else key[:-1] + "B", token) == unknown
    clock.now += 899
    getattr(with_keys(client_for, endpoint, service, key, token), method)(**params)
    clock.now += 1
    assert refusal(key, token) == expired
    clock.now += 48 * 3600
    assume(client_for(endpoint, "sts"))  # forgets what ended long ago
    assert refusal(key, token) == unknown


def test_sessions_outlive_the_server(client_for: Clients, tmp_path: Path, clock: Clock) -> None:
    database = Database(tmp_path / "db")
    credentials = assume(client_for(endpoint_over(database, clock), "sts"))["Credentials"]
    database.close()
    database = Database(tmp_path / "db")
    client = as_session(client_for, endpoint_over(database, clock), "sts", credentials)
    assert client.get_caller_identity()["Account"] == "444455556666"
    database.close()


@pytest.mark.parametrize(
    "role",
    [
        "arn:aws:iam::44445555666:role/x",
        "arn:aws:iam::444455556666:user/someone",
        "arn:aws:iam::444455556666:role/",
        "arn:aws:s3:::bucket/role/someone",
        "arn:aws:iam::444455556666:role/a b/c d",
    ],
)
def test_what_is_no_role_cannot_be_assumed(client_for: Clients, endpoint: Endpoint, role: str) -> None:
    with pytest.raises(ClientError, match="is invalid") as caught:
        client_for(endpoint, "sts").assume_role(RoleArn=role, RoleSessionName="me")
    assert caught.value.response["Error"]["Code"] == "ValidationError"


def test_limits_of_a_session(client_for: Clients, endpoint: Endpoint) -> None:
    client = client_for(endpoint, "sts")
    with pytest.raises(ClientError, match="at 'DurationSeconds' failed"):
        assume(client, DurationSeconds=43_201)
    with pytest.raises(ClientError, match="satisfy regular expression"):
        client.assume_role(RoleArn=ROLE, RoleSessionName="not a name")
    long = assume(client, DurationSeconds=43_200)["Credentials"]
    chained = as_session(client_for, endpoint, "sts", long)
    assert assume(chained)["Credentials"]
    with pytest.raises(ClientError, match="role chaining"):
        assume(chained, DurationSeconds=3601)


@pytest.mark.system
def test_the_aws_command_line_plays_two_parties(tmp_path: Path) -> None:
    server = Server(tmp_path / "data").start()
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AWS_ENDPOINT_URL": server.url}
    environment |= {"AWS_DEFAULT_REGION": "us-east-1", "AWS_PAGER": ""}

    def aws(*arguments: str, **credentials: str) -> str:
        program = Path(sys.executable).parent / "aws"
        command = [str(program), "sts", *arguments, "--output", "text"]
        ran = subprocess.run(command, env=environment | credentials, capture_output=True, text=True, timeout=60)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()

    try:
        keys = {"AWS_ACCESS_KEY_ID": "111122223333", "AWS_SECRET_ACCESS_KEY": "x"}
        assert aws("get-caller-identity", "--query", "Arn", **keys) == "arn:aws:iam::111122223333:root"
        wanted = "Credentials.[AccessKeyId,SecretAccessKey,SessionToken]"
        made = aws("assume-role", "--role-arn", ROLE, "--role-session-name", "me", "--query", wanted, **keys).split()
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        found = aws("get-caller-identity", "--query", "Arn", **dict(zip(names, made, strict=True)))
        assert found == "arn:aws:sts::444455556666:assumed-role/analyst/me"
    finally:
        server.close()

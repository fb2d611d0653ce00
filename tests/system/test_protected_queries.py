"""A bank and a shop at a real server: one table from our own catalog, one from Glue, and a query over both."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner, Result

from modelyard.cli import main
from tests.conftest import wait_for
from tests.moto import KEYS, moto  # noqa: F401 (a fixture)
from tests.system.server import Server

BANK, SHOP = "111122223333", "444455556666"
PARQUET = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"
SQL = "SELECT c.income, v.visits FROM clients c JOIN visitors v USING (email) WHERE c.income >= 1005"


@pytest.fixture
def server(tmp_path: Path, moto: str) -> Iterator[Server]:  # noqa: F811
    server = Server(tmp_path / "data", AWS_ENDPOINT_URL_GLUE=moto, **KEYS).start()
    yield server
    server.close()


def put(client: Any, bucket: str, key: str, content: bytes) -> None:
    client.create_bucket(Bucket=bucket)
    client.put_object(Bucket=bucket, Key=key, Body=content)


def bring_clients(server: Server) -> None:
    """The bank's table: CSV, made known by the command line."""
    rows = "".join(f"p{n}@example.com,{1000 + n}\n" for n in range(10))
    put(server.client("s3", BANK), "of-bank", "clients/part.csv", f"email,income\n{rows}".encode())
    added = run(server, "tables", "add", "sales.clients", "s3://of-bank/clients")
    assert added.exit_code == 0, added.output
    assert "csv in s3://of-bank/clients with email VARCHAR, income BIGINT" in added.output
    assert "sales.clients" in run(server, "tables", "list").output


def bring_visitors(server: Server, glue: str, tmp_path: Path) -> None:
    """The shop's table: Parquet, which its Glue catalog knows."""
    import duckdb

    rows = "SELECT 'p' || n || '@example.com' AS email, n % 3 AS visits FROM range(10) AS r(n)"
    duckdb.sql(rows).write_parquet(str(tmp_path / "visitors.parquet"))
    content = (tmp_path / "visitors.parquet").read_bytes()
    put(server.client("s3", SHOP), "of-shop", "visitors/part.parquet", content)
    keys = {"aws_access_key_id": "k", "aws_secret_access_key": "s"}
    client = boto3.client("glue", endpoint_url=glue, region_name="us-east-1", **keys)
    client.create_database(DatabaseInput={"Name": "web"})
    columns = [{"Name": "email", "Type": "string"}, {"Name": "visits", "Type": "bigint"}]
    storage = {
        "Location": "s3://of-shop/visitors/",
        "Columns": columns,
        "SerdeInfo": {"SerializationLibrary": PARQUET},
    }
    client.create_table(DatabaseName="web", TableInput={"Name": "visitors", "StorageDescriptor": storage})


def run(server: Server, *arguments: str, account: str = BANK) -> Result:
    """What the command line says as an account."""
    environment = {"MODELYARD_ENDPOINT_URL": server.url, "MODELYARD_ACCOUNT": account}
    return CliRunner().invoke(main, arguments, env=environment)


def meet(server: Server) -> dict[str, str]:
    """The memberships of both, by account: the bank asks and receives."""
    bank = server.client("cleanrooms", BANK)
    collaboration = bank.create_collaboration(
        name="room",
        description="who buys what",
        creatorDisplayName="the bank",
        creatorMemberAbilities=["CAN_QUERY", "CAN_RECEIVE_RESULTS"],
        members=[{"accountId": SHOP, "displayName": "the shop", "memberAbilities": []}],
        queryLogStatus="ENABLED",
    )["collaboration"]["id"]
    asked = {"collaborationIdentifier": collaboration, "queryLogStatus": "ENABLED"}
    clients = {account: server.client("cleanrooms", account) for account in (BANK, SHOP)}
    return {account: one.create_membership(**asked)["membership"]["id"] for account, one in clients.items()}


def share(server: Server, account: str, membership: str, database: str, table: str, columns: list[str]) -> None:
    """Brings a table with a rule that lets the bank ask anything and receive it."""
    client = server.client("cleanrooms", account)
    configured = client.create_configured_table(
        name=table,
        tableReference={"glue": {"databaseName": database, "tableName": table}},
        allowedColumns=columns,
        analysisMethod="DIRECT_QUERY",
    )["configuredTable"]["id"]
    policy = {"allowedAnalyses": ["ANY_QUERY"], "allowedAnalysisProviders": [BANK]}
    client.create_configured_table_analysis_rule(
        configuredTableIdentifier=configured, analysisRuleType="CUSTOM", analysisRulePolicy={"v1": {"custom": policy}}
    )
    association = client.create_configured_table_association(
        name=table,
        membershipIdentifier=membership,
        configuredTableIdentifier=configured,
        roleArn=f"arn:aws:iam::{account}:role/tables",
    )["configuredTableAssociation"]["id"]
    client.create_configured_table_association_analysis_rule(
        membershipIdentifier=membership,
        configuredTableAssociationIdentifier=association,
        analysisRuleType="CUSTOM",
        analysisRulePolicy={"v1": {"custom": {"allowedResultReceivers": [BANK]}}},
    )


@pytest.mark.system
@pytest.mark.slow
def test_a_query_over_tables_of_two_parties(server: Server, moto: str, tmp_path: Path) -> None:  # noqa: F811
    bring_clients(server)
    bring_visitors(server, moto, tmp_path)
    memberships = meet(server)
    share(server, BANK, memberships[BANK], "sales", "clients", ["email", "income"])
    share(server, SHOP, memberships[SHOP], "web", "visitors", ["email", "visits"])

    checked = run(server, "query", "check", "--membership", memberships[SHOP], SQL, account=SHOP)
    assert checked.exit_code == 0, checked.output
    assert "allowed; it reads clients, visitors and tells income, visits" in checked.output
    refused = run(server, "query", "check", "--membership", memberships[BANK], "SELECT v.phone FROM visitors v")
    assert refused.exit_code == 1
    assert "refused by table visitors: UNKNOWN_COLUMN" in refused.output

    bank = server.client("cleanrooms", BANK)
    own = {"membershipIdentifier": memberships[BANK]}
    s3 = {"resultFormat": "CSV", "bucket": "results", "keyPrefix": "room"}
    started = bank.start_protected_query(
        **own,
        type="SQL",
        sqlParameters={"queryString": SQL},
        resultConfiguration={"outputConfiguration": {"s3": s3}},
    )["protectedQuery"]
    server.kill()
    server.start()
    bank = server.client("cleanrooms", BANK)

    def query() -> dict[str, Any]:
        return dict(bank.get_protected_query(**own, protectedQueryIdentifier=started["id"])["protectedQuery"])

    wait_for(lambda: query()["status"] not in ("SUBMITTED", "STARTED"))
    done = query()
    assert done["status"] == "SUCCESS", done
    prefix = done["result"]["output"]["s3"]["location"].removeprefix("s3://results/")
    bucket = server.client("s3", BANK)
    (key,) = [one["Key"] for one in bucket.list_objects_v2(Bucket="results", Prefix=prefix)["Contents"]]
    content = bucket.get_object(Bucket="results", Key=key)["Body"].read().decode()
    rows = sorted((int(row["income"]), int(row["visits"])) for row in csv.DictReader(content.splitlines()))
    assert rows == [(1000 + n, n % 3) for n in range(5, 10)]
    with pytest.raises(ClientError, match="AccessDenied"):
        server.client("s3", SHOP).get_object(Bucket="results", Key=key)

    log = run(server, "audit", memberships[SHOP], account=SHOP)
    assert log.exit_code == 0, log.output
    assert "visitors" in log.output

"""Tables of a bank and a shop in one collaboration, for tests of rules and queries."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.boto import Loop
from tests.services.cleanrooms.conftest import BANK, SHOP, Parties, join

from modelyard.app import Application
from modelyard.jobs.model import Owner

COLUMNS = {
    "clients": {"email": "VARCHAR", "income": "BIGINT", "Secret": "VARCHAR"},
    "visitors": {"email": "VARCHAR", "visits": "BIGINT", "town": "VARCHAR"},
}
OWNERS = {"clients": BANK, "visitors": SHOP}
LIST = {"v1": {"list": {"joinColumns": ["email"], "listColumns": ["income"]}}}
JOINED = "SELECT DISTINCT c.income, v.visits FROM clients c INNER JOIN visitors v ON c.email = v.email"
ASSOCIATION = (
    f"arn:aws:cleanrooms-ml:us-east-1:{SHOP}:membership/00000000-0000-4000-8000-000000000001/"
    "configured-model-algorithm-association/00000000-0000-4000-8000-000000000002"
)


def role(account: str = BANK) -> str:
    return f"arn:aws:iam::{account}:role/tables"


def custom(*providers: str, **more: Any) -> dict[str, Any]:
    """A policy that lets those accounts ask anything."""
    analyses = {"allowedAnalyses": ["ANY_QUERY"], "allowedAnalysisProviders": list(providers)} if providers else {}
    return {"v1": {"custom": {"allowedAnalyses": [], **analyses, **more}}}


@dataclass
class Room:
    """A collaboration in which the bank asks and both can receive; each has joined and put a table into its bucket."""

    application: Application
    loop: Loop
    party: Parties
    collaboration: str = ""
    register: bool = True

    def __post_init__(self) -> None:
        able = ["CAN_RECEIVE_RESULTS"]
        members = [{"accountId": SHOP, "displayName": "the shop", "memberAbilities": able}]
        made = self.party().create_collaboration(
            name="room",
            description="who buys what",
            creatorDisplayName="the bank",
            creatorMemberAbilities=["CAN_QUERY", *able],
            members=members,
            queryLogStatus="DISABLED",
        )["collaboration"]
        self.collaboration = made["id"]
        self.memberships = {account: join(self.party(account), made["id"])["id"] for account in (BANK, SHOP)}
        for table in COLUMNS if self.register else ():
            self.write(table)

    def folder(self, table: str) -> Path:
        return self.application.folders.path(f"s3://of-{table}/{table}")

    def write(self, table: str) -> None:
        """Writes a table's file and makes it known to the catalog of its owner."""
        account, columns = OWNERS[table], COLUMNS[table]
        self.folder(table).mkdir(parents=True)
        lines = [",".join(columns), *(_line(table, n) for n in range(10))]
        (self.folder(table) / "part.csv").write_text("\n".join([*lines, ""]))
        self.loop.run(self.application.buckets.own(f"of-{table}", account))
        options = {"header": True, "delimiter": ","}
        adding = self.application.catalog.add(
            Owner(account, "us-east-1"), "sales", table, f"s3://of-{table}/{table}", "csv", columns, options
        )
        self.loop.run(adding)

    def configured(self, table: str = "clients", **given: Any) -> dict[str, Any]:
        request = {
            "name": table,
            "tableReference": {"glue": {"databaseName": "sales", "tableName": table}},
            "allowedColumns": [name for name in COLUMNS[table] if name != "Secret"],
            "analysisMethod": "DIRECT_QUERY",
        }
        made: dict[str, Any] = self.party(OWNERS[table]).create_configured_table(**{**request, **given})
        return dict(made["configuredTable"])

    def associated(self, table: str = "clients", configured: str | None = None, **given: Any) -> dict[str, Any]:
        account = OWNERS[table]
        made = self.party(account).create_configured_table_association(
            **{
                "name": table,
                "membershipIdentifier": self.memberships[account],
                "configuredTableIdentifier": configured or self.configured(table)["id"],
                "roleArn": role(account),
                **given,
            }
        )
        return dict(made["configuredTableAssociation"])

    def rule(self, table: str, policy: dict[str, Any], shared: dict[str, Any] | None = None) -> dict[str, Any]:
        """A table in the collaboration, with its rule and maybe the association's, whose members are `shared`."""
        configured = self.configured(table)
        (type,) = policy["v1"]
        client, word = self.party(OWNERS[table]), type.upper()
        client.create_configured_table_analysis_rule(
            configuredTableIdentifier=configured["id"], analysisRuleType=word, analysisRulePolicy=policy
        )
        association = self.associated(table, configured["id"])
        if shared is not None:
            client.create_configured_table_association_analysis_rule(
                membershipIdentifier=self.memberships[OWNERS[table]],
                configuredTableAssociationIdentifier=association["id"],
                analysisRuleType=word,
                analysisRulePolicy={"v1": {type: shared}},
            )
        return association

    def open(self) -> dict[str, dict[str, Any]]:
        """Both tables, with rules under which the bank may ask anything and both may receive."""
        shared = {"allowedResultReceivers": [BANK, SHOP]}
        return {table: self.rule(table, custom(BANK), shared) for table in COLUMNS}

    def ask(self, sql: str = JOINED, **given: Any) -> dict[str, Any]:
        result = {"outputConfiguration": {"s3": {"resultFormat": "CSV", "bucket": "bank-results", "keyPrefix": "out"}}}
        request = {
            "type": "SQL",
            "membershipIdentifier": self.memberships[BANK],
            "sqlParameters": {"queryString": sql},
            "resultConfiguration": result,
        }
        asked = {name: value for name, value in {**request, **given}.items() if value is not None}
        started: dict[str, Any] = self.party().start_protected_query(**asked)
        return dict(started["protectedQuery"])


def _line(table: str, n: int) -> str:
    values = (1000 + n, f"secret {n}") if table == "clients" else (n % 3, "Bern")
    return ",".join(map(str, (f"p{n}@example.com", *values)))

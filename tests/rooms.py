"""A bank and a shop in a collaboration, as boto3 brings them there: for tests of services, and of real servers.

The bank asks, pays, and receives what models say; the shop brings the model. Both bring a table.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BANK, SHOP, STRANGER = "111122223333", "444455556666", "999999999999"
IMAGE = "444455556666.dkr.ecr.us-east-1.amazonaws.com/scores:1"
SQL = "SELECT c.income, v.visits, v.bought FROM clients c INNER JOIN visitors v ON c.email = v.email"
TABLES = {
    "clients": (BANK, {"email": "VARCHAR", "income": "BIGINT"}, ["email", "income"]),
    "visitors": (SHOP, {"email": "VARCHAR", "visits": "BIGINT", "bought": "BIGINT"}, ["email", "visits", "bought"]),
}
"""Owner, all columns, and the allowed ones, by name."""

Client = Callable[[str, str], Any]
"""A boto3 client of a service for an account."""


def role(account: str) -> str:
    return f"arn:aws:iam::{account}:role/rooms"


def rows(table: str, count: int = 40) -> str:
    """A table as CSV. Who visits often and earns well has bought."""
    lines = [",".join(TABLES[table][1])]
    for n in range(count):
        income, visits = 1000 + 100 * (n % 7), n % 5
        values = (income,) if table == "clients" else (visits, int(income > 1300 and visits > 1))
        lines.append(",".join(str(value) for value in (f"p{n}@example.com", *values)))
    return "\n".join([*lines, ""])


def write_image(folder: Path, main: str) -> Path:
    """An image in the form of a Python project, whose `main.py` trains and serves."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "modelyard-image.json").write_text(json.dumps({"entrypoint": ["python", "main.py"]}))
    (folder / "main.py").write_text(main)
    return folder


@dataclass
class Room:
    """A collaboration of the two, with their memberships, tables and the model's association."""

    client: Client
    collaboration: str = ""
    memberships: dict[str, str] = field(default_factory=dict)
    algorithm: str = ""
    association: str = ""

    def rooms(self, account: str) -> Any:
        return self.client("cleanrooms", account)

    def ml(self, account: str) -> Any:
        return self.client("cleanroomsml", account)

    def open(self, others: Mapping[str, Mapping[str, Any]] = {}) -> "Room":
        """The collaboration, with the bank, the shop and `others` (more members' facts) as active members."""
        receiving = ["CAN_RECEIVE_MODEL_OUTPUT", "CAN_RECEIVE_INFERENCE_OUTPUT"]
        members = {SHOP: {"mlMemberAbilities": {"customMLMemberAbilities": receiving[:1]}}, **others}
        made = self.rooms(BANK).create_collaboration(
            name="bank and shop",
            description="who buys",
            creatorDisplayName="bank",
            creatorMemberAbilities=["CAN_QUERY", "CAN_RECEIVE_RESULTS"],
            creatorMLMemberAbilities={"customMLMemberAbilities": receiving[1:]},
            members=[
                {"accountId": account, "displayName": f"member {account}", "memberAbilities": [], **facts}
                for account, facts in members.items()
            ],
            queryLogStatus="DISABLED",
        )
        self.collaboration = made["collaboration"]["id"]
        for account in (BANK, *members):
            self.join(account)
        return self

    def join(self, account: str) -> str:
        joined = self.rooms(account).create_membership(
            collaborationIdentifier=self.collaboration, queryLogStatus="DISABLED"
        )
        self.memberships[account] = joined["membership"]["id"]
        return self.memberships[account]

    def configure(self, account: str, uri: str | None = None) -> None:
        """The member's ML configuration: it wants its output below a URI."""
        destination = {"destination": {"s3Destination": {"s3Uri": uri}}} if uri else {}
        self.ml(account).put_ml_configuration(
            membershipIdentifier=self.memberships[account],
            defaultOutputLocation={"roleArn": role(account), **destination},
        )

    def bring_model(self, policies: Mapping[str, Any] | None = None, **changes: Any) -> str:
        """The shop's algorithm and its association, whose ARN is returned."""
        container = {
            "imageUri": IMAGE,
            "metricDefinitions": [{"name": "accuracy", "regex": "accuracy=([0-9.]+)"}],
        }
        request = {
            "name": "scores",
            "roleArn": role(SHOP),
            "trainingContainerConfig": container,
            "inferenceContainerConfig": {"imageUri": IMAGE},
            **changes,
        }
        made = self.ml(SHOP).create_configured_model_algorithm(**request)
        self.algorithm = made["configuredModelAlgorithmArn"]
        privacy = {"privacyConfiguration": {"policies": dict(policies)}} if policies is not None else {}
        made = self.ml(SHOP).create_configured_model_algorithm_association(
            membershipIdentifier=self.memberships[SHOP],
            configuredModelAlgorithmArn=self.algorithm,
            name="scores",
            **privacy,
        )
        self.association = made["configuredModelAlgorithmAssociationArn"]
        return self.association

    def bring_tables(self, allowed: str | None = None) -> None:
        """Both tables, with rules that let the model's association use them for anything the bank asks."""
        for name, (account, _, columns) in TABLES.items():
            rooms = self.rooms(account)
            made = rooms.create_configured_table(
                name=name,
                tableReference={"glue": {"databaseName": "rooms", "tableName": name}},
                allowedColumns=columns,
                analysisMethod="DIRECT_QUERY",
            )
            table = made["configuredTable"]["id"]
            rooms.create_configured_table_analysis_rule(
                configuredTableIdentifier=table,
                analysisRuleType="CUSTOM",
                analysisRulePolicy={
                    "v1": {
                        "custom": {
                            "allowedAnalyses": ["ANY_QUERY"],
                            "allowedAnalysisProviders": [BANK],
                            "additionalAnalyses": "REQUIRED",
                            "disallowedOutputColumns": ["email"],
                        }
                    }
                },
            )
            made = rooms.create_configured_table_association(
                name=name,
                membershipIdentifier=self.memberships[account],
                configuredTableIdentifier=table,
                roleArn=role(account),
            )
            rooms.create_configured_table_association_analysis_rule(
                membershipIdentifier=self.memberships[account],
                configuredTableAssociationIdentifier=made["configuredTableAssociation"]["id"],
                analysisRuleType="CUSTOM",
                analysisRulePolicy={
                    "v1": {
                        "custom": {
                            "allowedResultReceivers": [],
                            "allowedAdditionalAnalyses": [allowed or self.association],
                        }
                    }
                },
            )

    def channel(self, name: str = "rows", sql: str = SQL, account: str = BANK, **changes: Any) -> str:
        """The ARN of a channel that the bank asks for."""
        request = {
            "membershipIdentifier": self.memberships[account],
            "configuredModelAlgorithmAssociations": [self.association],
            "name": name,
            "retentionInDays": 30,
            "inputChannel": {
                "roleArn": role(account),
                "dataSource": {"protectedQueryInputParameters": {"sqlParameters": {"queryString": sql}}},
            },
            **changes,
        }
        return str(self.ml(account).create_ml_input_channel(**request)["mlInputChannelArn"])

    def train(self, channel: str, name: str = "model", **changes: Any) -> dict[str, Any]:
        """Has the shop's algorithm learn from a channel: what boto3 answers."""
        request = {
            "membershipIdentifier": self.memberships[BANK],
            "name": name,
            "configuredModelAlgorithmAssociationArn": self.association,
            "resourceConfig": {"instanceType": "ml.m5.large", "volumeSizeInGB": 1},
            "dataChannels": [{"mlInputChannelArn": channel, "channelName": "train"}],
            **changes,
        }
        return dict(self.ml(BANK).create_trained_model(**request))

    def infer(self, model: str, channel: str, name: str = "scores", to: str = BANK, **changes: Any) -> str:
        """The ARN of an inference job whose output one account is to receive."""
        request = {
            "membershipIdentifier": self.memberships[BANK],
            "name": name,
            "trainedModelArn": model,
            "resourceConfig": {"instanceType": "ml.m5.large"},
            "outputConfiguration": {"accept": "text/csv", "members": [{"accountId": to}]},
            "dataSource": {"mlInputChannelArn": channel},
            **changes,
        }
        return str(self.ml(BANK).start_trained_model_inference_job(**request)["trainedModelInferenceJobArn"])

    def export(self, model: str, name: str = "export", to: str = SHOP, **changes: Any) -> None:
        self.ml(BANK).start_trained_model_export_job(
            membershipIdentifier=self.memberships[BANK],
            name=name,
            trainedModelArn=model,
            outputConfiguration={"members": [{"accountId": to}]},
            **changes,
        )

    def get_channel(self, arn: str) -> dict[str, Any]:
        return dict(
            self.ml(BANK).get_ml_input_channel(membershipIdentifier=self.memberships[BANK], mlInputChannelArn=arn)
        )

    def get_model(self, arn: str, **given: str) -> dict[str, Any]:
        return dict(
            self.ml(BANK).get_trained_model(membershipIdentifier=self.memberships[BANK], trainedModelArn=arn, **given)
        )

    def get_job(self, arn: str) -> dict[str, Any]:
        return dict(
            self.ml(BANK).get_trained_model_inference_job(
                membershipIdentifier=self.memberships[BANK], trainedModelInferenceJobArn=arn
            )
        )

    def exports(self, model: str, account: str = BANK) -> list[dict[str, Any]]:
        answer = self.ml(account).list_collaboration_trained_model_export_jobs(
            collaborationIdentifier=self.collaboration, trainedModelArn=model
        )
        return list(answer["collaborationTrainedModelExportJobs"])

"""Tables out of a Glue catalog: AWS's own, or whatever speaks its language at `AWS_ENDPOINT_URL_GLUE`.

https://docs.aws.amazon.com/glue/latest/webapi/API_GetTable.html
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Any

from modelyard.collaborations.column_types import duckdb_type
from modelyard.collaborations.tables import Location
from modelyard.jobs.model import Owner

ENDPOINT = "AWS_ENDPOINT_URL_GLUE"
SECONDS = 10
"""How long a catalog may take to answer."""

_S3 = ("s3://", "s3a://", "s3n://")
_DELIMITED = ("lazysimpleserde", "opencsvserde", "multidelimitserde")
_KINDS = {"parquet": "parquet", "csv": "csv", "json": "jsonl"}


class GlueError(Exception):
    """The catalog has the table in a form that queries cannot read, or does not answer; the message says which."""


class Glue:
    """The Glue catalogs of all accounts.

    Asked with the server's own credentials for the catalog of the table's account; an emulator is asked as that account
    where the server has none.
    """

    def __init__(self) -> None:
        self._clients: dict[Owner, Any] = {}

    @staticmethod
    def configured(wanted: bool = False) -> "Glue | None":
        """The catalog that the environment names, or AWS's own if it is `wanted`."""
        return Glue() if wanted or os.environ.get(ENDPOINT) else None

    async def find(self, owner: Owner, database: str, table: str) -> Location | None:
        """Where a table of the account's catalog lies; None if there is none, GlueError if it cannot be read."""
        found = await asyncio.to_thread(self._get_table, owner, database, table)
        return _location(owner.account, found) if found else None

    def _get_table(self, owner: Owner, database: str, table: str) -> Mapping[str, Any] | None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            if owner not in self._clients:
                self._clients[owner] = _client(owner)
            asked = {"CatalogId": owner.account, "DatabaseName": database, "Name": table}
            found: Mapping[str, Any] = self._clients[owner].get_table(**asked)["Table"]
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "EntityNotFoundException":
                return None
            raise GlueError(f"the Glue catalog refuses to show it: {code}") from None
        except BotoCoreError as error:
            raise GlueError(f"the Glue catalog does not answer: {type(error).__name__}") from None
        return found


def _client(owner: Owner) -> Any:
    from botocore.config import Config
    from botocore.session import Session

    session = Session()
    if session.get_credentials() is None:
        session.set_credentials(owner.account, "none")
    retries = {"total_max_attempts": 2}
    config = Config(connect_timeout=SECONDS, read_timeout=SECONDS, retries=retries)
    return session.create_client("glue", region_name=owner.region, config=config)


def _location(account: str, table: Mapping[str, Any]) -> Location:
    """What Glue says of a table, as queries need it. GlueError for what they cannot read."""
    storage = table.get("StorageDescriptor", {})
    uri = storage.get("Location", "")
    if not uri.startswith(_S3):
        raise GlueError(f"its location {uri[:200]!r} is none in S3")
    format = _format(table)
    columns = _columns(storage.get("Columns", ()), format)
    partitions = _columns(table.get("PartitionKeys", ()), format)
    options = _options(table) if format == "csv" else {}
    return Location(
        uri="s3://" + uri.partition("://")[2].rstrip("/"),
        format=format,
        columns={**columns, **partitions},
        owner=account,
        options={**options, "partitions": list(partitions)} if partitions else options,
    )


def _format(table: Mapping[str, Any]) -> str:
    """One of FORMATS, by the table's classification, its serializer or its input format."""
    storage = table["StorageDescriptor"]
    library = storage.get("SerdeInfo", {}).get("SerializationLibrary", "").lower()
    if library.endswith(_DELIMITED):
        return "csv"
    told = (table.get("Parameters", {}).get("classification", ""), library, storage.get("InputFormat", ""))
    for text in told:
        for word, format in _KINDS.items():
            if word in text.lower():
                return format
    raise GlueError("its format is none of CSV, Parquet and JSON lines")


def _columns(columns: Sequence[Mapping[str, str]], format: str) -> dict[str, str]:
    """The columns that queries can read. Those of CSV are found by their order: all of them are needed."""
    types = {column["Name"]: duckdb_type(column.get("Type", "string")) for column in columns}
    unreadable = [name for name, type in types.items() if type is None]
    if unreadable and format == "csv":
        raise GlueError(f"its column {unreadable[0][:100]!r} has a type that CSV cannot have")
    return {name: type for name, type in types.items() if type is not None}


def _options(table: Mapping[str, Any]) -> dict[str, Any]:
    """How the table's CSV is written."""
    serde = table["StorageDescriptor"].get("SerdeInfo", {})
    told = {**table.get("Parameters", {}), **serde.get("Parameters", {})}
    delimiter = told.get("separatorChar") or told.get("field.delim") or told.get("delimiter") or ","
    return {"header": told.get("skip.header.line.count", "0") not in ("", "0"), "delimiter": delimiter[:1]}

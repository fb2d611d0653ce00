import asyncio
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from tests.moto import KEYS, moto  # noqa: F401 (a fixture)

from modelyard.collaborations.column_types import duckdb_type, glue_type
from modelyard.collaborations.glue import ENDPOINT, Glue, GlueError
from modelyard.collaborations.tables import Location
from modelyard.jobs.model import Owner

ACCOUNT = Owner("111122223333", "us-east-1")
HIVE = "org.apache.hadoop.hive"
CSV = "org.apache.hadoop.hive.serde2.OpenCSVSerde"
PARQUET = f"{HIVE}.ql.io.parquet.serde.ParquetHiveSerDe"


@pytest.fixture
def catalog(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:  # noqa: F811
    """A client of the catalog that the environment names, in which the database `sales` is."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(ENDPOINT, moto)
    client = boto3.client("glue", region_name="us-east-1")
    client.create_database(DatabaseInput={"Name": "sales"})
    yield client
    client.delete_database(Name="sales")


def put(client: Any, name: str, library: str, columns: dict[str, str], **more: Any) -> None:
    serde = {"SerializationLibrary": library, "Parameters": more.pop("serde", {})}
    storage = {
        "Location": "s3://of-sales/clients/",
        "Columns": [{"Name": column, "Type": type} for column, type in columns.items()],
        "SerdeInfo": serde,
        **more.pop("storage", {}),
    }
    client.create_table(DatabaseName="sales", TableInput={"Name": name, "StorageDescriptor": storage, **more})


def find(table: str) -> Location | None:
    glue = Glue.configured()
    assert glue is not None
    return asyncio.run(glue.find(ACCOUNT, "sales", table))


def test_a_csv_table_is_found_with_how_it_is_written(catalog: Any) -> None:
    columns = {"email": "string", "income": "bigint", "since": "date", "rate": "decimal(10,2)"}
    put(catalog, "clients", CSV, columns, serde={"separatorChar": ";"}, Parameters={"skip.header.line.count": "1"})
    assert find("clients") == Location(
        uri="s3://of-sales/clients",
        format="csv",
        columns={"email": "VARCHAR", "income": "BIGINT", "since": "DATE", "rate": "DECIMAL(10,2)"},
        owner=ACCOUNT.account,
        options={"header": True, "delimiter": ";"},
    )


def test_a_parquet_table_is_read_without_what_queries_cannot_read(catalog: Any) -> None:
    columns = {"email": "varchar(80)", "seen": "array<timestamp>", "visits": "int"}
    put(catalog, "visitors", PARQUET, columns)
    found = find("visitors")
    assert found is not None
    assert (found.format, found.columns) == ("parquet", {"email": "VARCHAR", "visits": "INTEGER"})


def test_a_partitioned_table_has_the_columns_that_folders_are_named_by(catalog: Any) -> None:
    put(catalog, "visits", PARQUET, {"email": "string"}, PartitionKeys=[{"Name": "day", "Type": "date"}])
    found = find("visits")
    assert found is not None
    assert (found.columns, found.options) == ({"email": "VARCHAR", "day": "DATE"}, {"partitions": ["day"]})


def test_json_is_lines(catalog: Any) -> None:
    put(catalog, "logs", "org.openx.data.jsonserde.JsonSerDe", {"id": "bigint"})
    found = find("logs")
    assert found is not None
    assert found.format == "jsonl"


def test_what_is_not_there_is_none(catalog: Any) -> None:
    assert find("nothing") is None


@pytest.mark.parametrize(
    ("library", "columns", "more", "told"),
    [
        ("org.apache.hadoop.hive.ql.io.orc.OrcSerde", {"id": "int"}, {}, "none of CSV, Parquet and JSON"),
        (CSV, {"id": "struct<a:int>"}, {}, "'id' has a type that CSV cannot have"),
        (PARQUET, {"id": "int"}, {"storage": {"Location": "hdfs://name/clients"}}, "is none in S3"),
    ],
)
def test_what_queries_cannot_read_says_why(
    catalog: Any, library: str, columns: dict[str, str], more: dict[str, Any], told: str
) -> None:
    put(catalog, "odd", library, columns, **more)
    with pytest.raises(GlueError, match=told):
        find("odd")


def test_a_catalog_that_does_not_answer_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:9")
    with pytest.raises(GlueError, match="does not answer"):
        find("clients")


def test_without_one_in_the_environment_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENDPOINT, raising=False)
    assert Glue.configured() is None
    assert Glue.configured(wanted=True) is not None


@pytest.mark.parametrize(
    ("word", "type"),
    [
        ("string", "VARCHAR"),
        ("CHAR(10)", "VARCHAR"),
        ("decimal( 12 , 3 )", "DECIMAL(12,3)"),
        ("decimal", "DECIMAL(10,0)"),
        ("decimal(3,9)", None),
        ("decimal(99,1)", None),
        ("map<string,int>", None),
        ("int) AS x; DROP TABLE y --", None),
    ],
)
def test_types_are_known_words_alone(word: str, type: str | None) -> None:
    assert duckdb_type(word) == type


def test_types_go_back_to_the_words_of_glue() -> None:
    assert [glue_type(type) for type in ("VARCHAR", "BIGINT", "DECIMAL(10,2)")] == ["string", "bigint", "decimal(10,2)"]

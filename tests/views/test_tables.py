import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.boto import Loop, Send

from modelyard.app import Application
from modelyard.settings import Settings

BANK, SHOP = "111122223333", "444455556666"


@pytest.fixture
def application(tmp_path: Path, loop: Loop) -> Iterator[Application]:
    async def start() -> Application:
        return Application(Settings(data_dir=tmp_path / "data"))

    async def close(application: Application) -> None:
        application.close()

    application = loop.run(start())
    yield application
    loop.run(close(application))


class Catalog:
    """The pages, as an account asks them."""

    def __init__(self, application: Application, send: Send) -> None:
        self._application = application
        self._send = send

    def __call__(self, method: str, page: str, account: str = BANK, **query: str) -> tuple[int, Any]:
        scope = f"AWS4-HMAC-SHA256 Credential={account}/20260101/us-east-1/modelyard/aws4_request, Signature=0"
        path = f"/-/tables/{page}?{urlencode(query)}"
        status, _, body = self._send(self._application.endpoint, method, path, headers={"authorization": scope})
        return status, json.loads(body)

    def put(self, uri: str, content: str) -> None:
        path = self._application.folders.path(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


@pytest.fixture
def catalog(application: Application, send: Send) -> Catalog:
    return Catalog(application, send)


@pytest.mark.slow
def test_a_tables_columns_are_read_from_its_files(catalog: Catalog) -> None:
    catalog.put("s3://sales/clients/part.csv", "email,Income,since\na@example.com,1000,2020-01-02\n")
    status, made = catalog("POST", "add", name="sales.clients", uri="s3://sales/clients/")
    assert status == 200, made
    assert (made["format"], made["uri"]) == ("csv", "s3://sales/clients")
    assert made["columns"] == {"email": "VARCHAR", "Income": "BIGINT", "since": "DATE"}
    assert made["options"]["header"] is True
    assert catalog("GET", "") == (200, {"tables": [made]})
    assert catalog("GET", "", account=SHOP) == (200, {"tables": []})
    assert catalog("POST", "remove", account=SHOP, name="sales.clients")[0] == 404
    assert catalog("POST", "remove", name="sales.clients")[0] == 200
    assert catalog("GET", "") == (200, {"tables": []})


@pytest.mark.slow
def test_json_lines_are_a_table_too(catalog: Catalog) -> None:
    catalog.put("s3://sales/logs/part.jsonl", '{"id": 1, "who": "a"}\n{"id": 2, "who": "b"}\n')
    status, made = catalog("POST", "add", name="sales.logs", uri="s3://sales/logs")
    assert status == 200, made
    assert (made["format"], made["columns"]) == ("jsonl", {"id": "BIGINT", "who": "VARCHAR"})


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"name": "clients", "uri": "s3://sales/clients"}, "is not of the form database.table"),
        ({"name": "sales.clients", "uri": "s3://sales/nothing"}, "there is nothing"),
        ({"name": "sales.clients", "uri": "/etc/passwd"}, "not of the form s3://bucket/key"),
        ({"name": "sales.clients", "uri": "s3://sales/../models"}, "cannot be part of a key"),
        ({"name": "sales.clients", "uri": "s3://sales/odd"}, "the names of its files tell of no format"),
        ({"name": "sales.clients", "uri": "s3://sales/odd", "format": "orc"}, "is none of csv, parquet, jsonl"),
        ({"name": "sales.clients", "uri": "s3://of-shop/clients"}, "belongs to another account"),
    ],
)
def test_what_is_no_table_is_refused(
    catalog: Catalog, application: Application, loop: Loop, query: dict[str, str], told: str
) -> None:
    catalog.put("s3://sales/odd/README", "not a table")
    catalog.put("s3://of-shop/clients/part.csv", "a\n1\n")
    loop.run(application.buckets.own("of-shop", SHOP))
    status, answer = catalog("POST", "add", **query)
    assert status == 400
    assert told in answer["message"]

"""A bank and a shop: two tables of two accounts, under rules of each kind."""

from collections.abc import Mapping, Sequence
from typing import Any

from modelyard.analysis.check import check
from modelyard.analysis.model import Allowed, Analysis, Purpose, Refused, Table

BANK, SHOP, STRANGER = "111111111111", "222222222222", "333333333333"
REGION = "arn:aws:cleanrooms-ml:us-east-1"
MODEL = f"{REGION}:{BANK}:membership/m-1/configured-model-algorithm-association/a-1"
TEMPLATE = f"arn:aws:cleanrooms:us-east-1:{BANK}:membership/m-1/analysistemplate/t-1"

BANK_COLUMNS = {"id": "BIGINT", "age": "INTEGER", "balance": "DOUBLE", "name": "VARCHAR", "branch": "VARCHAR"}
SHOP_COLUMNS = {"id": "BIGINT", "city": "VARCHAR", "spent": "DOUBLE", "email": "VARCHAR", "branch": "VARCHAR"}


def custom(*disallowed: str, **members: Any) -> dict[str, Any]:
    any_query = {"allowedAnalyses": ["ANY_QUERY"], "allowedAnalysisProviders": [BANK]}
    return {"type": "CUSTOM", **any_query, "disallowedOutputColumns": list(disallowed), **members}


def listed(*columns: str, **members: Any) -> dict[str, Any]:
    return {"type": "LIST", "joinColumns": ["id", "branch"], "listColumns": list(columns), **members}


def grouped(*dimensions: str, **members: Any) -> dict[str, Any]:
    pairs = [
        {"columnNames": ["spent", "balance"], "function": "SUM"},
        {"columnNames": ["spent"], "function": "AVG"},
        {"columnNames": ["id"], "function": "COUNT_DISTINCT"},
    ]
    return {
        "type": "AGGREGATION",
        "aggregateColumns": pairs,
        "joinColumns": ["id"],
        "dimensionColumns": list(dimensions),
        "scalarFunctions": ["LOWER", "CAST", "ROUND"],
        "outputConstraints": [{"columnName": "id", "minimum": 3, "type": "COUNT_DISTINCT"}],
        **members,
    }


def tables(
    bank: Mapping[str, Any] | None, shop: Mapping[str, Any] | None, association: Mapping[str, Any] | None = None
) -> dict[str, Table]:
    return {
        "bank": Table("bank", BANK, BANK_COLUMNS, bank, association, "arn:bank"),
        "shop": Table("shop", SHOP, SHOP_COLUMNS, shop, association, "arn:shop"),
    }


CUSTOM = tables(custom("name"), custom("email"))
LIST = tables(listed("age", "balance"), listed("city", "spent"))
AGGREGATION = tables(grouped("age"), grouped("city", joinRequired="QUERY_RUNNER"))


def direct(sql: str, asker: str = BANK, **members: Any) -> Analysis:
    return Analysis(sql, asker, Purpose.DIRECT, **{"receivers": [asker], **members})


def allowed(sql: str, over: Mapping[str, Table]) -> Allowed:
    return check(direct(sql), over)


def refusal(sql: str, over: Mapping[str, Table]) -> Refused:
    try:
        found = check(direct(sql), over)
    except Refused as refused:
        return refused
    raise AssertionError(f"this was let through: {found.sql}")


def codes(queries: Sequence[str], over: Mapping[str, Table]) -> dict[str, str]:
    return {sql: refusal(sql, over).code for sql in queries}

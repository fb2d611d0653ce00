import datetime as dt
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.workloads.graph.exports import process

from modelyard.runner.context import InputError
from modelyard.workloads.graph.bring.export import export, plan
from modelyard.workloads.graph.bring.tables import tables
from modelyard.workloads.graph.data import NONE, TEST, TRAIN, VALID, Graph
from modelyard.workloads.graph.processing.table import open_table

PEOPLE = pl.DataFrame(
    {
        "id": [f"p{n}" for n in range(40)],
        "age": [float(n) if n % 7 else None for n in range(40)],
        "town": [("Ulm", "Köln", 'a,b\n"c";')[n % 3] for n in range(40)],
        "tags": [[["red;", "green"], ["blue"], []][n % 3] for n in range(40)],
        "seen": [dt.datetime(2020 + n % 2, 1 + n % 12, 1, n % 24) for n in range(40)],
        "tier": [("gold", "base", None)[n % 3] for n in range(40)],
    }
)
ITEMS = pl.DataFrame({"id": list(range(10)), "price": [n * 1.25 for n in range(10)]})
BOUGHT = pl.DataFrame(
    {"who": [f"p{n % 40}" for n in range(80)], "what": [n % 10 for n in range(80)], "stars": [n % 5 for n in range(80)]}
)


def shop(people: Any = PEOPLE, items: Any = ITEMS, bought: Any = BOUGHT) -> Any:
    return tables({"person": (people, "id"), "item": (items, "id")}, {"person-bought->item": (bought, "who", "what")})


def ids(graph: Graph, name: str) -> list[str]:
    return pl.read_parquet(graph.ids_path(graph.node_type_index(name)))["id"].to_list()


def ends(graph: Graph, number: int = 0) -> list[tuple[str, str]]:
    kind = graph.edge_types[number]
    sources, dests = ids(graph, kind.source), ids(graph, kind.dest)
    return [(sources[a], dests[b]) for a, b in graph.edges(number)["edge_index"].T.tolist()]


def encoded(graph: Graph, name: str, feature: str) -> np.ndarray:
    number = graph.node_type_index(name)
    place = [one.name for one in graph.node_types[number].features].index(feature)
    return graph.features(number)[str(place)]


def table(folder: Path, name: str) -> list[dict[str, str]]:
    opened = open_table(folder / name, name, ",")
    return [row for batch in opened.batches(opened.header) for row in batch.frame.iter_rows(named=True)]


def test_the_graph_is_the_source(tmp_path: Path) -> None:
    export(shop(), tmp_path / "in", targets=["person.tier"])
    graph, result = process(tmp_path / "in", tmp_path / "out")
    assert result["nodes"] == {"person": 40, "item": 10}
    assert (result["task"], result["classes"], result["labelled"]) == ("node_class", 2, 27)
    assert sum(result["split"].values()) == 27
    assert ids(graph, "person") == PEOPLE["id"].to_list()
    assert ends(graph) == [(who, str(what)) for who, what, _ in BOUGHT.iter_rows()]
    features = {feature.name: feature.type for feature in graph.node_types[0].features}
    assert features == {"age": "numerical", "town": "category", "tags": "category", "seen": "datetime"}
    median = float(np.median(PEOPLE["age"].drop_nulls()))
    ages = PEOPLE["age"].fill_null(median).to_numpy()
    assert np.allclose(encoded(graph, "person", "age")[:, 0], (ages - ages.min()) / (ages.max() - ages.min()))
    assert encoded(graph, "person", "tags").sum(axis=1).tolist() == [len(tags) for tags in PEOPLE["tags"]]
    assert encoded(graph, "person", "town").shape == (40, 3)
    assert [feature.name for feature in graph.edge_types[0].features] == ["stars"]
    assert graph.warnings == ()


def test_csv_parquet_and_queries_give_the_same_export(tmp_path: Path) -> None:
    for name, frame in (("people", PEOPLE.drop("tags", "seen")), ("items", ITEMS), ("bought", BOUGHT)):
        frame.write_parquet(tmp_path / f"{name}.parquet")
        frame.write_csv(tmp_path / f"{name}.csv")
    for kind in ("parquet", "csv"):
        every = [f"{tmp_path}/{name}.{kind}" for name in ("people", "items", "bought")]
        export(shop(*every), tmp_path / kind, targets=["person.tier:classification"])
    every = [f"SELECT * FROM '{tmp_path}/{name}.parquet'" for name in ("people", "items", "bought")]
    export(shop(*every), tmp_path / "query", targets=["person.tier:classification"])
    for path in (tmp_path / "parquet").rglob("*.*"):
        for other in ("csv", "query"):
            assert path.read_bytes() == (tmp_path / other / path.relative_to(tmp_path / "parquet")).read_bytes()


CELLS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
NASTY = st.sampled_from(
    [",", '"', '""', "\n", "\r", "\r\n", ";", "|", "\t", "\ufeff", " ", "é", "\U0001d518", "\x1f", 'a,b\n"c']
)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(CELLS | NASTY, st.lists(CELLS | NASTY, max_size=3)), min_size=2, max_size=6))
def test_nothing_of_a_cell_is_lost(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, list[str]]]) -> None:
    folder = tmp_path_factory.mktemp("cells")
    values, lists = [value for value, _ in rows], [one for _, one in rows]
    frame = pl.DataFrame(
        {"id": [f"{value}#{n}" for n, value in enumerate(values)], "text": values, "list": lists},
        schema={"id": pl.String, "text": pl.String, "list": pl.List(pl.String)},
    )
    try:
        export(tables({"t": (frame, "id")}, {("t", "r", "t"): (frame, "id", "id")}), folder / "in")
    except InputError as error:
        if "hold every character" not in str(error):
            raise
        return
    configuration = json.loads((folder / "in" / "training-data-configuration.json").read_text())
    found = table(folder / "in", "nodes/t.csv")
    assert [row["~id"] for row in found] == frame["id"].to_list()
    assert [row["text"] for row in found] == values
    separators = [
        one.get("separator") for one in configuration["graph"]["nodes"][0]["features"] if one["feature"][0] == "list"
    ]
    for cell, values in zip(found, lists, strict=True) if separators else ():
        assert [value for value in cell["list"].split(separators[0]) if value] == [value for value in values if value]
    graph, _ = process(folder / "in", folder / "out")
    assert ids(graph, "t") == frame["id"].to_list()
    assert ends(graph) == [(one, one) for one in frame["id"]]


def test_a_relation_may_come_from_a_column(tmp_path: Path) -> None:
    triples = pl.DataFrame({"h": ["a", "b", "c"], "r": ["likes", "knows", "likes"], "t": ["b", "c", "a"]})
    source = tables(edges={"e-[r]->e": (triples, "h", "t")})
    made = export(source, tmp_path / "in", nodes_from_edges=True, task="link_prediction", split=(0.6, 0.4, 0.0))
    assert made.document()["edges"] == [
        {"type": ["e", "likes", "e"], "count": 2},
        {"type": ["e", "knows", "e"], "count": 1},
    ]
    graph, result = process(tmp_path / "in", tmp_path / "out")
    assert result["edges"] == {"e-likes-e": 2, "e-knows-e": 1}
    assert ends(graph, 0) == [("a", "b"), ("c", "a")]
    assert all(kind.target for kind in graph.edge_types)


def test_ends_of_edges_become_nodes(tmp_path: Path) -> None:
    few = ITEMS[:4]
    made = export(shop(items=few), tmp_path / "in", nodes_from_edges=True)
    assert made.document()["nodes"] == [{"type": "person", "count": 40}, {"type": "item", "count": 10}]
    graph, _ = process(tmp_path / "in", tmp_path / "out")
    assert ids(graph, "item") == [str(n) for n in range(10)]
    assert encoded(graph, "item", "price")[:5, 0].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1, 0.5])
    assert len(ends(graph)) == 80


def test_bad_rows_are_left_out(tmp_path: Path) -> None:
    people = pl.concat([PEOPLE, PEOPLE[:2].with_columns(age=99.0), PEOPLE[:1].with_columns(id=pl.lit(None, pl.String))])
    made = export(shop(people, ITEMS[:4]), tmp_path / "in", skip_bad_rows=True)
    graph, result = process(tmp_path / "in", tmp_path / "out")
    assert result["nodes"] == {"person": 40, "item": 4}
    assert ends(graph) == [(who, str(what)) for who, what, _ in BOUGHT.iter_rows() if what < 4]
    assert {row["age"] for row in table(tmp_path / "in", "nodes/person.csv")}.isdisjoint({"99.0"})
    assert sorted(warning.split(": ", 1)[1] for warning in made.warnings if "left out" in warning) == [
        "edges to missing nodes: 48 are left out",
        "rows that repeat an id: 2 are left out",
        "rows without an id: 1 are left out",
    ]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"people": pl.concat([PEOPLE, PEOPLE[3:4]])}, r"row 41, column 'id': 'p3' is also the id of row 4"),
        ({"items": ITEMS[:9]}, r"row 10, column 'what': '9' is the id of no node of type 'item' \(8 such edges"),
        ({"bought": BOUGHT.with_columns(who=pl.lit(None, pl.String))}, r"row 1, column 'who': '' is empty"),
        ({"items": ITEMS.with_columns(price=pl.lit(float("inf")))}, r"row 1, column 'price': 'inf' is not a finite"),
        ({"people": PEOPLE.with_columns(town=pl.lit("a\0b"))}, r"row 1, column 'town': 'a\\x00b' holds a NUL byte"),
    ],
)
def test_faults_name_table_row_and_way_out(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        export(shop(**changed), tmp_path / "in")
    assert list(tmp_path.iterdir()) == [], "nothing is left of what failed"


def test_the_split_may_come_from_a_column(tmp_path: Path) -> None:
    parts = ["train", "val", "test", "train"] * 10
    source = shop(PEOPLE.with_columns(part=pl.Series(parts)))
    made = export(source, tmp_path / "in", targets=["person.tier"], split_column="person.part")
    assert "Split: as the column 'part' says" in str(made)
    graph, _ = process(tmp_path / "in", tmp_path / "out")
    codes = {"train": TRAIN, "val": VALID, "test": TEST}
    wanted = [codes[part] if tier else NONE for part, tier in zip(parts, PEOPLE["tier"], strict=True)]
    assert graph.labels()["split"].tolist() == wanted


def test_an_edge_property_may_be_learned(tmp_path: Path) -> None:
    export(shop(), tmp_path / "in", targets=["person-bought->item.stars:classification"])
    graph, result = process(tmp_path / "in", tmp_path / "out")
    assert (result["task"], result["classes"]) == ("edge_class", 5)
    assert graph.task.edge_type == ("person", "bought", "item")


def test_the_configuration_may_be_changed_before_it_is_written(tmp_path: Path) -> None:
    planned = plan(shop())
    person = planned.configuration["graph"]["nodes"][0]
    person["features"] = [{"feature": ["tags", "tags", "category"], "separator": "/"}]
    planned.write(tmp_path / "in")
    assert table(tmp_path / "in", "nodes/person.csv")[0]["tags"] == "red;/green"
    graph, _ = process(tmp_path / "in", tmp_path / "out")
    assert [(one.name, one.dim) for one in graph.node_types[0].features] == [("tags", 3)]
    person["features"] = [{"feature": ["tags", "tags", "category"], "separator": ";"}]
    with pytest.raises(InputError, match=r"person\.tags: a value of a list holds ';'"):
        planned.write(tmp_path / "other")
    person["features"] = [{"feature": ["tags", "tags", "embedding"]}]
    with pytest.raises(InputError, match="unknown type 'embedding'"):
        planned.write(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_an_export_without_anything_to_learn_is_told() -> None:
    (warning,) = plan(tables({"item": (ITEMS, "id")})).warnings
    assert warning.startswith("no column is to be learned, and there are no edges")


def test_types_may_have_any_name(tmp_path: Path) -> None:
    names = ["a/b", "..", "x" * 300, "ü;%2F"]
    nodes = {name: (pl.DataFrame({"id": list(range(20))}), "id") for name in names}
    edges = {(name, "is/not", name): (pl.DataFrame({"a": list(range(20))}), "a", "a") for name in names}
    export(tables(nodes, edges), tmp_path / "in")
    _, result = process(tmp_path / "in", tmp_path / "out")
    assert result["nodes"] == {name[:100]: 20 for name in names}


@pytest.mark.slow
def test_memory_does_not_grow_with_the_table(tmp_path: Path) -> None:
    rows = 1_500_000
    pl.select(
        id=pl.int_range(rows), note="some text of a node, number " + pl.int_range(rows).cast(pl.String)
    ).write_parquet(tmp_path / "n.parquet")
    pl.select(a=pl.int_range(rows), b=pl.int_range(rows).reverse()).write_parquet(tmp_path / "e.parquet")
    script = (
        "import pathlib, sys; from modelyard.graph import export, tables; folder, to = sys.argv[1:]\n"
        "export(tables({'n': folder + '/n.parquet:id'}, {'n-r->n': folder + '/e.parquet:a,b'}), to)\n"
        "print(pathlib.Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])"
    )
    command = [sys.executable, "-c", script, str(tmp_path), str(tmp_path / "in")]
    peak = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) * 1024
    assert peak < 450 << 20


def test_a_table_without_its_columns_is_named_as_it_was_given() -> None:
    with pytest.raises(InputError, match=r"nodes 'user': 'users\.csv' must be the table and 1 column, TABLE:ID"):
        tables({"user": "users.csv"}, {})

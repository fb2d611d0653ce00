import json
import os
import re
import subprocess
import sys
from pathlib import Path

import networkx as nx
import polars as pl
import pytest

import modelyard.graph
from tests.conftest import ROOT
from tests.system.server import Server

PAGE = (ROOT / "docs" / "bring-a-graph.md").read_text()
SHELL = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def shell(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs what a user would type."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {"PATH": path, **environment}
    return subprocess.run(command, shell=True, cwd=folder, env=os.environ | own, capture_output=True, text=True)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The files that the page's examples name."""
    pl.DataFrame(
        {"id": [f"u{n}" for n in range(30)], "age": list(range(30)), "tier": ["gold", "base"] * 15}
    ).write_parquet(tmp_path / "users.parquet")
    (tmp_path / "items.csv").write_text("id,price\n" + "".join(f"i{n},{n}.5\n" for n in range(5)))
    (tmp_path / "orders.csv").write_text("user_id,item_id\n" + "".join(f"u{n},i{n % 5}\n" for n in range(30)))
    (tmp_path / "triples.tsv").write_text(
        "head\tpredicate\ttail\n" + "".join(f"a{n}\tr\ta{n + 1}\n" for n in range(20))
    )
    people = nx.DiGraph([("ann", "bob")])
    nx.set_node_attributes(people, "person", "kind")
    nx.write_graphml(people, tmp_path / "people.graphml")
    return tmp_path


@pytest.mark.slow
@pytest.mark.system
def test_the_examples_of_the_page_run(shop: Path) -> None:
    server = Server(shop / "data").start()
    try:
        server.client("s3", "000000000000").create_bucket(Bucket="shop")
        for command in SHELL:
            done = shell(command, shop, MODELYARD_ENDPOINT_URL=server.url)
            assert done.returncode == 0, done.stderr
        done = shell("modelyard graph check s3://shop/exports/today", shop, MODELYARD_ENDPOINT_URL=server.url)
    finally:
        server.close()
    assert done.stdout == "35 nodes of 2 types, 30 edges of 1 types: nothing is wrong\n"
    assert sorted(path.name for path in (shop / "exports").iterdir()) == ["graphml", "shop", "triples"]


def test_the_examples_in_python_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec("\n".join(PYTHON), {})
    for name in ("frames", "people", "papers"):
        assert modelyard.graph.check(f"exports/{name}").problems == []


@pytest.mark.slow
def test_the_command_line_shows_and_refuses(shop: Path) -> None:
    nodes = "modelyard graph export --nodes user=users.parquet:id"
    seen = shell(f"{nodes} --target user.tier --exclude user.age --dry-run --json", shop)
    planned = json.loads(seen.stdout)
    assert planned["nodes"] == [{"type": "user", "count": 30}]
    assert planned["columns"] == []
    planned["configuration"]["graph"]["nodes"][0]["labels"][0]["split_rate"] = [0.5, 0.5, 0.0]
    (shop / "edited.json").write_text(json.dumps(planned))
    assert shell(f"{nodes} --configuration edited.json --to out", shop).returncode == 0
    written = json.loads((shop / "out" / "training-data-configuration.json").read_text())
    assert written == planned["configuration"]
    (shop / "out" / "nodes" / "user.csv").write_text("~id\nu1\nu1\n")
    checked = shell("modelyard graph check out --json", shop)
    assert checked.returncode == 1
    assert json.loads(checked.stdout)["problems"][0]["file"] == "nodes/user.csv"
    for command, reason in (
        (f"{nodes} --target user.teir --to x", "'user.teir' is no column; there are user.age, user.tier"),
        (f"{nodes}x --to x", "no column 'idx'; there are 'id', 'age', 'tier'"),
        (f"{nodes} --to out", "--replace"),
        (nodes, "Say where to with --to"),
        ("modelyard graph export --to x", "Give tables with --nodes and --edges"),
        ("modelyard graph check absent", "no such folder"),
    ):
        done = shell(command, shop)
        assert done.returncode in (1, 2)
        assert reason in done.stderr
        assert "Traceback" not in done.stderr


def test_what_can_be_imported_is_what_is_named() -> None:
    assert sorted(modelyard.graph.__all__) == sorted(name for name in vars(modelyard.graph) if not name.startswith("_"))

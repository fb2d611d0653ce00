from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.system.server import Server

from modelyard.runner.context import InputError
from modelyard.workloads.graph.bring import place
from modelyard.workloads.graph.bring.check import check
from modelyard.workloads.graph.bring.export import export, plan
from modelyard.workloads.graph.bring.place import Door, written
from modelyard.workloads.graph.bring.tables import tables
from modelyard.workloads.graph.processing.configuration import CONFIGURATION

IDS = pl.DataFrame({"id": [str(n) for n in range(20)]})


def ring(name: str = "n") -> Any:
    return tables({name: (IDS, "id")}, {(name, "r", name): (IDS, "id", "id")})


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def fail() -> None:
        with written(tmp_path / "deep" / "in") as folder:
            (folder / "half").write_text("x")
            assert not (tmp_path / "deep" / "in").exists()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list((tmp_path / "deep").iterdir()) == []
    with written(tmp_path / "deep" / "in") as folder:
        (folder / "whole").write_text("x")
    assert files(tmp_path) == ["deep/in/whole"]


def test_only_an_export_is_replaced(tmp_path: Path) -> None:
    export(ring(), tmp_path / "in")
    with pytest.raises(InputError, match="--replace"):
        export(ring("m"), tmp_path / "in")
    export(ring("m"), tmp_path / "in", replace=True)
    assert files(tmp_path) == [f"in/{name}" for name in ("edges/(m)-r-(m).csv", "nodes/m.csv", CONFIGURATION)]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(InputError, match="is no export"):
        export(ring(), tmp_path / "mine", replace=True)
    assert files(tmp_path / "mine") == ["thesis.txt"]


@pytest.mark.parametrize("uri", ["s3://", "s3://bucket", "s3://bucket/"])
def test_a_folder_of_a_bucket_must_be_named(uri: str) -> None:
    with pytest.raises(InputError, match="must name a bucket and a folder"):
        export(ring(), uri)


def test_without_a_server_there_is_a_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("MODELYARD_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "MODELYARD_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match="modelyard serve"):
        export(ring(), "s3://bucket/in")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "data").start()
    try:
        yield server
    finally:
        server.close()


@pytest.mark.system
def test_objects_of_a_server(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "PART", 5 << 20)
    door = Door(server.url, "111122223333", "us-east-1")
    with pytest.raises(InputError, match="aws s3 mb s3://bucket"):
        export(ring(), "s3://bucket/in", endpoint_url=server.url)
    server.client("s3").create_bucket(Bucket="bucket")
    wide = IDS.with_columns(text=pl.lit("words " * 60_000) + pl.col("id"))
    source = tables({"a/ü %": (wide, "id")}, {("a/ü %", "r", "a/ü %"): (IDS, "id", "id")})
    plan(source).write("s3://bucket/in/", door=door)
    found = check("s3://bucket/in", door=door)
    assert (found.problems, found.nodes) == ([], {"a/ü %": 20})
    with pytest.raises(InputError, match="--replace"):
        plan(ring()).write("s3://bucket/in", door=door)
    plan(ring()).write("s3://bucket/in", replace=True, door=door)
    assert files(server.object("s3://bucket/in")) == ["edges/(n)-r-(n).csv", "nodes/n.csv", CONFIGURATION]

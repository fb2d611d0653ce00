import tarfile
from pathlib import Path
from typing import Any

import pytest

from modelyard.runner.context import Context
from modelyard.workloads.cleanroom.export import run


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    folder = tmp_path / "trained"
    for path, text in {
        "model/model.json": "{}",
        "output/metrics.json": "[]",
        "logs/111111111111.log": "secret",
    }.items():
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text(text)
    return folder


def export(trained: Path, files: list[str], max_bytes: int = 1000) -> tuple[dict[str, Any], dict[str, list[str]]]:
    output = trained.parent / "exported"
    output.mkdir()
    result = run(Context({"files": files, "max_bytes": max_bytes}, {"trained": trained}, trained, output))
    archives = {}
    for path in output.iterdir():
        with tarfile.open(path) as tar:
            archives[path.name] = tar.getnames()
    return result, archives


def test_the_model_and_its_output_are_packed(trained: Path) -> None:
    result, archives = export(trained, ["MODEL", "OUTPUT"])

    assert archives == {"model.tar.gz": ["model.json"], "output.tar.gz": ["metrics.json"]}
    assert result["size"] == len("{}model.json[]metrics.json")
    assert result["bytes"] > 0


def test_only_what_may_be_exported_is_packed(trained: Path) -> None:
    assert list(export(trained, ["OUTPUT"])[1]) == ["output.tar.gz"]


def test_an_empty_model_is_an_empty_archive(trained: Path) -> None:
    (trained / "model" / "model.json").unlink()

    assert export(trained, ["MODEL"])[1] == {"model.tar.gz": []}


@pytest.mark.parametrize(("limit", "allowed"), [(25, False), (26, True), (27, True)])
def test_the_limit_holds_for_all_files_together(limit: int, allowed: bool, trained: Path) -> None:
    result, archives = export(trained, ["MODEL", "OUTPUT"], limit)

    assert bool(archives) == allowed
    assert ("failure" not in result) == allowed
    if not allowed:
        assert result["failure"]["code"] == "EXPORT_TOO_LARGE"
        assert result["failure"]["message"] == f"What would be exported is larger than the {limit} bytes allowed."

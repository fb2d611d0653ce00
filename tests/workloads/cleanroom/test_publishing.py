from pathlib import Path
from typing import Any

import pytest

from modelyard.runner.context import Context
from modelyard.workloads.cleanroom.publishing import run


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    for path in ("out/part-00000.csv.out", "out/part-00001.csv.out", "logs/111111111111.log", "logs/222222222222.log"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)
    return folder


def publish(source: Path, folder: str) -> tuple[dict[str, Any], list[str]]:
    output = source.parent / "published"
    output.mkdir()
    result = run(Context({"folder": folder}, {"source": source}, source, output))
    return result, sorted(str(path.relative_to(output)) for path in output.rglob("*"))


def test_a_folder_is_published_by_its_contents(source: Path) -> None:
    result, published = publish(source, "out")

    assert published == ["part-00000.csv.out", "part-00001.csv.out"]
    assert result == {"files": 2, "bytes": 2 * len("out/part-00000.csv.out")}


def test_a_member_gets_its_own_log_alone(source: Path) -> None:
    assert publish(source, "logs/111111111111.log")[1] == ["111111111111.log"]


def test_nothing_is_published_of_what_is_not_there(source: Path) -> None:
    assert publish(source, "metrics.csv") == ({"files": 0, "bytes": 0}, [])


def test_a_copy_has_a_life_of_its_own(source: Path) -> None:
    publish(source, "out")
    (source.parent / "published" / "part-00000.csv.out").write_text("changed")

    assert (source / "out" / "part-00000.csv.out").read_text() == "out/part-00000.csv.out"

import os
from pathlib import Path

import pytest
from tests.workloads.graph.exports import process
from tests.workloads.graph.inference.test_edges import VERDICT, rated

from modelyard.workloads.graph.custom.readable import readable


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    folder = tmp_path / "graph"
    (folder / "nodes").mkdir(parents=True)
    (folder / "graph.json").write_text("{}")
    (folder / "nodes" / "ids").write_text("ids")
    return folder


def test_one_that_anyone_may_read_is_used_as_it_lies(graph: Path, tmp_path: Path) -> None:
    assert readable(graph, tmp_path / "seen") == graph


def test_one_that_was_processed_is_used_as_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    before = os.umask(0o022)
    try:
        processed, _ = process(rated(tmp_path / "export", VERDICT), tmp_path / "processed")
    finally:
        os.umask(before)
    assert (processed.folder / "edges" / "0.safetensors").exists()
    assert readable(processed.folder, tmp_path / "seen") == processed.folder


def test_where_we_are_not_root_we_are_the_sandboxes_user(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    (graph / "nodes" / "ids").chmod(0o600)
    assert readable(graph, tmp_path / "seen") == graph


def test_of_others_the_files_that_are_ours_alone_are_copied(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (graph / "nodes" / "ids").chmod(0o600)
    (graph / "nodes" / "link").symlink_to("/etc/passwd")
    seen = readable(graph, tmp_path / "seen")

    assert (seen / "nodes" / "ids").read_text() == "ids"
    assert (seen / "nodes" / "ids").stat().st_mode & 0o777 == 0o644
    assert (graph / "nodes" / "ids").stat().st_mode & 0o777 == 0o600
    assert os.path.samefile(seen / "graph.json", graph / "graph.json")
    assert not os.path.lexists(seen / "nodes" / "link")
    assert readable(graph, tmp_path / "seen") == seen

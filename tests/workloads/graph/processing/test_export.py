import os
from pathlib import Path

import pytest
from tests.workloads.graph.exports import node, write

from modelyard.runner.context import InputError
from modelyard.workloads.graph.processing.configuration import read_export

FILES = {"nodes/p.csv": "~id,~label,age\np1,p,3\n"}


@pytest.mark.parametrize(
    ("on_disk", "named"),
    [
        ("nodes/%28p%29.csv", "nodes/%28p%29.csv"),
        ("nodes/%28p%29.csv", "nodes/(p).csv"),
        ("nodes/(p).csv", "nodes/%28p%29.csv"),
    ],
)
def test_percent_signs_belong_to_names_and_their_other_form_is_found_too(
    tmp_path: Path, on_disk: str, named: str
) -> None:
    export = read_export(write(tmp_path, {on_disk: "~id\n1\n"}, [node(named, "p")]))
    assert export.path(named, "").name == Path(on_disk).name


def test_the_name_as_it_stands_wins(tmp_path: Path) -> None:
    files = {"%28p%29.csv": "~id\n1\n", "(p).csv": "~id\n2\n"}
    export = read_export(write(tmp_path, files, [node("%28p%29.csv", "p")]))
    assert export.path("%28p%29.csv", "").name == "%28p%29.csv"


@pytest.mark.parametrize(
    "name", ["../secret.csv", "/etc/passwd", "nodes/../../secret.csv", "nodes//p.csv", ".", "a\0b", "%2e%2e/secret.csv"]
)
def test_paths_out_of_the_export_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.csv").write_text("~id\nx\n")
    with pytest.raises(InputError, match=r"graph\.nodes\[0\]\.file_name: .* is not a path within the export's folder"):
        read_export(write(tmp_path / "export", FILES, [node(name, "p")]))


@pytest.mark.parametrize("link", ["nodes", "nodes/q.csv"])
def test_links_are_not_followed(tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "q.csv").write_text("~id\nx\n")
    folder = write(tmp_path / "export", {"x": ""}, [node("nodes/q.csv", "p")])
    (folder / link).parent.mkdir(exist_ok=True)
    (folder / link).symlink_to(outside if link == "nodes" else outside / "q.csv")
    with pytest.raises(InputError, match="is or passes a symbolic link"):
        read_export(folder)


def test_what_is_no_plain_file_is_not_opened(tmp_path: Path) -> None:
    folder = write(tmp_path, FILES, [node("nodes/pipe", "p")])
    os.mkfifo(folder / "nodes" / "pipe")
    with pytest.raises(InputError, match="'nodes/pipe' is not a file"):
        read_export(folder)

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.workloads.graph.exports import edge, feature, node, process, real, write

from modelyard.runner.context import InputError
from modelyard.workloads.graph.bring.check import check
from modelyard.workloads.graph.bring.findings import Findings, document

PEOPLE = "~id,age,town,note,tier\n" + "".join(
    f"p{n},{n},{'xyz'[n % 3]},2024-0{1 + n % 9}-01,{'ab'[n % 2]}\n" for n in range(20)
)
KNOWS = "~from,~to,since\n" + "".join(f"p{n},p{(n + 1) % 20},{2000 + n}\n" for n in range(20))
CONFIGURATION = "training-data-configuration.json"


def good(folder: Path, people: str = PEOPLE, knows: str = KNOWS, **label: Any) -> Path:
    features = [feature("age", "numerical"), feature("town", "category"), feature("note", "datetime")]
    labels = [{"label": ["tier", "classification"], "split_rate": [0.6, 0.2, 0.2], **label}]
    return write(
        folder,
        {"nodes/p.csv": people, "edges/k.csv": knows},
        [node("nodes/p.csv", "p", features, labels)],
        [edge("edges/k.csv", "p", "k", "p", [feature("since", "numerical")])],
    )


def texts(found: Findings) -> list[str]:
    return [one.text for one in found.problems]


def warnings(found: Findings) -> list[str]:
    return [one.text for one in found.warnings]


def edited(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    path = folder / CONFIGURATION
    configuration = json.loads(path.read_text())
    change(configuration)
    path.write_text(json.dumps(configuration))
    return folder


def test_nothing_is_wrong_with_a_good_export(tmp_path: Path) -> None:
    found = check(good(tmp_path))
    assert (texts(found), warnings(found), found.fine) == ([], [], True)
    assert (found.nodes, found.edges) == ({"p": 20}, {"p-k->p": 20})


@pytest.mark.parametrize("name", ["cora", "umls"])
def test_nothing_is_wrong_with_real_exports(name: str) -> None:
    found = check(real(name))
    assert (texts(found), warnings(found)) == ([], [])


def test_everything_is_told_with_file_and_line(tmp_path: Path) -> None:
    people = (
        PEOPLE.replace("p3,3,", "p3,x3,").replace("p5,5,", "p5,,").replace("p7,", ",").replace("2024-09-01", "soon")
    )
    knows = KNOWS.replace("p2,p3", "q2,p3").replace("p4,p5", "q2,q9")
    found = check(good(tmp_path, people, knows))
    assert texts(found) == [
        "nodes/p.csv, line 5, column 'age': 'x3' is not a number",
        "nodes/p.csv, line 7, column 'age': '' has no value, and the feature has no imputer"
        " (mean, median or most-frequent)",
        "nodes/p.csv, line 9, column '~id': '' is empty, but an id is needed",
        "nodes/p.csv, line 10, column 'note': 'soon' is not a date, such as 2024-05-31 or 2024-05-31T12:00:00Z",
        "nodes/p.csv, line 19, column 'note': 'soon' is not a date, such as 2024-05-31 or 2024-05-31T12:00:00Z",
        "edges/k.csv, line 4, column '~from': 'q2' is the id of no node of type 'p' (3 such rows)",
        "edges/k.csv, line 6, column '~from': 'q2' is the id of no node of type 'p' (3 such rows)",
        "edges/k.csv, line 6, column '~to': 'q9' is the id of no node of type 'p' (2 such rows)",
        "edges/k.csv, line 8, column '~to': 'p7' is the id of no node of type 'p' (2 such rows)",
        "edges/k.csv, line 9, column '~from': 'p7' is the id of no node of type 'p' (3 such rows)",
    ]
    placed = document(found)["problems"][0]
    assert (placed["file"], placed["line"], placed["column"]) == ("nodes/p.csv", 5, "age")


def test_every_fault_of_the_configuration_is_told(tmp_path: Path) -> None:
    def change(configuration: dict[str, Any]) -> None:
        graph = configuration["graph"]
        graph["nodes"][0]["features"][0]["norm"] = "huge"
        graph["nodes"][0]["features"][1] = {"feature": ["town", "town", "magic"]}
        graph["nodes"][0]["features"].append({"feature": ["city", "city", "category"]})
        graph["nodes"][0]["labels"].append({"label": ["age", "regression"]})
        graph["nodes"].append(7)
        graph["nodes"].append(node("nodes/absent.csv", "q"))
        graph["edges"].append({"file_name": "edges/k.csv", "source": ["~from", "p"], "relation": ["", "k"]})
        graph["edges"].append(edge("edges/k.csv", "p", "of", "p") | {"separator": "--"})

    found = check(edited(good(tmp_path), change))
    for part in (
        "graph.nodes[0].features[0].norm: unknown value 'huge'",
        "unknown type 'magic'",
        "graph.nodes[1]: must be an object",
        "the export has no file 'nodes/absent.csv'",
        "graph.edges[1].dest: must be a list of 2 strings",
        "graph.edges[2].separator: must be one ASCII character",
        "graph.nodes[0].labels[1]: a job learns one thing",
        "nodes/p.csv, line 1: no column 'city'",
    ):
        assert any(part in text for text in texts(found)), part


def test_what_may_spoil_a_result_is_a_warning(tmp_path: Path) -> None:
    rows = [f"p{n % 18},1,,2024-01-01,{'b' if n == 3 else 'a'}" for n in range(20)]
    folder = good(tmp_path, "~id,age,town,note,tier\n" + "\n".join(rows) + "\n", "~from,~to,since\n")
    (folder / "nodes" / "old.csv").write_text("~id\n")
    found = check(folder)
    repeats = "repeats the id of an earlier row: the first row of an id counts (2 such rows)"
    assert texts(found) == []
    assert warnings(found) == [
        "nodes/p.csv, column 'age': has '1' in every row, which tells no rows apart",
        "nodes/p.csv, column 'town': has no values, which tells no rows apart",
        "nodes/p.csv, column 'note': has '2024-01-01' in every row, which tells no rows apart",
        f"nodes/p.csv, line 20, column '~id': 'p0' {repeats}",
        f"nodes/p.csv, line 21, column '~id': 'p1' {repeats}",
        "edges/k.csv: has a header and no rows",
        "graph.nodes[0].labels[0]: the class 'b' of 'tier' has 1 of the 3 rows that a split into 3 parts needs",
        "nodes/old.csv: no object of the configuration names it",
    ]


def test_files_of_a_split(tmp_path: Path) -> None:
    files = {"train": "train.csv", "valid": "valid.csv"}
    folder = good(tmp_path, split_rate=None, custom_split_filenames=files)
    (folder / "train.csv").write_text("~id\np1\np2\nq1\n")
    (folder / "valid.csv").write_text("~id\np2\n")
    assert texts(check(folder)) == [
        "train.csv, line 4, column '~id': 'q1' is the id of no node of type 'p' (1 such rows)",
        "valid.csv, line 2, column '~id': 'p2' is also in the train split",
    ]


@pytest.mark.parametrize("tiers", ["ab", "aab", "a", "", "abc"])
def test_too_few_rows_to_validate(tmp_path: Path, tiers: str) -> None:
    people = "~id,age,town,note,tier\n" + "".join(f"p{n},{n},x,,{tier}\n" for n, tier in enumerate(tiers + " " * 3))
    _agree(
        good(tmp_path / "in", people.replace(", \n", ",\n"), "~from,~to,since\np0,p1,1\np1,p0,2\n"), tmp_path / "out"
    )


@pytest.mark.parametrize("edges", [0, 1, 2, 3])
def test_too_few_links(tmp_path: Path, edges: int) -> None:
    knows = "~from,~to,since\n" + "".join(f"p{n},p{n + 1},1\n" for n in range(edges))
    folder = edited(good(tmp_path / "in", knows=knows), lambda c: c["graph"]["nodes"][0].pop("labels"))
    _agree(folder, tmp_path / "out")


def test_statements_are_checked_too(tmp_path: Path) -> None:
    statements = "".join(f"<urn:{n}> <urn:knows> <urn:{n + 1}> .\n" for n in range(9))
    rdfs = {"rdfs": [{"file_name": "s.nt"}]}
    folder = write(tmp_path, {"s.nt": statements}, query_engine="sparql", graph=rdfs)
    assert sum(check(folder).edges.values()) == 9
    (folder / "s.nt").write_text(statements + "nonsense\n")
    (text,) = texts(check(folder))
    assert text.startswith("s.nt, line 10: ")


def test_a_split_without_validation_is_told_beforehand(tmp_path: Path) -> None:
    found = check(good(tmp_path, split_rate=[1.0, 0.0, 0.0]))
    assert found.fine
    assert any("split_rate: [1.0, 0.0, 0.0] leaves nothing for validation" in text for text in warnings(found))


def test_a_row_that_cannot_be_read_ends_its_file_alone(tmp_path: Path) -> None:
    found = check(good(tmp_path, PEOPLE.replace("p3,3,x", "p3,3,4,x"), KNOWS.replace("p1,p2,2001", "p1,p2,new")))
    assert texts(found) == [
        "nodes/p.csv, line 5: 6 columns where the header has 5: 'p3,3,4,x,2024-04-01,b'; "
        "what comes after it was not checked",
        "edges/k.csv, line 3, column 'since': 'new' is not a number",
    ]
    assert not any("no rows" in text for text in warnings(found))


def test_there_may_be_very_much_wrong(tmp_path: Path) -> None:
    folder = good(tmp_path)
    found = check(edited(folder, lambda c: c["graph"]["nodes"].extend([7] * 500)))
    assert len(found.problems) == 200
    assert found.more == 300


def test_no_export_at_all(tmp_path: Path) -> None:
    assert texts(check(tmp_path)) == [
        f"the export has no configuration {CONFIGURATION!r}; configFileName selects another one"
    ]
    with pytest.raises(InputError, match="no such folder"):
        check(tmp_path / "absent")


@pytest.mark.parametrize("seed", range(25))
def test_what_a_job_refuses_the_check_finds(tmp_path: Path, seed: int) -> None:
    """Any few bytes of any file are changed: the check and the job agree whether that is fine."""
    chance = random.Random(seed)
    folder = good(tmp_path / "in")
    path = folder / chance.choice(["nodes/p.csv", "edges/k.csv", CONFIGURATION])
    content = bytearray(path.read_bytes())
    for _ in range(chance.randint(1, 3)):
        content[chance.randrange(len(content))] = chance.choice(b'",\n;x0p\x00\xff~')
    path.write_bytes(bytes(content))
    _agree(folder, tmp_path / "out")


def _agree(folder: Path, output: Path) -> None:
    refused = []
    try:
        process(folder, output)
    except InputError as error:
        refused.append(str(error))
    assert bool(texts(check(folder))) == bool(refused), refused

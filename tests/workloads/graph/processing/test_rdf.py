import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.workloads.graph.exports import process

from modelyard.runner.context import Context, InputError, Stopped
from modelyard.workloads.graph.data import TRAIN, Graph
from modelyard.workloads.graph.processing.process import run
from modelyard.workloads.graph.processing.statements import MAX_LITERAL, RESOURCE, TYPE

X = "http://example.org/"
PERSON, CITY = X + "Person", X + "City"


def iri(name: str) -> str:
    return f"<{name}>" if ":" in name else f"<{X}{name}>"


def triple(subject: str, predicate: str, object: str) -> str:
    """A line; an object in quotes or of a blank node stands as it is."""
    subject, object = (one if one.startswith(("_:", '"')) else iri(one) for one in (subject, object))
    return f"{subject} {iri(TYPE if predicate == 'a' else predicate)} {object} .\n"


def write(
    folder: Path, *files: str | bytes, task: str = "classification", targets: Sequence[dict[str, Any]] | None = None
) -> Path:
    """An RDF export; without targets it asks for no task."""
    (folder / "statements").mkdir(parents=True)
    rdfs = []
    for number, text in enumerate(files):
        (folder / "statements" / f"{number}.nt").write_bytes(text.encode() if isinstance(text, str) else text)
        described: dict[str, Any] = {"file_name": f"statements/{number}.nt"}
        if targets is not None:
            described["label"] = {"task_type": task, "targets": list(targets)}
        rdfs.append(described)
    document = {"version": "v2.0", "query_engine": "sparql", "graph": {"rdfs": rdfs}, "warnings": []}
    (folder / "training-data-configuration.json").write_text(json.dumps(document))
    return folder


def town(people: int = 20) -> str:
    """People with ages, groups and acquaintances, who live in three cities."""
    lines = []
    for n in range(people):
        lines += [
            triple(f"p{n}", "a", "Person"),
            triple(f"p{n}", "age", f'"{20 + n}"^^<http://www.w3.org/2001/XMLSchema#integer>'),
            triple(f"p{n}", "group", f'"{"ab"[n % 2]}"'),
            triple(f"p{n}", "knows", f"p{(n * 7 + 2) % people}"),
            triple(f"p{n}", "lives", f"c{n % 3}"),
        ]
    return "".join(lines) + "".join(triple(f"c{n}", "a", "City") for n in range(3))


GROUP = [{"node": PERSON, "predicate": X + "group", "split_rate": [0.6, 0.2, 0.2]}]


def ids(graph: Graph, name: str) -> list[str]:
    return pl.read_parquet(graph.ids_path(graph.node_type_index(name)))["id"].to_list()


def feature(graph: Graph, node_type: str, name: str) -> np.ndarray:
    number = graph.node_type_index(node_type)
    place = [one.name for one in graph.node_types[number].features].index(name)
    found = graph.features(number)
    if str(place) in found:
        return found[str(place)]
    from scipy import sparse

    parts = tuple(found[f"{place}.{part}"] for part in ("values", "indices", "indptr"))
    shape = graph.node_types[number].num_nodes, graph.node_types[number].features[place].dim
    return np.asarray(sparse.csr_array(parts, shape=shape).toarray())


def edges(graph: Graph) -> dict[tuple[str, str, str], set[tuple[str, str]]]:
    """The edges by type, as pairs of ids."""
    found = {}
    for number, kind in enumerate(graph.edge_types):
        source, dest = ids(graph, kind.source), ids(graph, kind.dest)
        found[kind.key] = {(source[a], dest[b]) for a, b in graph.edges(number)["edge_index"].T}
    return found


def test_classes_predicates_and_literals_become_a_property_graph(tmp_path: Path) -> None:
    graph, result = process(write(tmp_path / "in", town(), targets=GROUP), tmp_path / "out")
    assert result["nodes"] == {PERSON: 20, CITY: 3}
    assert ids(graph, CITY) == [f"{X}c{n}" for n in (2, 0, 1)] or set(ids(graph, CITY)) == {
        f"{X}c{n}" for n in range(3)
    }
    assert [(one.name, one.type) for one in graph.node_types[0].features] == [(X + "age", "numerical")]
    people = ids(graph, PERSON)
    ages = np.array([int(name.removeprefix(X + "p")) / 19 for name in people])
    assert np.allclose(feature(graph, PERSON, X + "age")[:, 0], ages)
    assert edges(graph) == {
        (PERSON, X + "knows", PERSON): {(f"{X}p{n}", f"{X}p{(n * 7 + 2) % 20}") for n in range(20)},
        (PERSON, X + "lives", CITY): {(f"{X}p{n}", f"{X}c{n % 3}") for n in range(20)},
    }
    labels = graph.labels()["labels"]
    assert [graph.task.classes[code] for code in labels] == ["ab"[int(one.removeprefix(X + "p")) % 2] for one in people]
    assert (graph.task.type, graph.task.node_type, graph.task.property) == ("node_class", PERSON, X + "group")
    assert result["split"] == {"train": 12, "valid": 4, "test": 4}
    assert not list((tmp_path / "out").glob("property-graph*"))


def test_several_files_are_one_graph_and_a_statement_counts_once(tmp_path: Path) -> None:
    graph, _ = process(write(tmp_path / "in", town(), town(), targets=GROUP), tmp_path / "out")
    assert [kind.num_edges for kind in graph.edge_types] == [20, 20]
    assert [one.type for one in graph.node_types[0].features] == ["numerical"]


def test_nodes_without_a_class_and_blank_nodes_are_resources(tmp_path: Path) -> None:
    text = town() + triple("p0", "owns", "_:cat") + triple("_:cat", "chases", "mouse") + triple("p1", "a", "_:some")
    graph, _ = process(write(tmp_path / "in", text, targets=GROUP), tmp_path / "out")
    assert set(ids(graph, RESOURCE)) == {"_:cat", X + "mouse"}
    assert edges(graph)[RESOURCE, X + "chases", RESOURCE] == {("_:cat", X + "mouse")}


def test_of_several_classes_the_targets_counts_and_then_the_most_common_one(tmp_path: Path) -> None:
    owl = "http://www.w3.org/2002/07/owl#Thing"
    text = town(12) + "".join(triple(f"p{n}", "a", "Student") for n in range(12))
    text += "".join(triple(f"q{n}", "a", name) for n in range(30) for name in ("Student", "Sleeper", owl))
    graph, result = process(write(tmp_path / "in", text, targets=GROUP), tmp_path / "out")
    assert result["nodes"] == {PERSON: 12, X + "Student": 30, CITY: 3}
    assert graph.node_types[1].features[0].name == TYPE
    assert feature(graph, X + "Student", TYPE).tolist() == [[1.0]] * 30
    assert any("several classes" in warning for warning in graph.warnings)


def test_literals_with_languages_are_features_of_their_own(tmp_path: Path) -> None:
    words = [("red", "rot"), ("blue", "blau")]
    text = town() + "".join(
        triple(f"p{n}", "colour", f'"{word}"@{tag}')
        for n in range(20)
        for word, tag in zip(words[n % 2], ("en", "de"), strict=True)
    )
    graph, _ = process(write(tmp_path / "in", text, targets=GROUP), tmp_path / "out")
    assert {X + "colour@en", X + "colour@de"} < {one.name for one in graph.node_types[0].features}


def test_several_values_are_a_mean_a_set_the_first_date_or_one_text(tmp_path: Path) -> None:
    text = town(40)
    for n in range(40):
        text += triple(f"p{n}", "tag", f'"t{n % 3}"') + triple(f"p{n}", "mark", f'"{n}"')
        text += triple(f"p{n}", "born", f'"19{50 + n}-01-01"') + triple(f"p{n}", "says", f'"word{n} is what I; say"')
    text += triple("p0", "tag", '"t1"') + triple("p0", "mark", '"78"') + triple("p0", "born", '"2000-01-01"')
    text += triple("p0", "says", '"and what else"')
    graph, _ = process(write(tmp_path / "in", text, targets=GROUP), tmp_path / "out")
    types = {one.name.removeprefix(X): one.type for one in graph.node_types[0].features}
    assert types == {
        "age": "numerical",
        "born": "datetime",
        "mark": "numerical",
        "says": "text_tfidf",
        "tag": "category",
    }
    first = ids(graph, PERSON).index(X + "p0")
    assert feature(graph, PERSON, X + "tag")[first].tolist() == [1, 1, 0]
    assert feature(graph, PERSON, X + "mark")[first] == pytest.approx((39 - 1) / (39 - 1))


def test_several_labels_make_a_task_of_many_labels(tmp_path: Path) -> None:
    graph, _ = process(write(tmp_path / "in", town() + triple("p0", "group", '"b"'), targets=GROUP), tmp_path / "out")
    assert graph.task.multilabel
    assert graph.labels()["labels"][ids(graph, PERSON).index(X + "p0")].tolist() == [1, 1]


def test_classes_may_be_iris_and_are_then_no_edges(tmp_path: Path) -> None:
    target = [{"node": PERSON, "predicate": X + "lives", "split_rate": [0.6, 0.2, 0.2]}]
    graph, _ = process(write(tmp_path / "in", town(), targets=target), tmp_path / "out")
    assert graph.task.classes == tuple(f"{X}c{n}" for n in range(3))
    assert [kind.relation for kind in graph.edge_types] == [X + "knows"]


def test_the_only_literal_needs_no_name(tmp_path: Path) -> None:
    text = "".join(line for line in town().splitlines(keepends=True) if "age" not in line)
    graph, _ = process(write(tmp_path / "in", text, targets=[{"node": PERSON}]), tmp_path / "out")
    assert graph.task.property == X + "group"


def test_regression_learns_numbers_and_takes_the_mean_of_several(tmp_path: Path) -> None:
    target = [{"node": PERSON, "predicate": X + "age", "split_rate": [0.6, 0.2, 0.2]}]
    text = town() + triple("p3", "age", '"43"')
    graph, _ = process(write(tmp_path / "in", text, task="regression", targets=target), tmp_path / "out")
    labels = dict(zip(ids(graph, PERSON), graph.labels()["labels"].tolist(), strict=True))
    assert (graph.task.type, labels[X + "p0"], labels[X + "p3"]) == ("node_regression", 20.0, 33.0)


def test_links_of_one_predicate_between_two_classes(tmp_path: Path) -> None:
    target = [{"subject": PERSON, "predicate": X + "lives", "object": CITY, "split_rate": [0.8, 0.1, 0.1]}]
    export = write(tmp_path / "in", town(), task="link_prediction", targets=target)
    graph, _ = process(export, tmp_path / "out")
    assert {kind.relation: kind.target for kind in graph.edge_types} == {X + "knows": False, X + "lives": True}


@pytest.mark.parametrize("targets", [None, [{"split_rate": [0.9, 0.1, 0.0]}], [{"predicate": X + "lives"}]])
def test_links_with_a_part_missing_are_all_edges(tmp_path: Path, targets: list[dict[str, Any]] | None) -> None:
    export = write(tmp_path / "in", town(), task="link_prediction", targets=targets)
    graph, _ = process(export, tmp_path / "out")
    assert graph.task.type == "link_predict"
    assert all(kind.target for kind in graph.edge_types)
    assert (graph.edges(0)["split"] == TRAIN).sum() > 10


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"garbage", "is no statement of N-Triples: The subject of a triple must be an IRI or a blank node"),
        (b"<http://a> <http://b> <http://c> <http://graph> .", "is no statement of N-Triples: Quads must be followed"),
        (b'<http://a> <http://b> "\xff" .', "is no statement of N-Triples: Invalid UTF-8"),
        (b'<http://a> <http://b> "open .', "is no statement of N-Triples"),
        (b"<http://a> <http://b> <<( <http://a> <http://b> <http://c> )>> .", "a statement about a statement"),
    ],
)
def test_what_is_no_statement_is_told_with_file_and_line(tmp_path: Path, line: bytes, reason: str) -> None:
    good = b"# comment\n\n" + town().encode()
    export = write(tmp_path / "in", good, good + line + b"\n" + good)
    number = good.count(b"\n") + 1
    with pytest.raises(InputError, match=rf"statements/1\.nt, line {number}: {reason}"):
        process(export, tmp_path / "out")


def test_a_label_that_is_no_number_is_told_with_file_and_line(tmp_path: Path) -> None:
    target = [{"node": PERSON, "predicate": X + "age"}]
    text = "# one\n\n" + triple("p0", "age", '"1"') + "  \n" + triple("p0", "age", '"old"')
    export = write(tmp_path / "in", text, task="regression", targets=target)
    with pytest.raises(InputError, match=r"statements/0\.nt, line 5: 'old' is the number to learn"):
        process(export, tmp_path / "out")


def test_a_statement_too_long_for_the_parser_is_told_with_its_line(tmp_path: Path) -> None:
    export = write(tmp_path / "in", town(4) + triple("p0", "says", '"' + "x" * (17 << 20) + '"'))
    with pytest.raises(InputError, match=r"statements/0\.nt, line 24: is longer than 16 MB"):
        process(export, tmp_path / "out")


def test_long_literals_are_cut_and_odd_characters_kept(tmp_path: Path) -> None:
    text = town() + "".join(
        triple(f"p{n}", "says", f'"{n} one\\ntwo \\"three\\", \\u0000 {"word " * (MAX_LITERAL // 4)}"')
        for n in range(3)
    )
    graph, _ = process(write(tmp_path / "in", text, targets=GROUP), tmp_path / "out")
    assert any("3 literals are longer" in warning for warning in graph.warnings)


@pytest.mark.parametrize(
    ("task", "target", "reason"),
    [
        (
            "classification",
            {"node": X + "Dog", "predicate": X + "group"},
            r"targets\[0\]: no node has the class '.*Dog'",
        ),
        (
            "classification",
            {"node": PERSON, "predicate": X + "name"},
            "no node of .*Person has '.*name'; its nodes have",
        ),
        ("classification", {"node": PERSON}, "names no predicate, and the nodes of .*Person have 2 literals"),
        ("classification", {"predicate": X + "group"}, r"targets\[0\]\.node: must name the class"),
        ("regression", {"node": PERSON, "predicate": X + "lives"}, "no node of .*Person has '.*lives'"),
        ("link_prediction", {"subject": CITY, "predicate": X + "knows", "object": CITY}, "no statement joins nodes"),
        ("clustering", {"node": PERSON}, r"label\.task_type: unknown value 'clustering'"),
    ],
)
def test_targets_that_the_graph_does_not_have(tmp_path: Path, task: str, target: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        process(write(tmp_path / "in", town(), task=task, targets=[target]), tmp_path / "out")


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    export = write(tmp_path / "in", town())
    (tmp_path / "secret.nt").write_text(town())
    (export / "statements" / "0.nt").unlink()
    (export / "statements" / "0.nt").symlink_to(tmp_path / "secret.nt")
    with pytest.raises(InputError, match="symbolic link"):
        process(export, tmp_path / "out")


def test_an_empty_export_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no statement in any of the files"):
        process(write(tmp_path / "in", "# nothing\n"), tmp_path / "out")


def test_a_later_export_is_encoded_as_the_first_was(tmp_path: Path) -> None:
    first, _ = process(write(tmp_path / "in", town(), targets=GROUP), tmp_path / "first")
    more = town(24) + "".join(triple(f"c{n}", "a", PERSON) + triple(f"c{n}", "size", '"1"') for n in range(3))
    more += triple("p0", "age", '"40"')
    later, _ = process(write(tmp_path / "more", more, targets=GROUP), tmp_path / "later", tmp_path / "first")
    assert ids(later, PERSON)[:20] == ids(first, PERSON)
    assert (len(ids(later, PERSON)), len(ids(later, CITY))) == (24, 3)
    assert any("the previous job has no feature" in warning for warning in later.warnings)
    ages = feature(later, PERSON, X + "age")[:, 0]
    assert np.allclose(ages[1:20], feature(first, PERSON, X + "age")[1:, 0])
    assert ages[0] == pytest.approx((30 - 20) / 19)


def test_later_nodes_without_a_class_join_the_earlier_ones_and_known_nodes_keep_their_type(tmp_path: Path) -> None:
    first = town() + triple("p0", "owns", "cat") + triple("p1", "owns", "dog")
    process(write(tmp_path / "in", first, targets=GROUP), tmp_path / "first")
    more = first + triple("p2", "owns", "owl") + triple("cat", "a", "City")
    later, _ = process(write(tmp_path / "more", more, targets=GROUP), tmp_path / "later", tmp_path / "first")
    assert ids(later, RESOURCE) == [f"{X}{name}" for name in ("cat", "dog", "owl")]
    assert len(edges(later)[PERSON, X + "owns", RESOURCE]) == 3


def test_a_stop_is_heeded_and_leaves_nothing(tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    export = write(tmp_path / "in", town(), targets=GROUP)
    with pytest.raises(Stopped):
        run(Context({}, {"export": export}, state=output, output=output, should_stop=lambda: True))
    assert list(output.iterdir()) == []

"""An RDF export as a property graph: its statements become the files of nodes and edges that processing reads.

One pass reads the statements. Nodes become numbers, of which an edge keeps three; text goes to disk. Then each node
gets its type, and every type of nodes and of edges its file. Memory holds the nodes' names (200 bytes each), 12 bytes
for each edge, and the text of one type at a time.

- A node's type is the object of its `rdf:type`. Of several the target's class counts, else the class that most nodes
  have; `owl:Thing` and `owl:NamedIndividual` only where there is no other. The others become a feature, `rdf:type`.
- A node without one is an `rdfs:Resource`, the class of everything.
- Literals are features that `auto` encodes, one for each predicate, and for each language where they have tags.
  Datatypes say nothing that `auto` does not see. Of several values: the mean of numbers, the first of dates, texts
  behind one another, categories as a set.
- A statement counts once, wherever it is repeated. A blank node is the same node in all files.

Source of the form: neptune-export, `RdfTrainingDataConfigWriter`. https://www.w3.org/TR/n-triples/
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from modelyard.runner.context import Context, InputError, Stopped
from modelyard.workloads.graph.data import read_graph
from modelyard.workloads.graph.processing.edges import MAX_TYPES
from modelyard.workloads.graph.processing.encodings import encoded_names
from modelyard.workloads.graph.processing.export import (
    EdgeFile,
    Export,
    FeatureSpec,
    LabelSpec,
    NodeFile,
    RdfTarget,
)
from modelyard.workloads.graph.processing.features import one_value
from modelyard.workloads.graph.processing.statements import MAX_LITERAL, RESOURCE, TYPE, Progress, Statements
from modelyard.workloads.graph.processing.table import show

TRIVIAL = frozenset({"http://www.w3.org/2002/07/owl#Thing", "http://www.w3.org/2002/07/owl#NamedIndividual"})

MAX_PROPERTIES = 200
"""Features of one type."""

SEPARATOR = "\x1f"
"""Between several values of a property: ASCII's unit separator."""

Key = tuple[int, int, int]


@dataclass(frozen=True)
class Earlier:
    """An earlier job's graph: the ids of each type, and its features."""

    ids: Mapping[str, pl.Series]
    features: Mapping[str, Sequence[str]]


@contextmanager
def property_graph(export: Export, context: Context) -> Iterator[Export]:
    """The export itself, or a property graph of its statements, which lies in the state folder meanwhile.

    Raises InputError, which names file and line of a statement, and Stopped.
    """
    if not export.statements:
        yield export
        return
    folder = context.state / "property-graph"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "literals").mkdir(parents=True)
    try:
        targets = _targets(export)
        statements = Statements(folder / "literals", targets)
        progress = _reporting(context)
        for name, place in {file.file_name: file.place for file in export.statements}.items():
            statements.read(export.path(name, f"{place}.file_name"), name, progress)
        previous = context.inputs.get("previous")
        earlier = _earlier(previous) if previous else None
        yield Conversion(folder, statements, targets, earlier, export).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _earlier(folder: Path) -> Earlier:
    graph = read_graph(folder)
    names = [kind.name for kind in graph.node_types]
    ids = {name: pl.read_parquet(graph.ids_path(number))["id"] for number, name in enumerate(names)}
    return Earlier(ids, {name: encoded_names(folder, name) for name in names})


def _reporting(context: Context) -> Progress:
    total = 0

    def progress(statements: int) -> None:
        nonlocal total
        if context.should_stop():
            raise Stopped("stopped while reading statements")
        total += statements
        context.report(total, phase="reading statements")

    return progress


def _targets(export: Export) -> tuple[RdfTarget, ...]:
    """What all files ask to be learned, each thing once; the exporter repeats it at every file."""
    targets = {replace(one, place=""): one for file in reversed(export.statements) for one in reversed(file.targets)}
    asked = tuple(reversed(targets.values()))
    if len(asked) > 1 and any(target.task != "link_prediction" for target in asked):
        raise InputError(f"{asked[1].place}: a job learns one thing, and {asked[0].place} describes another")
    return asked


class Conversion:
    """From what was read to files. A node of an `earlier` job keeps its type, and a type its features."""

    def __init__(
        self,
        folder: Path,
        statements: Statements,
        targets: Sequence[RdfTarget],
        earlier: Earlier | None,
        export: Export,
    ) -> None:
        self._folder = folder
        self._statements = statements
        self._targets = targets
        self._earlier = earlier
        self._warnings = list(export.warnings)
        self._ids = pl.Series("~id", list(statements.nodes), dtype=pl.String)
        statements.nodes.clear()
        self._names, self._type = self._typed()

    def run(self) -> Export:
        """Writes the files; the export that describes them."""
        self._check_targets()
        literals = self._sorted_literals()
        edges = self._sorted_edges()
        nodes = tuple(self._node_file(number, literals, edges) for number in range(len(self._names)))
        files = tuple(self._edge_files(edges))
        if self._statements.cut:
            self._warnings.append(
                f"{self._statements.cut} literals are longer than {MAX_LITERAL >> 10} thousand characters; the rest of "
                "them is left out"
            )
        return Export(self._folder, nodes, files, tuple(self._warnings))

    def _typed(self) -> tuple[list[str], np.ndarray]:
        """The types in use and the type of each node, int64 `[num_nodes]`; what else a node is becomes a property."""
        first = list(self._earlier.ids) if self._earlier else [name for one in self._targets for name in one.classes]
        for name in first:
            self._statements.classes.setdefault(name, len(self._statements.classes))
        names = list(self._statements.classes)
        node, kind = (np.array(one, np.int64) for one in self._statements.types)
        node, kind = np.divmod(np.unique(node * max(1, len(names)) + kind), max(1, len(names)))
        rank = _ranks(names, np.bincount(kind, minlength=len(names)), first)
        best = np.full(len(self._ids), len(names))
        np.minimum.at(best, node, rank[kind])
        for name, ids in self._earlier.ids.items() if self._earlier else ():
            best[self._ids.is_in(ids.implode()).to_numpy()] = rank[self._statements.classes[name]]
        used, types = np.unique(best, return_inverse=True)
        ordered = [names[place] for place in np.argsort(rank)] + [RESOURCE]
        other = (rank[kind] != best[node]) & ~np.isin(kind, [i for i, name in enumerate(names) if name in TRIVIAL])
        if other.any():
            self._warnings.append(
                f"{len(np.unique(node[other]))} nodes have several classes: of those the target's, else the one that "
                "most nodes have is the type, and the others are the feature rdf:type"
            )
            self._statements.add(node[other], TYPE, [names[place] for place in kind[other]])
        return [ordered[place] for place in used], types

    def _check_targets(self) -> None:
        if not len(self._ids):
            raise InputError("graph.rdfs: there is no statement in any of the files")
        for target in self._targets:
            for name in target.classes:
                if name not in self._names:
                    known = ", ".join(map(show, self._names[:10]))
                    raise InputError(f"{target.place}: no node has the class {show(name)}; there are {known}")

    def _sorted_literals(self) -> list[Path]:
        """The pieces, each sorted by a further column `type`, so that those of one type are found without the rest."""
        paths = self._statements.literals()
        for path in paths:
            frame = pl.read_parquet(path)
            types = pl.Series("type", self._type[frame["node"].to_numpy()], dtype=pl.UInt32)
            frame.with_columns(types).sort("type", maintain_order=True).write_parquet(path, row_group_size=50_000)
        return paths

    def _sorted_edges(self) -> dict[Key, tuple[np.ndarray, np.ndarray]]:
        """Subjects and objects by the numbers of subject's type, predicate and object's type, each pair once."""
        source, predicate, dest = (np.array(one, np.uint32) for one in self._statements.edges)
        num_predicates, num_types = len(self._statements.predicates), len(self._names)
        keys = (self._type[source] * num_predicates + predicate) * num_types + self._type[dest]
        order = np.argsort(keys, kind="stable")
        starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
        if len(starts) > MAX_TYPES:
            raise InputError(f"graph.rdfs: classes and predicates give more than {MAX_TYPES} types of edges")
        edges = {}
        for part in np.split(order, starts[1:]) if len(order) else ():
            rest, dest_type = divmod(int(keys[part[0]]), num_types)
            pairs = np.unique((source[part].astype(np.uint64) << np.uint64(32)) | dest[part])
            edges[*divmod(rest, num_predicates), dest_type] = (
                (pairs >> np.uint64(32)).astype(np.uint32),
                pairs.astype(np.uint32),
            )
        return edges

    def _node_file(
        self, number: int, literals: list[Path], edges: dict[Key, tuple[np.ndarray, np.ndarray]]
    ) -> NodeFile:
        """Writes the nodes of a type; edges to what its label names are labels, and no edges any more."""
        type_name, members = self._names[number], np.flatnonzero(self._type == number)
        properties = self._properties(number, members, literals)
        target = next((one for one in self._targets if one.node == type_name), None)
        labels: tuple[LabelSpec, ...] = ()
        columns = [self._ids.gather(members)]
        if target is not None:
            name, cells = self._label(target, number, members, properties, edges)
            properties.pop(name, None)
            labels = (_label_spec(target, name, cells),)
            columns.append(_reduced(target, cells).alias(name))
        place = f"the class {type_name}"
        kept = self._features(type_name, properties, len(members))
        columns += [cells.alias(name) for name, cells in kept.items()]
        features = tuple(FeatureSpec(name, name, "auto", {"set": SEPARATOR}, f"{name} of {place}") for name in kept)
        file = f"nodes/{number}.csv"
        self._write(file, columns)
        return NodeFile(file, ",", "~id", type_name, features, labels, place)

    def _properties(self, number: int, members: np.ndarray, literals: list[Path]) -> dict[str, pl.Series]:
        """The cells of each property of a type, several values with SEPARATOR between."""
        if not literals:
            return {}
        frame = pl.scan_parquet(literals).filter(pl.col("type") == number, pl.col("value") != "").collect()
        names = list(self._statements.properties)
        parts = frame.drop("type").unique(maintain_order=True).partition_by("property", as_dict=True)
        return {
            names[property]: _cells(members, part["node"], part["value"]) for (property,), part in sorted(parts.items())
        }

    def _label(
        self,
        target: RdfTarget,
        number: int,
        members: np.ndarray,
        properties: Mapping[str, pl.Series],
        edges: dict[Key, tuple[np.ndarray, np.ndarray]],
    ) -> tuple[str, pl.Series]:
        """The predicate to learn and its cells: literals, or else the IRIs that it leads to."""
        name = target.predicate or _only(target, properties)
        if name in properties:
            return name, properties[name]
        relation = self._statements.predicates.get(name)
        leading = [key for key in edges if key[:2] == (number, relation)]
        if not leading or target.task == "regression":
            known = ", ".join(map(show, list(properties)[:10])) or "no literals at all"
            raise InputError(f"{target.place}: no node of {target.node} has {show(name)}; its nodes have {known}")
        sources, dests = (np.concatenate(ends) for ends in zip(*(edges.pop(key) for key in leading), strict=True))
        return name, _cells(members, pl.Series(sources), self._ids.gather(dests))

    def _features(self, type_name: str, properties: Mapping[str, pl.Series], count: int) -> Mapping[str, pl.Series]:
        """The properties that are encoded: those of an earlier job, or all, if they are not too many."""
        if self._earlier is not None and type_name in self._earlier.features:
            known = self._earlier.features[type_name]
            if new := [name for name in properties if name not in known]:
                self._warnings.append(
                    f"nodes {type_name!r}: the previous job has no feature {show(new[0])}; it is left out, as are "
                    f"{len(new) - 1} others"
                )
            return {name: properties.get(name, _empty(count)) for name in known}
        if len(properties) <= MAX_PROPERTIES:
            return properties
        filled = sorted(properties, key=lambda name: -(properties[name] != "").sum())
        self._warnings.append(
            f"nodes {type_name!r}: {len(properties)} properties; the {MAX_PROPERTIES} that most nodes have are features"
        )
        return {name: properties[name] for name in filled[:MAX_PROPERTIES]}

    def _edge_files(self, edges: Mapping[Key, tuple[np.ndarray, np.ndarray]]) -> Iterator[EdgeFile]:
        predicates, met = list(self._statements.predicates), set()
        for number, (key, (sources, dests)) in enumerate(edges.items()):
            source, relation, dest = self._names[key[0]], predicates[key[1]], self._names[key[2]]
            asking = [target for target in self._targets if target.asks_links(source, relation, dest)]
            met.update(asking)
            labels = tuple(
                LabelSpec("", target.task, split_rate=target.split_rate, place=target.place) for target in asking[:1]
            )
            file = f"edges/{number}.csv"
            self._write(file, [self._ids.gather(sources).alias("~from"), self._ids.gather(dests).alias("~to")])
            place = f"the predicate {relation}"
            yield EdgeFile(file, ",", "~from", source, "", relation, "~to", dest, (), labels, place)
        for target in self._targets:
            if target.task == "link_prediction" and target not in met:
                raise InputError(f"{target.place}: no statement joins nodes of these classes by this predicate")

    def _write(self, name: str, columns: Sequence[pl.Series]) -> None:
        path = self._folder / name
        path.parent.mkdir(exist_ok=True)
        pl.DataFrame(columns).write_csv(path, quote_style="always")


def _ranks(names: Sequence[str], counts: np.ndarray, first: Sequence[str]) -> np.ndarray:
    """The place of each class in the order in which they become types."""
    places = {name: place for place, name in enumerate(first)}
    order = sorted(
        range(len(names)),
        key=lambda one: (places.get(names[one], len(places)), names[one] in TRIVIAL, -counts[one], names[one]),
    )
    rank = np.empty(len(names), np.int64)
    rank[order] = np.arange(len(names))
    return rank


def _cells(members: np.ndarray, nodes: pl.Series, values: pl.Series) -> pl.Series:
    """A cell for each of the `members`, "" where it has no value."""
    rows = np.searchsorted(members, nodes.to_numpy())
    joined = pl.DataFrame({"row": rows, "value": values}).group_by("row").agg(pl.col("value").str.join(SEPARATOR))
    return _empty(len(members)).scatter(joined["row"], joined["value"])


def _empty(count: int) -> pl.Series:
    return pl.repeat("", count, dtype=pl.String, eager=True)


def _only(target: RdfTarget, properties: Mapping[str, pl.Series]) -> str:
    names = [name for name in properties if name != TYPE]
    if len(names) != 1:
        raise InputError(
            f"{target.place}: names no predicate, and the nodes of {target.node} have {len(names)} literals: "
            f"{', '.join(map(show, names[:10])) or 'none'}"
        )
    return names[0]


def _label_spec(target: RdfTarget, name: str, cells: pl.Series) -> LabelSpec:
    several = target.task == "classification" and cells.str.contains(SEPARATOR, literal=True).any()
    return LabelSpec(
        name, target.task, SEPARATOR if several else None, split_rate=target.split_rate, place=target.place
    )


def _reduced(target: RdfTarget, cells: pl.Series) -> pl.Series:
    return cells if target.task == "classification" else one_value("numerical", cells, SEPARATOR)

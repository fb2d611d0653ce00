"""Says what is wrong with an export, ours or Neptune's: everything, where a job stops at the first fault.

Configuration, tables and cells are read by the code of data processing; what only a look at the whole can tell is
added: edges to missing nodes, ids that repeat, columns that say nothing, classes with too few rows.
"""

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from modelyard.runner.context import Context, InputError
from modelyard.workloads.graph.bring.findings import Findings
from modelyard.workloads.graph.bring.ids import Hashes, hashed
from modelyard.workloads.graph.bring.place import Door, read
from modelyard.workloads.graph.processing.configuration import CONFIGURATION
from modelyard.workloads.graph.processing.encoders import split_categories
from modelyard.workloads.graph.processing.export import EdgeFile, Export, FeatureSpec, LabelSpec, NodeFile
from modelyard.workloads.graph.processing.faults import find_faults
from modelyard.workloads.graph.processing.features import BadCell, RawColumn, parse_numbers
from modelyard.workloads.graph.processing.rdf import property_graph
from modelyard.workloads.graph.processing.table import Batch, Table, open_table, show

MOST_EACH = 5
"""Lines that are told of one kind of fault in one column of one file."""
MOST_CLASSES = 10_000


def check(place: str | Path, configuration: str | None = None, door: Door | None = None) -> Findings:
    """Checks the export in a folder or at `s3://bucket/key`, which another configuration may describe.

    Raises InputError only where there is nothing to check.
    """
    with read(place, door) as folder, tempfile.TemporaryDirectory(prefix="modelyard-check-") as scratch:
        found = Findings()
        try:
            export, faults = find_faults(folder, configuration or CONFIGURATION)
            found.problems_of(faults)
            for warning in export.warnings:
                found.warn(warning)
            state = Path(scratch)
            with property_graph(export, Context(parameters={}, inputs={}, state=state, output=state)) as graph:
                _Check(graph, found).run()
        except InputError as error:
            found.problem(str(error))
        return found


@dataclass
class _Column:
    """A column that is used: its feature or label, what was wrong with it, and whether its values differ."""

    name: str
    feature: FeatureSpec | None = None
    label: LabelSpec | None = None
    bad: list[tuple[int, str, str]] = field(default_factory=list)
    values: int = 0
    first: str | None = None
    differs: bool = False
    raw: RawColumn | None = None

    def look(self, batch: Batch) -> None:
        """Takes the next rows."""
        cells = batch.frame[self.name]
        filled = cells.filter(cells != "")
        self.values += len(filled)
        if len(filled):
            self.first = self.first if self.first is not None else filled[0]
            self.differs = self.differs or bool((filled != self.first).any())
        if len(filled) < len(cells) and self.values:
            self.differs = True
        start = 0
        while start < len(cells) and len(self.bad) < MOST_EACH:
            try:
                self._parse(cells.slice(start))
                return
            except BadCell as error:
                self.bad.append((batch.start + start + error.row, self.name, error.reason))
                start += error.row + 1

    def _parse(self, cells: pl.Series) -> None:
        """As data processing does. Raises BadCell."""
        if self.label is not None and self.label.task == "regression":
            parse_numbers(cells)
        if self.feature is not None and self.feature.type != "none":
            self.raw = self.raw or RawColumn(self.feature)
            self.raw.add(cells)
            self.raw.pieces = [piece[:0] for piece in self.raw.pieces[-1:]]  # its width is all that is needed


class _Check:
    """One export's files, read one after the other."""

    def __init__(self, export: Export, found: Findings) -> None:
        self._export = export
        self._found = found
        self._ids: dict[str, Hashes] = {}
        self._specs: dict[tuple[str, str], LabelSpec] = {}
        self._counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self._labelled: Counter[tuple[str, str]] = Counter()
        self._unreadable: set[str] = set()
        """Types of nodes of which some cannot be read: edges to those are no news."""

    def run(self) -> None:
        """Adds all findings."""
        for node_type in dict.fromkeys(file.node_type for file in self._export.nodes):
            self._nodes(node_type, [file for file in self._export.nodes if file.node_type == node_type])
        for edges in self._export.edges:
            self._edges(edges)
        self._labels()
        self._links()
        self._split_files()
        self._strangers()

    def _nodes(self, node_type: str, files: Sequence[NodeFile]) -> None:
        ids = self._ids[node_type] = Hashes(keeps_repeated=True)
        rows = 0
        opened: list[tuple[Table, str]] = []
        for file in files:
            table = self._open(file)
            names = self._resolved(table, [file.id_column]) if table else None
            if table is None or names is None:
                self._unreadable.add(node_type)
                continue
            opened.append((table, names[0]))
            for batch in self._batches(table, names, self._columns(file, table)):
                if batch is None:
                    self._unreadable.add(node_type)
                    continue
                cells = batch.frame[names[0]]
                ids.add(hashed(cells.filter(cells != "")))
                rows += len(cells)
        self._found.nodes[node_type] = len(ids)
        self._repeated(node_type, opened, ids)

    def _repeated(self, node_type: str, tables: Sequence[tuple[Table, str]], ids: Hashes) -> None:
        if not len(ids.repeated):
            return
        seen: set[str] = set()
        repeats = 0
        places: list[tuple[Table, tuple[int, str, str]]] = []
        for table, column in dict(tables).items():
            for batch in table.batches([column]):
                cells = batch.frame[column]
                for row in np.flatnonzero(np.isin(hashed(cells), ids.repeated)).tolist():
                    if cells[row] in seen:
                        repeats += 1
                        if len(places) < MOST_EACH:
                            places.append((table, (batch.start + row, column, "repeats the id of an earlier row")))
                    elif cells[row]:
                        seen.add(cells[row])
        for table, cell in places:
            self._found.warn(f"{table.fault(*cell)}: the first row of an id counts ({repeats:,} such rows)")

    def _edges(self, file: EdgeFile) -> None:
        name = _name(file)
        table = self._open(file)
        keys = [file.source_column, file.dest_column, *([file.relation_column] if file.relation_column else [])]
        names = self._resolved(table, keys) if table else None
        if table is None or names is None:
            return
        missing = _Missing()
        for batch in self._batches(table, names, self._columns(file, table)):
            if batch is None:
                continue
            self._found.edges[name] = self._found.edges.get(name, 0) + len(batch.frame)
            for column, node_type in ((names[0], file.source), (names[1], file.dest)):
                if node_type in self._ids and node_type not in self._unreadable:
                    missing.look(batch, column, node_type, self._ids[node_type])
        self._found.problems_of(missing.told(table))

    def _files(self) -> list[NodeFile | EdgeFile]:
        return [*self._export.nodes, *self._export.edges]

    def _open(self, file: NodeFile | EdgeFile) -> Table | None:
        try:
            return open_table(
                self._export.path(file.file_name, f"{file.place}.file_name"), file.file_name, file.separator
            )
        except InputError as error:
            self._found.problem(str(error))
            return None

    def _resolved(self, table: Table, names: Iterable[str]) -> list[str] | None:
        """The header's names of columns; None if one is missing."""
        resolved = []
        for name in names:
            try:
                resolved.append(table.column(name))
            except InputError as error:
                self._found.problem(str(error))
                return None
        return resolved

    def _columns(self, file: NodeFile | EdgeFile, table: Table) -> list[_Column]:
        """The columns of the features and of the label that are there."""
        columns = [
            _Column(names[0], feature=spec)
            for spec in file.features
            if (names := self._resolved(table, [spec.column])) is not None
        ]
        columns += [
            _Column(names[0], label=spec)
            for spec in file.labels
            if spec.task != "link_prediction" and (names := self._resolved(table, [spec.column])) is not None
        ]
        return columns

    def _batches(self, table: Table, keys: Sequence[str], columns: Sequence[_Column]) -> Iterator[Batch | None]:
        """The rows of a file, its cells looked at; None for the rest of a file that cannot be read."""
        empty: dict[str, list[int]] = {key: [] for key in keys}
        rows, whole = 0, True
        try:
            for batch in table.batches([*keys, *(column.name for column in columns)]):
                for key in keys:
                    empty[key] += [batch.start + int(row) for row in (batch.frame[key] == "").arg_true()]
                for column in columns:
                    column.look(batch)
                    self._count(column, batch)
                rows += len(batch.frame)
                yield batch
        except InputError as error:
            self._found.problem(f"{error}; what comes after it was not checked")
            whole = False
            yield None
        cells = [
            (row, key, f"is empty, but an id is needed{_such(found)}")
            for key, found in empty.items()
            for row in found[:MOST_EACH]
        ]
        self._found.problems_of(table.faults([*cells, *(cell for column in columns for cell in column.bad)]))
        if not rows and whole:
            self._found.warn(f"{table.name}: has a header and no rows")
        self._constant(table, columns, rows)

    def _constant(self, table: Table, columns: Sequence[_Column], rows: int) -> None:
        for column in columns if rows > 1 else ():
            if column.feature is None or column.feature.type == "none" or column.differs:
                continue
            has = f"has {show(column.first)} in every row" if column.first is not None else "has no values"
            self._found.warn(f"{table.name}, column {column.name!r}: {has}, which tells no rows apart")

    def _count(self, column: _Column, batch: Batch) -> None:
        """Counts the classes of a label, as long as there are not too many."""
        if column.label is None:
            return
        key = column.label.column, column.label.task
        self._specs.setdefault(key, column.label)
        self._labelled[key] += int((batch.frame[column.name] != "").sum())
        counts = self._counts[key]
        if column.label.task == "classification" and len(counts) <= MOST_CLASSES:
            _, labels = split_categories(batch.frame[column.name], column.label.separator)
            counts.update(dict(labels.rename("label").value_counts().iter_rows()))

    def _labels(self) -> None:
        for key, spec in self._specs.items():
            counts = self._counts[key]
            if not self._labelled[key]:
                self._overridden(spec)
            else:
                self._validated(spec, self._labelled[key] - max(1, 0 if spec.separator else len(counts)))
            if spec.task == "regression" or not counts:
                continue
            if len(counts) == 1:
                self._found.warn(f"{spec.place}: every label {spec.column!r} is {show(next(iter(counts)))}")
            if len(counts) > MOST_CLASSES:
                self._found.warn(
                    f"{spec.place}: more than {MOST_CLASSES:,} classes in {spec.column!r}; are they classes?"
                )
                continue
            needed = 1 + sum(rate > 0 for rate in spec.split_rate[1:]) if not spec.split_files else 1
            rare = sorted((count, label) for label, count in counts.items() if count < needed)
            for count, label in rare[:MOST_EACH]:
                self._found.warn(
                    f"{spec.place}: the class {show(label)} of {spec.column!r} has {count} of the {needed} rows that a "
                    f"split into {needed} parts needs{_such(rare)}"
                )

    def _validated(self, spec: LabelSpec, free: int) -> None:
        """The first row of each class is for training: `free` are the others."""
        if spec.split_files:
            return
        if not spec.split_rate[1]:
            self._found.warn(
                f"{spec.place}.split_rate: {list(spec.split_rate)} leaves nothing for validation, without which only "
                "custom models are trained"
            )
        elif free < 1:
            self._found.problem(
                f"{spec.place}: no row of {spec.column!r} is left for validation, since the first of each class is for "
                "training; label more rows"
            )

    def _links(self) -> None:
        """Link prediction needs an edge to train on and one to validate."""
        labels = [label for file in self._files() for label in file.labels]
        if any(label.task != "link_prediction" or label.split_files for label in labels) or not self._export.edges:
            return
        asked = [file for file in self._export.edges if file.labels or not labels]
        if (count := sum(self._found.edges.get(name, 0) for name in {_name(file) for file in asked})) < 2:
            place = labels[0].place if labels else "graph.edges"
            self._found.problem(
                f"{place}: link prediction has {count} edges, and needs one to train on and one to validate"
            )

    def _overridden(self, spec: LabelSpec) -> None:
        """Without a label in the files of nodes, those of the split must bring them."""
        if not spec.split_files:
            self._found.problem(
                f"{spec.place}: no row has a value in the column {spec.column!r}; nothing can be learned"
            )

    def _split_files(self) -> None:
        """The rows of split files must be nodes, or edges between nodes, and each in one part."""
        done: set[str] = set()
        for file in self._files():
            for spec in file.labels:
                parts: dict[str, Hashes] = {}
                for part, name in spec.split_files.items():
                    if name not in done:
                        done.add(name)
                        self._split_file(file, spec, part, name, parts)

    def _split_file(
        self, file: NodeFile | EdgeFile, spec: LabelSpec, part: str, name: str, parts: dict[str, Hashes]
    ) -> None:
        try:
            path = self._export.path(name, f"{spec.place}.custom_split_filenames.{part}")
        except InputError:
            return  # told before
        try:
            table = open_table(path, name, file.separator)
            if isinstance(file, NodeFile):
                ends = [(table.column(file.id_column), file.node_type)]
            else:
                ends = [(table.column(file.source_column), file.source), (table.column(file.dest_column), file.dest)]
            missing, mine = _Missing(), Hashes()
            others = list(parts.items())
            parts[part] = mine
            for batch in table.batches([column for column, _ in ends]):
                for column, node_type in ends:
                    if node_type not in self._unreadable:
                        missing.look(batch, column, node_type, self._ids.get(node_type, Hashes()))
                hashes = hashed(batch.frame.select(pl.concat_str([c for c, _ in ends], separator="\0")).to_series())
                mine.add(np.unique(hashes))
                for other, known in others:
                    if (taken := np.flatnonzero(known.places(hashes) >= 0)).size:
                        self._found.problem(
                            str(batch.fault(int(taken[0]), ends[0][0], f"is also in the {other} split"))
                        )
            self._found.problems_of(missing.told(table))
            if not len(mine) and isinstance(file, NodeFile):
                tell = self._found.warn if part == "test" else self._found.problem
                tell(f"{name}: has a header and no rows")
        except InputError as error:
            self._found.problem(str(error))

    def _strangers(self) -> None:
        """Files that lie there and are never read."""
        used = {self._export.path(f.file_name, f.place) for f in self._files()}
        for name in ("nodes", "edges"):
            for path in sorted((self._export.folder / name).glob("*.csv")):
                if path not in used:
                    self._found.warn(f"{name}/{path.name}: no object of the configuration names it")


@dataclass
class _Missing:
    """Ids that are those of no node: how many, and the first lines, for each column."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    first: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(list))

    def look(self, batch: Batch, column: str, node_type: str, ids: Hashes) -> None:
        """Looks up a column."""
        cells = batch.frame[column]
        missing = np.flatnonzero((ids.places(hashed(cells)) < 0) & (cells != "").to_numpy())
        self.counts[column, node_type] += len(missing)
        first = self.first[column, node_type]
        first += (batch.start + missing[: MOST_EACH - len(first)]).tolist()

    def told(self, table: Table) -> list[InputError]:
        """A message for each of the first lines, with the number of all."""
        cells = [
            (row, column, f"is the id of no node of type {node_type!r} ({self.counts[column, node_type]:,} such rows)")
            for (column, node_type), rows in self.first.items()
            for row in rows
        ]
        return table.faults(cells)


def _name(file: EdgeFile) -> str:
    return f"{file.source}-{file.relation or f'[{file.relation_column}]'}->{file.dest}"


def _such(found: Sequence[object]) -> str:
    return f" ({len(found):,} such)" if len(found) > 1 else ""

"""RDF statements, read in one pass: nodes become numbers, edges three of them, and literals go to disk in pieces.

https://www.w3.org/TR/n-triples/, by Oxigraph's parser, five times as fast as rdflib's.
"""

import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl
from pyoxigraph import BlankNode, Literal, NamedNode, Quad, RdfFormat, Triple, parse

from modelyard.runner.context import InputError
from modelyard.workloads.graph.processing.export import RdfTarget
from modelyard.workloads.graph.processing.features import LARGEST
from modelyard.workloads.graph.processing.table import show

TYPE = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type"
RESOURCE = "http://www.w3.org/2000/01/rdf-schema#Resource"

MAX_LITERAL = 64 << 10
"""Characters of a literal that count."""
MAX_STATEMENT = 16 << 20
"""Bytes; the parser's own limit."""

PIECE = 20_000
SPOOL_ROWS = 500_000
SPOOL_CHARACTERS = 64 << 20

Progress = Callable[[int], None]


class Statements:
    """What was read: nodes, predicates, classes and properties as numbers, and literals in pieces on disk."""

    def __init__(self, folder: Path, targets: Sequence[RdfTarget]) -> None:
        self.nodes: dict[str, int] = {}
        self.predicates: dict[str, int] = {}
        self.classes: dict[str, int] = {}
        self.properties: dict[str, int] = {}
        self.edges = array("I"), array("I"), array("I")
        """Subject, predicate and object of each edge."""
        self.types = array("I"), array("I")
        """Node and class of each `rdf:type`."""
        self.cut = 0
        self._folder = folder
        self._untagged = {target.predicate for target in targets}
        self._numbers = {target.predicate for target in targets if target.task == "regression"}
        self._literals: tuple[list[int], list[int], list[str]] = ([], [], [])
        self._characters = 0
        self._pieces = 0

    def read(self, path: Path, name: str, progress: Progress) -> None:
        """Reads a file of N-Triples. Raises InputError at the first line that is none."""
        quads = parse(path=path, format=RdfFormat.N_TRIPLES, lenient=True)
        start = 0
        try:
            while taken := self._take(islice(quads, PIECE), lambda row, start=start: _line(path, name, start + row)):  # type: ignore[misc]
                start += taken
                progress(taken)
                if len(self._literals[0]) >= SPOOL_ROWS or self._characters >= SPOOL_CHARACTERS:
                    self._spool()
        except SyntaxError as error:
            reason = str(error.msg).partition(": ")[2] or str(error.msg)
            raise InputError(f"{name}, line {error.lineno}: is no statement of N-Triples: {reason[:200]}") from None
        except MemoryError:
            line = _long_line(path)
            raise InputError(f"{name}, line {line}: is longer than {MAX_STATEMENT >> 20} MB") from None
        self._spool()

    def add(self, nodes: Sequence[int] | np.ndarray, property: str, values: Sequence[str]) -> None:
        """Keeps further values of a property."""
        number = self.properties.setdefault(property, len(self.properties))
        self._literals = (list(nodes), [number] * len(nodes), list(values))
        self._spool()

    def literals(self) -> list[Path]:
        """The pieces, with columns `node`, `property` and `value`."""
        return sorted(self._folder.iterdir())

    def _take(self, quads: Iterator[Quad], place: Callable[[int], str]) -> int:
        """Takes what there is; how many. Half the time is Python's, hence no call and no object that is not needed."""
        nodes, predicates, properties = self.nodes, self.predicates, self.properties
        subjects, relations, objects = self.edges
        owners, kinds, values = self._literals
        last, node, row = None, 0, -1
        for row, quad in enumerate(quads):
            if (subject := quad.subject) != last:
                last, node = subject, nodes.setdefault(_name(subject), len(nodes))
            relation, object_ = quad.predicate.value, quad.object
            if type(object_) is Literal:
                value = object_.value
                if (language := object_.language) and relation not in self._untagged:
                    relation = f"{relation}@{language}"
                if relation in self._numbers:
                    value = _number(value, place, row)
                owners.append(node)
                kinds.append(properties.setdefault(relation, len(properties)))
                values.append(self._shortened(value))
            elif relation == TYPE:
                if type(object_) is NamedNode and object_.value != RESOURCE:
                    self.types[0].append(node)
                    self.types[1].append(self.classes.setdefault(object_.value, len(self.classes)))
            elif type(object_) is Triple:
                raise InputError(f"{place(row)}: a statement about a statement (RDF-star) is no edge and no property")
            else:
                subjects.append(node)
                relations.append(predicates.setdefault(relation, len(predicates)))
                objects.append(nodes.setdefault(_name(object_), len(nodes)))
        return row + 1

    def _shortened(self, value: str) -> str:
        if len(value) > MAX_LITERAL:
            value = value[:MAX_LITERAL]
            self.cut += 1
        self._characters += len(value)
        return value

    def _spool(self) -> None:
        """Writes the literals at hand; a NUL, which no CSV can hold, becomes the replacement character."""
        owners, kinds, values = self._literals
        if owners:
            frame = pl.DataFrame(
                {"node": owners, "property": kinds, "value": values},
                schema={"node": pl.UInt32, "property": pl.UInt32, "value": pl.String},
            )
            frame = frame.with_columns(pl.col("value").str.replace_all("\0", "\ufffd", literal=True))
            frame.write_parquet(self._folder / f"{self._pieces:06}.parquet")
            self._pieces += 1
        self._literals = ([], [], [])
        self._characters = 0


def _name(node: NamedNode | BlankNode | Triple) -> str:
    """The IRI, or a blank node's label with `_:` before it."""
    return node.value if type(node) is NamedNode else str(node)


def _number(value: str, place: Callable[[int], str], row: int) -> str:
    """A label of a regression, as plain digits."""
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not abs(number) <= LARGEST:
        raise InputError(f"{place(row)}: {show(value)} is the number to learn, but not finite, or no number")
    return repr(number)


def _line(path: Path, name: str, statement: int) -> str:
    """File and line of a statement, counted from 0: N-Triples have one on a line, beside empty lines and comments."""
    with path.open("rb") as file:
        full = (number for number, line in enumerate(file, 1) if not line.lstrip().startswith((b"#",)) and line.strip())
        return f"{name}, line {next(islice(full, statement, None))}"


def _long_line(path: Path) -> int:
    with path.open("rb") as file:
        return next(number for number, line in enumerate(file, 1) if len(line) >= MAX_STATEMENT)

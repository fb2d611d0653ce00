"""An export of a graph: its files, and what its configuration says of them, checked and made plain.

Source: Neptune User Guide, "The structure of JSON training data configuration files". The files belong to a user:
every path must stay in the export's folder, and no part of it may be a link.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from modelyard.runner.context import InputError


@dataclass(frozen=True)
class FeatureSpec:
    """A feature as the configuration asks for it: the column, its name, its type and its options, all
    checked.
    """

    column: str
    name: str
    type: str
    options: Mapping[str, Any] = field(default_factory=dict)
    place: str = field(default="", compare=False)


@dataclass(frozen=True)
class LabelSpec:
    """What is to be learned: `classification`, `regression` or `link_prediction`, and how the rows are split.

    `split_rate` are the parts of train, valid and test; `split_files` names files that hold them instead.
    """

    column: str
    task: str
    separator: str | None = None
    split_rate: tuple[float, float, float] = (0.9, 0.1, 0.0)
    split_files: Mapping[str, str] = field(default_factory=dict)
    place: str = field(default="", compare=False)


@dataclass(frozen=True)
class NodeFile:
    """One file of nodes of one type."""

    file_name: str
    separator: str
    id_column: str
    node_type: str
    features: tuple[FeatureSpec, ...]
    labels: tuple[LabelSpec, ...]
    place: str


@dataclass(frozen=True)
class EdgeFile:
    """One file of edges. Without a `relation_column` all are of the relation `relation`; else it is the
    prefix.
    """

    file_name: str
    separator: str
    source_column: str
    source: str
    relation_column: str
    relation: str
    dest_column: str
    dest: str
    features: tuple[FeatureSpec, ...]
    labels: tuple[LabelSpec, ...]
    place: str


@dataclass(frozen=True)
class RdfTarget:
    """What is to be learned of statements: a `predicate` of the nodes of a class, or links.

    Links are all edges, unless `subject`, `predicate` and `object` are all given: then those of a predicate between
    nodes of two classes.
    """

    task: str
    split_rate: tuple[float, float, float]
    node: str = ""
    predicate: str = ""
    subject: str = ""
    object: str = ""
    place: str = field(default="", compare=False)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that it names."""
        if self.task != "link_prediction":
            return (self.node,)
        return (self.subject, self.object) if self.subject and self.predicate and self.object else ()

    def asks_links(self, source: str, relation: str, dest: str) -> bool:
        """Whether edges of a type are to be predicted."""
        if self.task != "link_prediction":
            return False
        return not self.classes or (source, relation, dest) == (self.subject, self.predicate, self.object)


@dataclass(frozen=True)
class StatementFile:
    """One file of RDF statements, and what is to be learned of all of them."""

    file_name: str
    targets: tuple[RdfTarget, ...]
    place: str


@dataclass(frozen=True)
class Export:
    """An export: its folder and what its configuration says. An RDF export has `statements` alone."""

    folder: Path
    nodes: tuple[NodeFile, ...]
    edges: tuple[EdgeFile, ...]
    warnings: tuple[str, ...]
    statements: tuple[StatementFile, ...] = ()

    def path(self, name: str, place: str) -> Path:
        """The file `name`; if it does not exist, the one whose name is percent-encoded or decoded.

        The exporter writes some names percent-encoded, and then the percent signs belong to the name.
        Raises InputError if there is no such file, or if it lies outside the folder or behind a link.
        """
        for candidate in dict.fromkeys((name, quote(name), unquote(name))):
            if (path := plain_file(self.folder, candidate, place)) is not None:
                return path
        raise InputError(f"{place}: the export has no file {name!r}")


def plain_file(folder: Path, name: str, place: str) -> Path | None:
    """The plain file `name` under `folder`, or None if it does not exist."""
    parts = name.split("/")
    if not name or "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise InputError(f"{place}: {name!r} is not a path within the export's folder")
    path = folder
    for part in parts:
        path = path / part
        try:
            mode = os.lstat(path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise InputError(f"{place}: {name!r} cannot be read: {error.strerror}") from None
        if stat.S_ISLNK(mode):
            raise InputError(f"{place}: {name!r} is or passes a symbolic link, which is not followed")
    if not stat.S_ISREG(mode):
        raise InputError(f"{place}: {name!r} is not a file")
    return path

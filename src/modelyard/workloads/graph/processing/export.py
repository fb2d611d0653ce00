"""The exporter's description of a graph: `training-data-configuration.json`, checked and made plain.

Source: Neptune User Guide, "The structure of JSON training data configuration files"; neptune-export's
`PropertyGraphTrainingDataConfigWriterV2`. The files belong to a user: every path must stay in the export's
folder, and no part of it may be a link.
"""

import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from modelyard.runner.context import InputError
from modelyard.text_models import LANGUAGES

CONFIGURATION = "training-data-configuration.json"
MAX_BYTES = 64 << 20

OPTIONS: Mapping[str, frozenset[str]] = {
    "category": frozenset({"separator", "imputer"}),
    "numerical": frozenset({"norm", "imputer", "separator"}),
    "bucket_numerical": frozenset({"range", "bucket_cnt", "slide_window_size", "imputer"}),
    "datetime": frozenset({"datetime_parts", "imputer"}),
    "text_tfidf": frozenset({"ngram_range", "min_df", "max_features"}),
    "text_fasttext": frozenset({"language", "max_length"}),
    "text_sbert": frozenset(),
    "text_sbert128": frozenset(),
    "text_sbert512": frozenset(),
    "text_word2vec": frozenset({"language"}),
    "word2vec": frozenset({"language"}),
    "auto": frozenset({"separator", "imputer", "norm"}),
    "none": frozenset(),
}
"""The feature types that are served, with the options of each."""

SPLITS = ("train", "valid", "test")


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
            if (path := _inside(self.folder, candidate, place)) is not None:
                return path
        raise InputError(f"{place}: the export has no file {name!r}")


def read_export(folder: Path, name: str = CONFIGURATION) -> Export:
    """Reads and checks the configuration `name`; every file that it names must exist.

    Raises InputError, which names the place within the JSON.
    """
    document = _load(folder, name)
    reader = _Reader()
    graphs = _graphs(document, reader)
    nodes = [reader.node_file(o, p) for g, at in graphs for o, p in reader.objects(g, "nodes", at)]
    edges = [reader.edge_file(o, p) for g, at in graphs for o, p in reader.objects(g, "edges", at)]
    statements = [reader.statement_file(o, p) for g, at in graphs for o, p in reader.objects(g, "rdfs", at)]
    for holder in (document, *(graph for graph, _ in graphs)):
        reader.warnings += [str(w)[:500] for w in holder.get("warnings") or ()]
    if statements and (nodes or edges):
        raise InputError(f"{name}, graph.rdfs: statements and files of nodes and edges cannot be mixed")
    if not nodes and not statements:
        raise InputError(f"{name}, graph.nodes: is empty, but every type of nodes needs a file that lists them")
    export = Export(folder, tuple(nodes), tuple(edges), tuple(dict.fromkeys(reader.warnings)), tuple(statements))
    _check_types(export)
    for one in statements:
        export.path(one.file_name, f"{one.place}.file_name")
    files: list[NodeFile | EdgeFile] = [*nodes, *edges]
    for file in files:
        export.path(file.file_name, f"{file.place}.file_name")
        for label in file.labels:
            for split, split_file in label.split_files.items():
                export.path(split_file, f"{label.place}.custom_split_filenames.{split}")
    return export


def _load(folder: Path, name: str) -> dict[str, Any]:
    path = _inside(folder, name, "configFileName")
    if path is None:
        raise InputError(f"the export has no configuration {name!r}; configFileName selects another one")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{name} is larger than {MAX_BYTES >> 20} MB")
    try:
        document = json.loads(path.read_bytes().decode("utf-8-sig"))
        json.dumps(document, ensure_ascii=False).encode()  # half a surrogate pair can be no name of a file
    except ValueError as error:
        raise InputError(f"{name} is not JSON: {error}") from None
    except RecursionError:
        raise InputError(f"{name} is nested too deeply") from None
    if not isinstance(document, dict):
        raise InputError(f"{name} must be a JSON object, not {_kind(document)}")
    return document


def _inside(folder: Path, name: str, place: str) -> Path | None:
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


def _graphs(document: dict[str, Any], reader: "_Reader") -> list[tuple[dict[str, Any], str]]:
    """The graph object, or the objects of the array that the User Guide shows."""
    graph = document.get("graph")
    if isinstance(graph, dict):
        graphs = [(graph, "graph")]
    elif isinstance(graph, list) and all(isinstance(part, dict) for part in graph):
        graphs = [(part, f"graph[{index}]") for index, part in enumerate(graph)]
    else:
        raise InputError(f"graph: must be an object with nodes and edges, not {_kind(graph)}")
    for part, place in graphs:
        if document.get("query_engine") == "sparql" and not part.get("rdfs"):
            raise InputError(f"{place}.rdfs: is empty, but an export of RDF needs a file of statements")
        if part.keys() & {"feat_type", "edge_spec_type", "label_type", "file_name"}:
            raise InputError(f"{place}: the v1.0 form is not served; export again with version v2.0")
        reader.warn_unknown(part, {"nodes", "edges", "rdfs", "warnings"}, place)
    return graphs


def _check_types(export: Export) -> None:
    known = {file.node_type for file in export.nodes}
    for file in export.edges:
        for member, node_type in (("source", file.source), ("dest", file.dest)):
            if node_type not in known:
                raise InputError(
                    f"{file.place}.{member}: no file of nodes describes the type {node_type!r}; "
                    f"there are {', '.join(map(repr, sorted(known)))}"
                )


class _Reader:
    """Turns JSON into checked objects; what does no harm is collected in `warnings`."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn_unknown(self, value: Mapping[str, Any], known: set[str] | frozenset[str], place: str) -> None:
        self.warnings += [f"{place}.{key[:80]}: unknown, ignored" for key in value if key not in known]

    def objects(self, holder: Mapping[str, Any], key: str, place: str) -> Iterator[tuple[dict[str, Any], str]]:
        values = holder.get(key)
        if values is None:
            return
        if not isinstance(values, list):
            raise InputError(f"{place}.{key}: must be a list of objects, not {_kind(values)}")
        for index, value in enumerate(values):
            if not isinstance(value, dict):
                raise InputError(f"{place}.{key}[{index}]: must be an object, not {_kind(value)}")
            yield value, f"{place}.{key}[{index}]"

    def node_file(self, value: dict[str, Any], place: str) -> NodeFile:
        self.warn_unknown(value, {"file_name", "separator", "node", "features", "labels"}, place)
        id_column, node_type = _pair(value, "node", place)
        return NodeFile(
            file_name=_text(value.get("file_name"), f"{place}.file_name"),
            separator=_separator(value.get("separator", ","), f"{place}.separator"),
            id_column=id_column,
            node_type=_text(node_type, f"{place}.node[1]"),
            features=self.features(value, place),
            labels=tuple(self.label(o, p, edges=False) for o, p in self.objects(value, "labels", place)),
            place=place,
        )

    def edge_file(self, value: dict[str, Any], place: str) -> EdgeFile:
        self.warn_unknown(value, {"file_name", "separator", "source", "relation", "dest", "features", "labels"}, place)
        source_column, source = _pair(value, "source", place)
        relation_column, relation = _pair(value, "relation", place)
        dest_column, dest = _pair(value, "dest", place)
        if not relation_column and not relation:
            raise InputError(f"{place}.relation: names neither a column nor a relation")
        return EdgeFile(
            file_name=_text(value.get("file_name"), f"{place}.file_name"),
            separator=_separator(value.get("separator", ","), f"{place}.separator"),
            source_column=source_column,
            source=source,
            relation_column=relation_column,
            relation=relation,
            dest_column=dest_column,
            dest=dest,
            features=self.features(value, place),
            labels=tuple(self.label(o, p, edges=True) for o, p in self.objects(value, "labels", place)),
            place=place,
        )

    def statement_file(self, value: dict[str, Any], place: str) -> StatementFile:
        self.warn_unknown(value, {"file_name", "label"}, place)
        label, targets = value.get("label") or {}, []
        if not isinstance(label, dict):
            raise InputError(f"{place}.label: must be an object, not {_kind(label)}")
        self.warn_unknown(label, {"task_type", "targets"}, f"{place}.label")
        if label:
            tasks = ("classification", "regression", "link_prediction")
            task = _one_of(_text(label.get("task_type"), f"{place}.label.task_type"), tasks, f"{place}.label.task_type")
            targets = [self.target(o, task, p) for o, p in self.objects(label, "targets", f"{place}.label")]
        return StatementFile(_text(value.get("file_name"), f"{place}.file_name"), tuple(targets), place)

    def target(self, value: dict[str, Any], task: str, place: str) -> RdfTarget:
        links = task == "link_prediction"
        members = ("subject", "predicate", "object") if links else ("node", "predicate")
        self.warn_unknown(value, {*members, "split_rate"}, place)
        given = {name: _text(value[name], f"{place}.{name}") for name in members if value.get(name) not in (None, "")}
        if not links and "node" not in given:
            raise InputError(f"{place}.node: must name the class whose nodes have what is learned")
        default, rate = (0.9, 0.05, 0.05) if links else (0.9, 0.1, 0.0), value.get("split_rate")
        return RdfTarget(task, default if rate is None else _rate(rate, f"{place}.split_rate"), **given, place=place)

    def features(self, holder: dict[str, Any], place: str) -> tuple[FeatureSpec, ...]:
        specs = tuple(self.feature(o, p) for o, p in self.objects(holder, "features", place))
        names = [spec.name for spec in specs]
        for spec in specs:
            if names.count(spec.name) > 1:
                raise InputError(f"{spec.place}: another feature is also named {spec.name!r}")
        return specs

    def feature(self, value: dict[str, Any], place: str) -> FeatureSpec:
        column, name, kind = _texts(value.get("feature"), 3, f"{place}.feature")
        if kind not in OPTIONS:
            raise InputError(f"{place}.feature: unknown type {kind!r}; there are {', '.join(OPTIONS)}")
        given = {("imputer" if key == "imputation" else key): v for key, v in value.items() if key != "feature"}
        self.warn_unknown(given, OPTIONS[kind], place)
        options = {
            key: _OPTION_READERS[key](option, f"{place}.{key}")
            for key, option in given.items()
            if key in OPTIONS[kind] and option not in (None, "")
        }
        if kind == "bucket_numerical":
            for key in ("range", "bucket_cnt"):
                if key not in options:
                    raise InputError(f"{place}: bucket_numerical needs {key}")
        if kind == "text_fasttext":
            _one_of(_text(options.get("language"), f"{place}.language"), LANGUAGES, f"{place}.language")
        return FeatureSpec(column, name or column, kind, options, place)

    def label(self, value: dict[str, Any], place: str, edges: bool) -> LabelSpec:
        self.warn_unknown(value, {"label", "split_rate", "custom_split_filenames", "separator"}, place)
        column, task = _texts(value.get("label"), 2, f"{place}.label")
        served = ("classification", "regression", *(("link_prediction",) if edges else ()))
        if task not in served:
            raise InputError(f"{place}.label: unknown task {task!r}; there is {', '.join(served)}")
        if task != "link_prediction" and not column:
            raise InputError(f"{place}.label[0]: must name the column of the label")
        rate, files = value.get("split_rate"), value.get("custom_split_filenames")
        if rate is not None and files:
            raise InputError(f"{place}: split_rate and custom_split_filenames exclude each other")
        default = (0.9, 0.05, 0.05) if task == "link_prediction" else (0.9, 0.1, 0.0)
        separator = value.get("separator")
        return LabelSpec(
            column=column,
            task=task,
            separator=_text(separator, f"{place}.separator") if separator not in (None, "") else None,
            split_rate=default if rate is None else _rate(rate, f"{place}.split_rate"),
            split_files=_split_files(files, f"{place}.custom_split_filenames") if files else {},
            place=place,
        )


def _split_files(value: Any, place: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise InputError(f"{place}: must be an object of file names, not {_kind(value)}")
    files = {}
    for key, name in value.items():
        split = "valid" if key == "validation" else key
        if split not in SPLITS or split in files:
            raise InputError(f"{place}.{key}: expected train, valid (or validation) and test, each once")
        if name not in (None, ""):
            files[split] = _text(name, f"{place}.{key}")
    if "train" not in files or "valid" not in files:
        raise InputError(f"{place}: needs a file for train and one for valid")
    return files


def _rate(value: Any, place: str) -> tuple[float, float, float]:
    numbers = _numbers(value, 3, place)
    if min(numbers) < 0 or abs(sum(numbers) - 1) > 1e-3 or numbers[0] == 0:
        raise InputError(f"{place}: {value} must be three parts that sum to 1, for train, validation and test")
    train, valid, test = (number / sum(numbers) for number in numbers)
    return train, valid, test


def _imputer(value: Any, place: str) -> str:
    imputer = _text(value, place).replace("_", "-")
    return _one_of(imputer, ("mean", "median", "most-frequent"), place)


def _norm(value: Any, place: str) -> str:
    return _one_of(_text(value, place), ("none", "min-max", "standard"), place)


def _range(value: Any, place: str) -> tuple[float, float]:
    low, high = _numbers(value, 2, place)
    if not low < high:
        raise InputError(f"{place}: {value} must rise")
    return low, high


def _ngrams(value: Any, place: str) -> tuple[int, int]:
    low, high = _numbers(value, 2, place)
    if not (1 <= low <= high <= 10 and low.is_integer() and high.is_integer()):
        raise InputError(f"{place}: {value} must be two whole numbers that rise, from 1 to 10")
    return int(low), int(high)


def _min_df(value: Any, place: str) -> float | int:
    """A share of the values if it is below 1, else a number of values."""
    number = _number(value, place)
    if number < 0 or (number >= 1 and not number.is_integer()):
        raise InputError(f"{place}: {value} must be a whole number, or a share between 0 and 1")
    return int(number) if number >= 1 else number


def _count(value: Any, place: str) -> int:
    number = _number(value, place)
    if not (number.is_integer() and 1 <= number <= 100_000):
        raise InputError(f"{place}: {value} must be a whole number from 1 to 100000")
    return int(number)


def _window(value: Any, place: str) -> float:
    number = _number(value, place)
    if number < 0:
        raise InputError(f"{place}: {value} must not be negative")
    return number


def _datetime_parts(value: Any, place: str) -> tuple[str, ...]:
    known = ("year", "month", "weekday", "hour")
    if not isinstance(value, list) or not value:
        raise InputError(f"{place}: must be a list of {', '.join(known)}")
    asked = {_one_of(_text(part, place), known, place) for part in value}
    return tuple(part for part in known if part in asked)


def _language(value: Any, place: str) -> str:
    """A name, or a list of one, as the exporter writes it."""
    return _text(value[0] if isinstance(value, list) and len(value) == 1 else value, place)


_OPTION_READERS: Mapping[str, Callable[[Any, str], Any]] = {
    "separator": lambda value, place: _text(value, place),
    "imputer": _imputer,
    "norm": _norm,
    "range": _range,
    "bucket_cnt": _count,
    "slide_window_size": _window,
    "datetime_parts": _datetime_parts,
    "ngram_range": _ngrams,
    "min_df": _min_df,
    "max_features": _count,
    "max_length": _count,
    "language": _language,
}


def _pair(holder: Mapping[str, Any], key: str, place: str) -> tuple[str, str]:
    first, second = _texts(holder.get(key), 2, f"{place}.{key}")
    return first, second


def _texts(value: Any, length: int, place: str) -> list[str]:
    if not isinstance(value, list) or len(value) != length or not all(isinstance(v, str) for v in value):
        raise InputError(f"{place}: must be a list of {length} strings, not {json.dumps(value)[:200]}")
    return value


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str) or not value:
        raise InputError(f"{place}: must be a string that is not empty, not {_kind(value)}")
    return value


def _one_of(value: str, known: Sequence[str], place: str) -> str:
    if value not in known:
        raise InputError(f"{place}: unknown value {value!r}; there are {', '.join(known)}")
    return value


def _separator(value: Any, place: str) -> str:
    if not isinstance(value, str) or len(value) != 1 or not value.isascii() or value in '"\r\n\0':
        raise InputError(f"{place}: must be one ASCII character that separates columns, not {value!r:.80}")
    return value


def _number(value: Any, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= 1e300:
        raise InputError(f"{place}: must be a finite number, not {json.dumps(value)[:80]}")
    return float(value)


def _numbers(value: Any, length: int, place: str) -> list[float]:
    if not isinstance(value, list) or len(value) != length:
        raise InputError(f"{place}: must be a list of {length} numbers, not {json.dumps(value)[:80]}")
    return [_number(number, place) for number in value]


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "nothing"}
    return "the empty string" if value == "" else names.get(type(value), "a number")

"""What an export will be: its configuration, inferred from a survey of the source, and why it is so."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import polars as pl

from modelyard.runner.context import InputError
from modelyard.workloads.graph.bring import cells, wishes
from modelyard.workloads.graph.bring.encoding import Encoding, completed, infer, useless
from modelyard.workloads.graph.bring.profile import MOST_COUNTED, Profile
from modelyard.workloads.graph.bring.survey import Survey
from modelyard.workloads.graph.bring.tables import AnyTable, Column, EdgeTable, NodeTable, Source
from modelyard.workloads.graph.bring.wishes import Asked, Wishes
from modelyard.workloads.graph.processing.export import FeatureSpec
from modelyard.workloads.graph.processing.features import BadCell, parse

PARTS: Mapping[str, str] = {"train": "train", "val": "valid", "valid": "valid", "validation": "valid", "test": "test"}
"""What a column of the split may say, and the part it means."""

_FEW_CLASSES = 20
_LONGEST_NAME = 60


@dataclass(frozen=True)
class Target:
    """What is learned: a column by classification or regression, and the column of the split, if there is one."""

    column: Column
    task: str
    why: str
    options: Mapping[str, Any]
    split_column: str | None


@dataclass(frozen=True)
class Plan:
    """An export before it is written.

    `configuration` is what will be written as `training-data-configuration.json`, and may be changed until then;
    `files` are the files of the tables, `made` those of the nodes that edges alone tell of; `encodings` tell why each
    column is what it is.
    """

    survey: Survey
    configuration: dict[str, Any]
    files: Mapping[str, AnyTable]
    made: Mapping[str, str]
    encodings: Mapping[Column, Encoding]
    target: Target | None
    warnings: tuple[str, ...]

    def described(self, file_name: str) -> dict[str, Any]:
        """What the configuration says of a file, {} if it says nothing any more."""
        graph = self.configuration["graph"]
        return next((one for one in [*graph["nodes"], *graph["edges"]] if one["file_name"] == file_name), {})


def plan(source: Source, asked: Wishes | None = None) -> Plan:
    """Reads the source once, and decides what is left open. Raises InputError."""
    asked = asked or Wishes()
    rates = wishes.rates(asked.split)
    linked = wishes.linked(source, asked)
    wanted = wishes.target(source, asked)
    if linked is None and wanted is None and asked.split is not None:
        linked = list(source.edges)
    features = wishes.features(source, asked.features)
    excluded = wishes.columns(source, asked.exclude)
    survey = Survey(source, excluded, asked.nodes_from_edges, asked.skip_bad_rows).read()
    target = _target(survey, wanted, _split_column(source, asked, wanted)) if wanted else None
    encodings = dict(_encodings(survey, features, target))
    used: Counter[str] = Counter()
    files = dict(_files(source, used))
    made = dict(_made(survey, used))
    label = _label(target, rates) if target else None
    graph = {
        "nodes": [_nodes(name, t, encodings, target, label) for name, t in files.items() if isinstance(t, NodeTable)]
        + [{"file_name": name, "separator": ",", "node": ["~id", kind], "features": []} for name, kind in made.items()],
        "edges": [
            _edges(name, t, encodings, target, label, rates if linked and t in linked else None)
            for name, t in files.items()
            if isinstance(t, EdgeTable)
        ],
    }
    warnings = (*source.warnings, *_warnings(survey, encodings, target, rates))
    configuration = {"version": "v2.0", "query_engine": "gremlin", "graph": graph, "warnings": []}
    return Plan(survey, configuration, files, made, encodings, target, warnings)


def _split_column(source: Source, asked: Wishes, wanted: Asked | None) -> str | None:
    assert wanted is not None
    owner = wanted.column[0]
    if asked.split_column is not None:
        if asked.split is not None:
            raise InputError("give either the parts of the split or the column that holds it")
        ((holder, column),) = wishes.columns(source, [asked.split_column])
        if holder != owner:
            raise InputError(f"{asked.split_column!r}: the split must be in the tables of {owner!r}, beside the target")
        return column
    if asked.split is None and source.learned is not None and source.learned.owner == owner:
        return source.learned.split_column
    return None


def _target(survey: Survey, asked: Asked, split_column: str | None) -> Target:
    owner, name = asked.column
    profile = survey.profiles.get(asked.column)
    if profile is None or not profile.values:
        raise InputError(f"{owner}.{name} is to be learned, but has no values")
    task, why = asked.kind or _task(profile)[0], "asked for" if asked.kind else _task(profile)[1]
    if task == "regression":
        _check(survey, asked.column, FeatureSpec(name, name, "numerical", {"imputer": "median"}))
    options = dict(asked.options)
    if profile.is_list and task == "classification":
        options.setdefault("separator", _separator(profile, asked.column))
    if split_column is not None:
        _check_split(survey, owner, split_column)
    return Target(asked.column, task, why, options, split_column)


def _task(profile: Profile) -> tuple[str, str]:
    distinct = profile.distinct
    if profile.is_list:
        return "classification", "lists of classes"
    if profile.numbers and not (profile.whole and distinct <= _FEW_CLASSES):
        return "regression", "numbers" if not profile.whole else f"{distinct:,} different whole numbers"
    return "classification", f"{distinct:,} different values"


def _check_split(survey: Survey, owner: str, name: str) -> None:
    counts = survey.profiles[owner, name].counts or {}
    if unknown := [value for value in counts if value not in PARTS]:
        raise InputError(f"{owner}.{name} must hold {', '.join(dict.fromkeys(PARTS))}, or nothing; not {unknown[0]!r}")


def _separator(profile: Profile, column: Column) -> str:
    separator = cells.free_separator(profile.holds)
    if separator is None:
        raise InputError(f"{'.'.join(column)}: its values hold every character that could separate them")
    return separator


def _encodings(
    survey: Survey, asked: Mapping[Column, Asked], target: Target | None
) -> Iterator[tuple[Column, Encoding]]:
    """How every column but the target and its split becomes a feature, or why it becomes none."""
    taken = {target.column, (target.column[0], target.split_column)} if target else set()
    for column, profile in survey.profiles.items():
        if column in taken:
            continue
        if column not in asked:
            encoding = infer(profile)
            if column in survey.source.plain and "norm" in encoding.options:
                encoding = Encoding(encoding.type, encoding.why, {**encoding.options, "norm": "none"})
            if column in survey.not_finite:
                _refuse(survey, column)
            yield column, encoding
            continue
        if (reason := useless(profile)) and "same value" not in reason:
            raise InputError(f"{'.'.join(column)} is to be a feature, but {reason}")
        kind = asked[column].kind
        assert kind is not None
        options = completed(kind, asked[column].options, profile)
        if kind in ("numerical", "bucket_numerical", "datetime"):
            _check(survey, column, FeatureSpec(column[1], column[1], kind, options))
        yield column, Encoding(kind, "asked for", options)


def _refuse(survey: Survey, column: Column) -> None:
    rows, row = survey.not_finite[column]
    name = ".".join(column)
    raise rows.fault(
        row,
        column[1],
        f"is not a finite number that 32 bits can hold; --exclude {name} leaves the column out, "
        f"--feature {name}:category takes its values as words",
    )


def _check(survey: Survey, column: Column, spec: FeatureSpec) -> None:
    """Raises InputError at the first cell that data processing would not take."""
    for table in survey.source.tables:
        if table.owner != column[0] or column[1] not in survey.columns(table):
            continue
        for piece in survey.pieces(table):
            text = cells.text(piece.frame[column[1]], spec.options.get("separator") or cells.SEPARATORS[0])
            try:
                parse(spec, text.fill_null(""))
            except BadCell as error:
                raise table.rows.fault(int(piece.rows[error.row]), column[1], error.reason) from None


def _files(source: Source, used: Counter[str]) -> Iterator[tuple[str, AnyTable]]:
    """A file for each table; the exporter's names."""
    for table in source.tables:
        if isinstance(table, NodeTable):
            yield _unused(f"nodes/{_quoted(table.type)}", used), table
            continue
        relation = _quoted(table.relation or table.relation_column or "")
        yield _unused(f"edges/({_quoted(table.source)})-{relation}-({_quoted(table.target)})", used), table


def _made(survey: Survey, used: Counter[str]) -> Iterator[tuple[str, str]]:
    """A file for the nodes of each type that edges alone tell of."""
    types = dict.fromkeys(end for table in survey.source.edges for end in (table.source, table.target))
    known = {table.type for table in survey.source.nodes}
    for node_type in types if survey.nodes_from_edges else ():
        if len(survey.added[node_type]) or node_type not in known:
            yield _unused(f"nodes/{_quoted(node_type)}-of-edges", used), node_type


def _unused(name: str, used: Counter[str]) -> str:
    """A file's name; a number tells apart what would have the same."""
    used[name] += 1
    return _unused(f"{name}-{used[name]}", used) if used[name] > 1 else f"{name}.csv"


def _quoted(name: str) -> str:
    return quote(name, safe=" ,+@=")[:_LONGEST_NAME]


def _label(target: Target, rates: tuple[float, float, float]) -> dict[str, Any]:
    label: dict[str, Any] = {"label": [target.column[1], target.task], **target.options}
    if target.split_column is None:
        return {**label, "split_rate": list(rates)}
    return {**label, "custom_split_filenames": {part: f"splits/{part}.csv" for part in ("train", "valid", "test")}}


def _nodes(
    name: str, table: NodeTable, encodings: Mapping[Column, Encoding], target: Target | None, label: Any
) -> dict[str, Any]:
    return {
        "file_name": name,
        "separator": ",",
        "node": ["~id", table.type],
        "features": _features(table, encodings),
        **_labels(table, target, label),
    }


def _edges(
    name: str,
    table: EdgeTable,
    encodings: Mapping[Column, Encoding],
    target: Target | None,
    label: Any,
    rates: tuple[float, float, float] | None,
) -> dict[str, Any]:
    links = {"labels": [{"label": ["", wishes.LINK_PREDICTION], "split_rate": list(rates)}]} if rates else {}
    return {
        "file_name": name,
        "separator": ",",
        "source": ["~from", table.source],
        "relation": ["~label", ""] if table.relation_column else ["", table.relation],
        "dest": ["~to", table.target],
        "features": _features(table, encodings),
        **_labels(table, target, label),
        **links,
    }


def _features(table: AnyTable, encodings: Mapping[Column, Encoding]) -> list[dict[str, Any]]:
    return [
        {"feature": [name, name, encoding.type], **encoding.options}
        for name in table.rows.schema
        if (encoding := encodings.get((table.owner, name))) is not None and encoding.type
    ]


def _labels(table: AnyTable, target: Target | None, label: Any) -> dict[str, Any]:
    here = target is not None and target.column[0] == table.owner and target.column[1] in table.rows.schema
    return {"labels": [label]} if here else {}


def _warnings(
    survey: Survey, encodings: Mapping[Column, Encoding], target: Target | None, rates: tuple[float, float, float]
) -> Iterator[str]:
    for reason, count in survey.skipped.items():
        if count:
            yield f"{reason}: {count:,} are left out"
    for column, encoding in encodings.items():
        if encoding.warning:
            yield f"{'.'.join(column)}: {encoding.warning}"
    for key, count in survey.edges.items():
        if not count:
            yield f"edges {'-'.join(key)!r}: there are none"
    if target is None and sum(survey.edges.values()) < 2:
        yield "no column is to be learned, and there are no edges to predict: a job will refuse this export"
    if target is not None and target.task == "classification":
        yield from _rare(survey.profiles[target.column], ".".join(target.column), rates)


def _rare(profile: Profile, name: str, rates: tuple[float, float, float]) -> Iterator[str]:
    if profile.counts is None:
        yield f"{name}: more than {MOST_COUNTED:,} different labels; are they classes?"
        return
    if isinstance(profile.dtype, pl.String) and not profile.is_list and profile.is_unique and profile.values > 1:
        yield f"{name}: every row has another label; nothing can be learned from that"
    needed = 1 + sum(rate > 0 for rate in rates[1:])
    rare = sorted(label for label, count in profile.counts.items() if count < needed)
    if rare:
        yield (
            f"{name}: {len(rare):,} of {len(profile.counts):,} classes have fewer than {needed} rows, "
            f"{rare[0]!r} for instance: they cannot be in every part of the split"
        )

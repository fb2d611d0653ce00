"""Writes a plan's files as the exporter does: CSV by type, and the configuration."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl

from modelyard.runner.context import InputError
from modelyard.workloads.graph.bring import cells
from modelyard.workloads.graph.bring.ids import Hashes, Once, hashed
from modelyard.workloads.graph.bring.plan import PARTS, Plan
from modelyard.workloads.graph.bring.survey import Piece
from modelyard.workloads.graph.bring.tables import AnyTable, EdgeTable, NodeTable
from modelyard.workloads.graph.processing.configuration import CONFIGURATION, read_export


def write(plan: Plan, folder: Path) -> None:
    """Fills a folder. Raises InputError for values that no CSV can hold, and for a configuration that was changed
    into one that data processing would not take.
    """
    for name in ("nodes", "edges"):
        (folder / name).mkdir()
    repeats = {kind: _Repeats(ids) for kind, ids in plan.survey.ids.items()}
    for file_name, table in plan.files.items():
        _write_table(plan, folder, file_name, table, repeats)
    for file_name, node_type in plan.made.items():
        _write_made(plan, folder / file_name, node_type)
    text = json.dumps(plan.configuration, indent=2, ensure_ascii=False)
    (folder / CONFIGURATION).write_text(text + "\n", encoding="utf-8")
    read_export(folder)


class _Repeats:
    """Lets of several rows with one id the first pass."""

    def __init__(self, ids: Hashes) -> None:
        repeated = Hashes()
        repeated.add(ids.repeated)
        self._repeated = repeated
        self._once = Once(repeated)

    def first(self, piece: Piece, column: str) -> Piece:
        if not len(self._repeated):
            return piece
        hashes = hashed(piece.keys[column])
        return piece.filter((self._repeated.places(hashes) < 0) | self._once.first(hashes))


def _write_table(plan: Plan, folder: Path, file_name: str, table: AnyTable, repeats: Mapping[str, _Repeats]) -> None:
    """One table, and the parts of its split."""
    separators = _separators(plan, plan.described(file_name))
    columns = plan.survey.columns(table)
    written = 0
    with (folder / file_name).open("wb") as file, _Splits(plan, folder, table) as splits:
        header = pl.DataFrame(schema=dict.fromkeys([*_ids(table), *columns], pl.String))
        header.write_csv(file)
        for piece in plan.survey.pieces(table):
            if isinstance(table, NodeTable):
                piece = repeats[table.type].first(piece, table.id)
            elif plan.survey.skip_bad_rows:
                piece = _with_ends(plan, piece, table)
            texts = {name: _text(plan, table, piece, name, separators) for name in columns}
            frame = pl.DataFrame({**_key_cells(table, piece, written), **texts})
            frame.write_csv(file, include_header=False)
            splits.write(piece, texts)
            written += len(piece)


def _with_ends(plan: Plan, piece: Piece, table: EdgeTable) -> Piece:
    for column, node_type in ((table.start, table.source), (table.end, table.target)):
        if not plan.survey.nodes_from_edges:
            piece = piece.filter(plan.survey.ids[node_type].places(hashed(piece.keys[column])) >= 0)
    return piece


def _ids(table: AnyTable) -> list[str]:
    return ["~id", "~label"] if isinstance(table, NodeTable) else ["~id", "~label", "~from", "~to"]


def _key_cells(table: AnyTable, piece: Piece, start: int) -> dict[str, pl.Series]:
    """The columns that are the exporter's own. Edges get numbers for ids."""
    if isinstance(table, NodeTable):
        return {"~id": piece.keys[table.id], "~label": _repeat(table.type, len(piece))}
    numbers = pl.arange(start, start + len(piece), dtype=pl.Int64, eager=True).cast(pl.String)
    column = table.relation_column
    relations = piece.keys[column] if column else _repeat(table.relation, len(piece))
    return {"~id": "e" + numbers, "~label": relations, "~from": piece.keys[table.start], "~to": piece.keys[table.end]}


def _repeat(text: str, length: int) -> pl.Series:
    return pl.repeat(text, length, dtype=pl.String, eager=True)


def _separators(plan: Plan, described: Mapping[str, Any]) -> dict[str, str]:
    """What separates the values of lists in each column, as the configuration says."""
    features = {one["feature"][0]: one.get("separator") for one in described.get("features") or ()}
    labels = {one["label"][0]: one.get("separator") for one in described.get("labels") or ()}
    return {name: separator for name, separator in {**features, **labels}.items() if separator}


def _text(plan: Plan, table: AnyTable, piece: Piece, name: str, separators: Mapping[str, str]) -> pl.Series:
    """The cells of a column."""
    profile = plan.survey.profiles[table.owner, name]
    separator = separators.get(name) or cells.free_separator(profile.holds)
    place = f"{table.owner}.{name}"
    if profile.is_list and separator is None:
        raise InputError(f"{place}: its lists hold every character that could separate their values; exclude {place}")
    values = piece.frame[name]
    if profile.is_list and separator and len(values):
        held = cells.elements(values).str.contains(separator, literal=True).any()
        if held:
            raise InputError(f"{place}: a value of a list holds {separator!r}, which is to separate them")
    text = cells.text(values, separator or cells.SEPARATORS[0])
    if (nul := text.str.contains("\0", literal=True).fill_null(False).arg_true()).len():
        raise table.rows.fault(int(piece.rows[int(nul[0])]), name, "holds a NUL byte, which no CSV reader takes")
    return text


class _Splits:
    """The files of a split that a column gives; none if the split is random, or another table's."""

    def __init__(self, plan: Plan, folder: Path, table: AnyTable) -> None:
        target = plan.target
        here = target is not None and target.column[0] == table.owner
        self._column = target.split_column if target is not None and here else None
        self._label = target.column[1] if target is not None else ""
        self._table = table
        self._folder = folder / "splits"
        self._files: dict[str, BinaryIO] = {}
        self._stack = ExitStack()

    def __enter__(self) -> "_Splits":
        if self._column is None:
            return self
        first = not self._folder.exists()
        self._folder.mkdir(exist_ok=True)
        for part in dict.fromkeys(PARTS.values()):
            file = self._stack.enter_context((self._folder / f"{part}.csv").open("ab"))
            self._files[part] = file
            if first:
                pl.DataFrame(schema=dict.fromkeys(self._keys(), pl.String)).write_csv(file)
        return self

    def __exit__(self, *raised: object) -> None:
        self._stack.close()

    def _keys(self) -> list[str]:
        return ["~id"] if isinstance(self._table, NodeTable) else ["~from", "~to"]

    def write(self, piece: Piece, texts: Mapping[str, pl.Series]) -> None:
        """The ids of labelled rows, in the file of their part."""
        if self._column is None:
            return
        keys = {name: piece.keys[key] for name, key in zip(self._keys(), self._table.keys, strict=False)}
        frame = pl.DataFrame({**keys, "part": texts[self._column].replace_strict(dict(PARTS), default=None)})
        frame = frame.filter(texts[self._label].is_not_null())
        for part, file in self._files.items():
            frame.filter(pl.col("part") == part).drop("part").write_csv(file, include_header=False)


def _write_made(plan: Plan, path: Path, node_type: str) -> None:
    """The nodes of a type that are only known as ends of edges."""
    once = Once(plan.survey.added[node_type])
    with path.open("wb") as file:
        pl.DataFrame(schema={"~id": pl.String, "~label": pl.String}).write_csv(file)
        for table in plan.survey.source.edges:
            ends = [table.start] * (table.source == node_type) + [table.end] * (table.target == node_type)
            for piece in plan.survey.pieces(table) if ends else ():
                for column in ends:
                    ids = piece.keys[column].filter(pl.Series(once.first(hashed(piece.keys[column])), dtype=pl.Boolean))
                    nodes = pl.DataFrame({"~id": ids, "~label": _repeat(node_type, len(ids))})
                    nodes.write_csv(file, include_header=False)

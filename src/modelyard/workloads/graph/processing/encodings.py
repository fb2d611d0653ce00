"""The encoders of a whole graph: fitted the first time, replayed by an incremental job, and kept in
`encoders.json`.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from modelyard.runner.context import InputError
from modelyard.text_models import FEATURES
from modelyard.workloads.graph.data import Feature
from modelyard.workloads.graph.processing.encoders import (
    Encoder,
    Matrix,
    as_sparse,
    compact,
    dense,
    from_document,
    to_document,
)
from modelyard.workloads.graph.processing.export import FeatureSpec
from modelyard.workloads.graph.processing.features import (
    BadCell,
    Column,
    NoValues,
    RawColumn,
    fit,
    infer,
    parse,
)
from modelyard.workloads.graph.processing.text import TextModels, TextVectors

FILE = "encoders.json"

Owner = str | tuple[str, str, str]
"""What has features: a node type's name, or an edge type `(source, relation, dest)`."""


class Encodings:
    """Every feature's encoder by owner and name; `previous` is the folder of an earlier job whose encoders
    are replayed.
    """

    def __init__(self, previous: Path | None = None, text_models: TextModels | None = None) -> None:
        self._text_models = text_models or TextModels()
        self.warnings: list[str] = []
        self._entries: dict[tuple[Owner, str], dict[str, Any]] = {}
        self._previous = _read(previous / FILE) if previous else None

    def column(self, owner: Owner, spec: FeatureSpec) -> RawColumn:
        """An empty column for a feature's values. What `auto` meant in the earlier job, it means again."""
        if self._previous is not None:
            earlier = self._earlier(owner, spec)
            spec = replace(spec, type=earlier["type"], options=_options(earlier["options"]))
        return RawColumn(spec)

    def encode(self, owner: Owner, asked: FeatureSpec, raw: RawColumn) -> tuple[Feature, Matrix] | None:
        """The feature's matrix, or None, with a warning, where nothing can be encoded."""
        column, spec = raw.values(), raw.spec
        try:
            if spec.type == "auto":
                assert isinstance(column, pl.Series)
                spec = infer(spec, column)
                spec = self._text_models.chosen(spec, column) if spec.type == "text_tfidf" else spec
                column = _parse(spec, column)
                self.warnings += _says(owner, spec)
            encoder = self._fit(spec, column) if self._previous is None else self._replayed(owner, asked)
        except NoValues as reason:
            self._entries[owner, spec.name] = {**_entry(asked, spec), "encoder": None}
            self.warnings.append(f"{_name(owner)}: the feature {spec.name!r} {reason}; it is left out")
            return None
        matrix = self._stored(owner, spec.name, encoder.encode(column))
        is_sparse = not isinstance(matrix, np.ndarray)
        self._entries[owner, spec.name] = {**_entry(asked, spec), "encoder": to_document(encoder), "sparse": is_sparse}
        return Feature(spec.name, spec.type, encoder.dim, sparse=is_sparse), matrix

    def _stored(self, owner: Owner, name: str, matrix: Matrix) -> Matrix:
        """Sparse or dense as the earlier job had it, since a model scales one otherwise than the other."""
        before = (self._previous or {}).get((owner, name), {}).get("sparse")
        if before is None:
            return compact(matrix)
        return as_sparse(matrix) if before else dense(matrix)

    def write(self, folder: Path) -> None:
        """Writes `encoders.json`. Raises InputError if the earlier job had other features of a node type.

        An edge type that has no edges any more keeps the encoders of the earlier job.
        """
        for owner, name in self._previous or {}:
            asked, had = self._names(self._entries, owner), self._names(self._previous or {}, owner)
            if asked != had and isinstance(owner, str):
                raise InputError(
                    f"the previous job has the features {had} of {_name(owner)}, in this order, and this one describes "
                    f"{asked or 'none'}; process without previousDataProcessingJobId"
                )
            self._entries.setdefault((owner, name), (self._previous or {})[owner, name])
        entries = [
            {**entry, "owner": owner if isinstance(owner, str) else list(owner)}
            for (owner, _), entry in self._entries.items()
        ]
        (folder / FILE).write_text(json.dumps({"version": 1, "features": entries}))

    @staticmethod
    def _names(entries: Mapping[tuple[Owner, str], Any], owner: Owner) -> str:
        return ", ".join(repr(name) for other, name in entries if other == owner)

    def _earlier(self, owner: Owner, spec: FeatureSpec) -> dict[str, Any]:
        assert self._previous is not None
        earlier = self._previous.get((owner, spec.name))
        if earlier is None:
            raise InputError(f"{spec.place}: the previous job has no feature {spec.name!r} of {_name(owner)}")
        asked = json.loads(json.dumps(_asked(spec)))
        if earlier["asked"] != asked:
            raise InputError(
                f"{spec.place}: the previous job encoded {spec.name!r} of {_name(owner)} by {earlier['asked']}, "
                f"and this one asks for {asked}; process without previousDataProcessingJobId"
            )
        return earlier

    def _fit(self, spec: FeatureSpec, column: Column) -> Encoder:
        return self._text_models.fit(spec) if spec.type in FEATURES else fit(spec, column)

    def _replayed(self, owner: Owner, spec: FeatureSpec) -> Any:
        encoder = self._earlier(owner, spec)["encoder"]
        if encoder is None:
            raise NoValues("had no values in the previous job")
        known = from_document(encoder)
        return self._text_models.again(known, spec.place) if isinstance(known, TextVectors) else known


def encoded_names(folder: Path, owner: Owner) -> list[str]:
    """The features that a job asked for, in their order, those that were left out included."""
    return [name for other, name in _read(folder / FILE) if other == owner]


def _parse(spec: FeatureSpec, column: pl.Series) -> Column:
    try:
        return parse(spec, column)
    except BadCell as error:
        raise AssertionError(f"auto chose {spec.type} for {spec.name!r}, but {error}") from error


def _says(owner: Owner, spec: FeatureSpec) -> list[str]:
    if spec.type == "text_tfidf":
        return [f"{_name(owner)}: auto encodes the text {spec.name!r} by text_tfidf: no model of text is registered"]
    return []


def _entry(asked: FeatureSpec, spec: FeatureSpec) -> dict[str, Any]:
    return {"name": spec.name, "type": spec.type, "options": dict(spec.options), "asked": _asked(asked)}


def _asked(spec: FeatureSpec) -> dict[str, Any]:
    return {"column": spec.column, "type": spec.type, **spec.options}


def _options(options: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}


def _name(owner: Owner) -> str:
    return f"nodes {owner!r}" if isinstance(owner, str) else f"edges {'-'.join(owner)!r}"


def _read(path: Path) -> dict[tuple[Owner, str], dict[str, Any]]:
    entries = json.loads(path.read_text())["features"]
    return {(e["owner"] if isinstance(e["owner"], str) else tuple(e["owner"]), e["name"]): e for e in entries}

"""Raw values of a request, encoded as data processing encoded the graph: its encoders, replayed."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy import sparse

from modelyard.runner.context import InputError
from modelyard.text_models import TextFolder
from modelyard.workloads.graph.data import Feature
from modelyard.workloads.graph.inference.additions import BadRequest
from modelyard.workloads.graph.processing.encoders import Encoder, Matrix, from_document
from modelyard.workloads.graph.processing.encodings import FILE, Owner
from modelyard.workloads.graph.processing.export import FeatureSpec
from modelyard.workloads.graph.processing.features import BadCell, parse
from modelyard.workloads.graph.processing.text import TextModels, TextVectors


class RawValues:
    """The encoders that lie in a processed graph's folder; none if the graph was not made by data processing.

    text_models: the folders of models of text; what is loaded of them is kept.
    """

    def __init__(self, folder: Path, text_models: Sequence[TextFolder] = ()) -> None:
        self._texts = TextModels(text_models)
        self._encoders = _stored(folder / FILE)

    def check(self, owner: Owner, given: Mapping[str, Any], place: str) -> None:
        """BadRequest if a request gives a property that the owner has no feature of."""
        known = {name: None for other, name in self._encoders if other == owner}
        known |= {spec.column: None for (other, _), (spec, _) in self._encoders.items() if other == owner}
        for name in given:
            if name not in known:
                listed = ", ".join(map(repr, known)) or "none"
                raise BadRequest(f"{place} has no feature {name[:200]!r}; there are: {listed}")

    def names(self, owner: Owner, feature: str) -> set[str]:
        """The names by which a request may give a feature: its own, and its column's."""
        spec, _ = self._encoders.get((owner, feature), (None, None))
        return {feature, spec.column} if spec else {feature}

    def encode(
        self, owner: Owner, feature: Feature, given: Sequence[Mapping[str, Any]], whose: Callable[[int], str]
    ) -> Matrix:
        """float32 `[len(given), dim]`, sparse if the feature is; what is not given is missing, as an empty cell is.

        `whose(n)` names the n-th owner for BadRequest.
        """
        if (owner, feature.name) not in self._encoders:
            raise BadRequest(f"{whose(0)}: this graph has no encoder of the feature {feature.name!r}")
        spec, encoder = self._encoders[owner, feature.name]
        cells = [
            _cell(
                one.get(spec.name, one.get(spec.column)),
                spec.options.get("separator", spec.options.get("set")),
                partial(whose, n),
            )
            for n, one in enumerate(given)
        ]
        try:
            if isinstance(encoder, TextVectors) and any(cells):
                encoder = self._texts.again(encoder, f"the feature {spec.name!r}")
            matrix = encoder.encode(parse(spec, pl.Series(cells, dtype=pl.String), encoder.dim))
        except InputError as error:
            raise BadRequest(str(error)) from None
        except BadCell as error:
            raise BadRequest(f"{whose(error.row)}: the feature {spec.name!r} {error.reason}") from None
        if matrix.shape[1] != feature.dim:
            raise BadRequest(f"{whose(0)}: the feature {spec.name!r} has {matrix.shape[1]} values, not {feature.dim}")
        if feature.sparse:
            return sparse.csr_array(matrix)
        return matrix if isinstance(matrix, np.ndarray) else matrix.toarray()


def _stored(path: Path) -> dict[tuple[Owner, str], tuple[FeatureSpec, Encoder]]:
    """What an `encoders.json` holds, by owner and name."""
    entries = json.loads(path.read_text())["features"] if path.exists() else []
    found = {}
    for entry in entries:
        if entry["encoder"] is not None:
            owner = entry["owner"] if isinstance(entry["owner"], str) else tuple(entry["owner"])
            options = {k: tuple(v) if isinstance(v, list) else v for k, v in entry["options"].items()}
            spec = FeatureSpec(entry["asked"]["column"], entry["name"], entry["type"], options)
            found[owner, entry["name"]] = spec, from_document(entry["encoder"])
    return found


def _cell(value: Any, separator: str | None, whose: Callable[[], str]) -> str:
    """A JSON value as the text that the exporter writes."""
    if isinstance(value, list) and separator is not None:
        return separator.join(_cell(one, None, whose) for one in value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        raise BadRequest(f"{whose()}: {str(value)[:200]} is no value of a feature")
    return str(value)

"""Small graphs of AWS's API, for each kind of task, read from botocore's service models.

Ten services are taken, for links five, for labels of operations twenty, of at most 400 shapes each, in the order of the
hashes of their names. Their shapes hold shapes (a member, an element, a value); operations take, give and raise shapes.
The labels are facts that the models state and that no feature repeats: whether a shape is part of requests, of
responses or of both, whether an operation is paginated, whether a member is required and where in the request it
stands, and how much documentation (the logarithm of its characters, standardised) there is.
"""

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from made_graphs import Table, label, write_export

sys.path.append(str(Path(__file__).parents[1] / "examples"))
from aws_api_graph import TRAITS, service_models

FEW_SERVICES, SERVICES, MANY_SERVICES, MOST_SHAPES = 5, 10, 20, 400
_KIND = {"feature": ["kind", "kind", "category"]}
_TRAITS = {"feature": ["traits", "traits", "category"], "separator": ";"}
_MEMBERS = {"feature": ["members", "members", "bucket_numerical"], "range": [0, 20], "bucket_cnt": 10}
_METHOD = {"feature": ["method", "method", "category"]}
_SHAPE = (_KIND, _TRAITS, _MEMBERS)
_HOLDS = ("shape", "holds", "shape")


@dataclass
class Rows:
    """What a table is made of, row by row; an absent value is an empty cell."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    def table(
        self, *names: str, features: Sequence[dict[str, Any]] = (), labels: Sequence[dict[str, Any]] = ()
    ) -> Table:
        """Some columns of it."""
        return Table({name: [row[name] for row in self.rows] for name in names}, features, labels)


@dataclass
class Api:
    """Shapes, what they hold, and operations with their edges to shapes."""

    shapes: Rows = field(default_factory=Rows)
    holds: Rows = field(default_factory=Rows)
    operations: Rows = field(default_factory=Rows)
    roles: dict[str, Rows] = field(default_factory=lambda: {name: Rows() for name in ("takes", "gives", "raises")})


def write_sides(folder: Path) -> Path:
    """Whether a shape is part of requests, of responses or of both, among shapes alone."""
    return _of_shapes(folder, "side", "classification")


def write_documented(folder: Path) -> Path:
    """How much documentation a structure has, among shapes alone."""
    return _of_shapes(folder, "text", "regression")


def write_required(folder: Path) -> Path:
    """Whether a member is required, among shapes alone."""
    return _of_holds(folder, "required", "classification")


def write_located(folder: Path) -> Path:
    """Where in the request a member stands, among shapes alone."""
    return _of_holds(folder, "location", "classification")


def write_explained(folder: Path) -> Path:
    """How much documentation a member has, among shapes alone."""
    return _of_holds(folder, "text", "regression")


def write_held(folder: Path) -> Path:
    """Which shapes hold which, among shapes alone."""
    return _of_holds(folder, "", "link_prediction")


def write_linked(folder: Path) -> Path:
    """Which shapes hold which, of shapes without any features."""
    api = _api(FEW_SERVICES)
    holds = api.holds.table("~from", "~to", labels=label("", "link_prediction"))
    return write_export(folder, {"shape": api.shapes.table("~id")}, {_HOLDS: holds})


def write_paginated(folder: Path) -> Path:
    """Whether an operation is paginated, with all shapes."""
    return _of_all(folder, "operations", "paginated", "classification")


def write_parts(folder: Path) -> Path:
    """The same as `write_sides`, with operations, whose edges tell it of the shapes next to them."""
    return _of_all(folder, "shapes", "side", "classification")


def write_described(folder: Path) -> Path:
    """How much documentation an operation has, with all shapes."""
    return _of_all(folder, "operations", "text", "regression")


def write_detailed(folder: Path) -> Path:
    """How much documentation a structure has, with operations and all shapes."""
    return _of_all(folder, "shapes", "text", "regression")


def write_placed(folder: Path) -> Path:
    """Where in the request a member stands, with operations and all shapes."""
    return _of_all(folder, "holds", "location", "classification")


def write_needed(folder: Path) -> Path:
    """Whether a member is required, with operations and all shapes."""
    return _of_all(folder, "holds", "required", "classification")


def write_told(folder: Path) -> Path:
    """How much documentation a member has, with operations and all shapes."""
    return _of_all(folder, "holds", "text", "regression")


def write_raised(folder: Path) -> Path:
    """Which operations raise which errors, with all shapes."""
    return _of_all(folder, "raises", "", "link_prediction")


def _of_shapes(folder: Path, name: str, kind: str) -> Path:
    api = _api(SERVICES)
    shapes = api.shapes.table("~id", *_names(_SHAPE), name, features=_SHAPE, labels=label(name, kind))
    return write_export(folder, {"shape": shapes}, {_HOLDS: api.holds.table("~from", "~to")})


def _of_holds(folder: Path, name: str, kind: str) -> Path:
    api = _api(SERVICES if name else FEW_SERVICES)
    shapes = api.shapes.table("~id", *_names(_SHAPE), features=_SHAPE)
    holds = api.holds.table("~from", "~to", *([name] if name else []), labels=label(name, kind))
    return write_export(folder, {"shape": shapes}, {_HOLDS: holds})


def _of_all(folder: Path, target: str, name: str, kind: str) -> Path:
    """The whole graph; target: the table that has the label. name: the label's column, empty for links themselves."""
    api = _api((MANY_SERVICES if target == "operations" else SERVICES) if name else FEW_SERVICES)
    features = {"operations": [_METHOD], "shapes": _SHAPE}
    tables = {"operations": api.operations, "shapes": api.shapes, "holds": api.holds, **api.roles}
    ready = {}
    for own, rows in tables.items():
        columns = ["~id", *_names(features[own])] if own in features else ["~from", "~to"]
        columns += [name] if own == target and name else []
        labels = label(name, kind) if own == target else []
        ready[own] = rows.table(*columns, features=features.get(own, ()), labels=labels)
    nodes = {"operation": ready["operations"], "shape": ready["shapes"]}
    edges = {("operation", role, "shape"): ready[role] for role in api.roles}
    return write_export(folder, nodes, {_HOLDS: ready["holds"], **edges})


def _names(features: Sequence[dict[str, Any]]) -> list[str]:
    return [feature["feature"][0] for feature in features]


@cache
def _api(services: int) -> Api:
    api = Api()
    chosen = [one for one in service_models() if len(one[1]["shapes"]) <= MOST_SHAPES]
    for service, model, paginators in sorted(chosen, key=lambda one: sha256(one[0].encode()).digest())[:services]:
        _add(api, service, model, paginators)
    for rows in (api.shapes, api.holds, api.operations):
        _standardised(rows.rows)
    return api


def _add(api: Api, service: str, model: dict[str, Any], paginators: dict[str, Any]) -> None:
    sides = _sides(model)
    for name, shape in model["shapes"].items():
        id, kind = f"{service}#{name}", shape["type"]
        api.shapes.rows.append(
            {
                "~id": id,
                "kind": kind,
                "side": sides.get(name, ""),
                "traits": ";".join(trait for trait in TRAITS if trait in shape),
                "members": len(shape.get("members", ())),
                "text": _text(shape) if kind == "structure" else "",
            }
        )
        for held, facts in _held_by(shape):
            api.holds.rows.append({"~from": id, "~to": f"{service}#{held}", **facts})
    for name, operation in model["operations"].items():
        paginated = str(name in paginators) if paginators else ""
        facts = {"method": operation["http"]["method"], "paginated": paginated, "text": _text(operation)}
        api.operations.rows.append({"~id": f"{service}:{name}", **facts})
        for role, part in (("takes", "input"), ("gives", "output"), ("raises", "errors")):
            found = operation.get(part, [])
            for one in found if isinstance(found, list) else [found]:
                api.roles[role].rows.append({"~from": f"{service}:{name}", "~to": f"{service}#{one['shape']}"})


def _held_by(shape: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The shapes that one holds, and what is said of each."""
    required = shape.get("required", ())
    for name, member in shape.get("members", {}).items():
        place = member.get("location", "body")
        yield member["shape"], {"required": str(name in required), "location": place, "text": _text(member)}
    for part in ("member", "key", "value"):
        if part in shape:
            yield shape[part]["shape"], {"required": "", "location": "", "text": ""}


def _sides(model: dict[str, Any]) -> dict[str, str]:
    """For each shape that operations reach whether that is from inputs, from outputs or from both."""
    found: dict[str, set[str]] = {}
    for side in ("input", "output"):
        waiting = [one[side]["shape"] for one in model["operations"].values() if side in one]
        while waiting:
            name = waiting.pop()
            if side not in found.setdefault(name, set()):
                found[name].add(side)
                waiting += [held for held, _ in _held_by(model["shapes"][name])]
    return {name: "both" if len(sides) == 2 else min(sides) for name, sides in found.items()}


def _text(described: dict[str, Any]) -> float | str:
    """The logarithm of the length of the documentation; nothing where there is none."""
    length = len(described.get("documentation", ""))
    return math.log(length) if length else ""


def _standardised(rows: list[dict[str, Any]]) -> None:
    texts = [row["text"] for row in rows if row["text"] != ""]
    mean, deviation = fmean(texts), pstdev(texts)
    for row in rows:
        if row["text"] != "":
            row["text"] = f"{(row['text'] - mean) / deviation:.4f}"

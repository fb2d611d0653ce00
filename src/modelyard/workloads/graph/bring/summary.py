"""A plan for people, and for programs: what will be written, how each column is encoded, and why."""

import io
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from modelyard.workloads.graph.bring.plan import Plan
from modelyard.workloads.graph.bring.tables import EdgeTable

_WIDTH = 160


def document(plan: Plan) -> dict[str, Any]:
    """The plan as JSON."""
    survey = plan.survey
    return {
        "nodes": [{"type": name, "count": count} for name, count in survey.nodes.items()],
        "edges": [{"type": list(key), "count": count} for key, count in survey.edges.items()],
        "files": [*plan.files, *plan.made],
        "columns": [_column(plan, owner, name) for owner, name in plan.encodings],
        "target": _target(plan),
        "split": _split(plan),
        "warnings": list(plan.warnings),
        "configuration": plan.configuration,
    }


def shown(plan: Plan) -> RenderableType:
    """The plan as tables."""
    told = document(plan)
    sizes = _table("NODES AND EDGES", "COUNT")
    for node in told["nodes"]:
        sizes.add_row(escape(node["type"]), f"{node['count']:,}")
    for edge in told["edges"]:
        source, relation, target = edge["type"]
        sizes.add_row(escape(f"{source}-{relation}->{target}"), f"{edge['count']:,}")
    columns = _table("COLUMN", "ENCODING", "WHY", "EMPTY")
    for one in told["columns"]:
        options = ", ".join(f"{key} {value}" for key, value in one["options"].items())
        encoding = f"{one['encoding']} ({options})" if options else one["encoding"] or "left out"
        columns.add_row(
            *map(escape, (f"{one['of']}.{one['column']}", encoding, one["why"])),
            f"{one['missing']:,}" if one["missing"] else "",
        )
    parts: list[RenderableType] = [sizes, Text()]
    if told["columns"]:
        parts += [columns, Text()]
    parts.append(Text(f"Learned: {told['target']}"))
    parts.append(Text(f"Split: {told['split']}"))
    parts += [Text(f"Warning: {warning}", style="yellow") for warning in told["warnings"]]
    return Group(*parts)


def text(plan: Plan) -> str:
    """The plan's tables as plain text."""
    file = io.StringIO()
    Console(file=file, width=_WIDTH, highlight=False).print(shown(plan))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def _column(plan: Plan, owner: str, name: str) -> dict[str, Any]:
    profile, encoding = plan.survey.profiles[owner, name], plan.encodings[owner, name]
    return {
        "of": owner,
        "column": name,
        "encoding": encoding.type,
        "options": dict(encoding.options),
        "why": encoding.why,
        "missing": profile.missing,
    }


def _target(plan: Plan) -> str:
    if (target := plan.target) is not None:
        profile = plan.survey.profiles[target.column]
        return (
            f"{'.'.join(target.column)} by {target.task} ({target.why}); {profile.values:,} of {profile.rows:,} have it"
        )
    linked = [
        table.owner
        for name, table in plan.files.items()
        if isinstance(table, EdgeTable) and plan.described(name).get("labels")
    ]
    return f"links of {', '.join(linked)}" if linked else "links of all types of edges, since no target is named"


def _split(plan: Plan) -> str:
    graph = plan.configuration["graph"]
    label = next((label for one in [*graph["nodes"], *graph["edges"]] for label in one.get("labels") or ()), None)
    if label is None:
        return "at random, 0.9 for training and 0.1 for validation"
    if "split_rate" in label:
        train, valid, test = label["split_rate"]
        return f"at random, {train:g} for training, {valid:g} for validation, {test:g} for the test"
    column = plan.target.split_column if plan.target else None
    return f"as the column {column!r} says"


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, overflow="fold", justify="right" if heading in ("COUNT", "EMPTY") else "left")
    return table

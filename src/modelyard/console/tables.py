"""Jobs, endpoints and buckets as tables for a terminal, or for whoever reads its output."""

import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from modelyard.console.trials import Run

STYLES = {
    "running": "cyan",
    "queued": "yellow",
    "stopping": "yellow",
    "stopped": "yellow",
    "completed": "green",
    "complete": "green",
    "in service": "green",
    "failed": "red",
    "pruned": "dim",
}
_PIPE_WIDTH = 200
_STEERING = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def console() -> Console:
    """Standard output; wide where it is no terminal, so that nothing is cut."""
    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(highlight=False, width=_PIPE_WIDTH)


def plain(value: Any) -> str:
    """A value as text that cannot steer the terminal, whoever chose it."""
    return _STEERING.sub(lambda found: repr(found[0])[1:-1], str(value))


def jobs(found: Sequence[Mapping[str, Any]]) -> RenderableType:
    """A line for each job."""
    rows = (
        (
            job["name"] or job["id"],
            job["kind"],
            status(job["status"]),
            job["stage"],
            progress(job["progress"]),
            age(job["created"]),
        )
        for job in found
    )
    return _table(("ID", "KIND", "STATUS", "STAGE", "PROGRESS", "AGE"), rows)


def endpoints(found: Sequence[Mapping[str, Any]]) -> RenderableType:
    """A line for each endpoint."""
    rows = ((one["id"], one["name"], status(one["status"]), age(one["created"]), one["failure"]) for one in found)
    return _table(("ID", "NAME", "STATUS", "AGE", "FAILURE"), rows)


def buckets(found: Sequence[Mapping[str, Any]]) -> RenderableType:
    """A line for each bucket."""
    return _table(("BUCKET", "OWNER"), ((one["name"], one["owner"] or "shared by all accounts") for one in found))


def catalog(found: Sequence[Mapping[str, Any]]) -> RenderableType:
    """A line for each table of the catalog."""
    rows = (
        (f"{one['database']}.{one['table']}", one["format"], ", ".join(one["columns"]), one["uri"]) for one in found
    )
    return _table(("TABLE", "FORMAT", "COLUMNS", "LOCATION"), rows)


def verdict(found: Mapping[str, Any]) -> RenderableType:
    """What the rules say of a query, a line each."""
    if not found["allowed"]:
        whose = f" by table {found['table']}" if found["table"] else ""
        return Text(plain(f"refused{whose}: {found['code']}: {found['reason']}"), style="red")
    lines = [
        f"allowed; it reads {', '.join(found['tables'])} and tells {', '.join(found['columns'])}",
        *found["rules"],
        *(f"{table} may be used {left} more times" for table, left in found["budgets"].items()),
    ]
    return Group(*(Text(plain(line)) for line in lines))


def keys(found: Sequence[tuple[str, str]]) -> RenderableType:
    """A line for each access key: its id, and its account."""
    return _table(("KEY", "ACCOUNT"), found)


def audit(found: Sequence[Mapping[str, Any]]) -> RenderableType:
    """A line for each use of what somebody brought into a collaboration."""
    rows = (
        (
            moment(one["time"]),
            one["actor"],
            one["action"],
            one["used"],
            one["rule"],
            one["left"] or "nothing",
            f"{one['amount']} {one['unit']}" if one["amount"] is not None else "",
        )
        for one in found
    )
    return _table(("WHEN", "WHO", "DID", "WITH", "RULE", "LEFT", "MUCH"), rows)


def models(found: Sequence[Mapping[str, Any]]) -> RenderableType:
    """A line for each base model."""
    rows = (
        (
            one["id"],
            one["family"],
            magnitude(one["parameters"]),
            one["context"],
            ", ".join(one["customizations"]),
            one["path"],
        )
        for one in found
    )
    return _table(("ID", "FAMILY", "PARAMETERS", "CONTEXT", "CUSTOMIZATIONS", "FOLDER"), rows)


def text_models(found: Sequence[Mapping[str, Any]]) -> RenderableType:
    """A line for each model of text."""
    return _table(("TEXT MODEL", "FOLDER"), ((one["id"], one["path"]) for one in found))


def images(found: Sequence[Mapping[str, Any]]) -> RenderableType:
    """A line for each image."""
    rows = ((one["uri"], one["form"], magnitude(one["size"]), one["digest"]) for one in found)
    return _table(("URI", "FORM", "BYTES", "DIGEST"), rows)


def magnitude(number: int) -> str:
    """A number in its thousands, as people tell the size of models."""
    for unit, size in (("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return str(number)


def job(shown: Mapping[str, Any], runs: Mapping[str, Run], url: str) -> RenderableType:
    """All about one job. `runs` has what each stage reported, `url` is the server's address."""
    parts: list[RenderableType] = [_pairs(_facts(shown)), _heading("Stages"), _stages(shown)]
    if shown["request"]:
        parts += [_heading("Request"), _pairs(shown["request"].items())]
    for stage in shown["stages"]:
        name, run = stage["name"], runs.get(stage["name"])
        if run and run.trials:
            parts += [_heading(f"Trials of {name}"), _trials(run)]
        if stage["result"]:
            parts += [_heading(f"Result of {name}"), _pairs(stage["result"].items())]
    outputs = [(stage["name"], stage["output"]) for stage in shown["stages"] if stage["output"]]
    if outputs and shown["status"] == "completed":
        parts += [_heading("Outputs"), _pairs(outputs)]
    logs = [(stage["name"], url + stage["log"]) for stage in shown["stages"] if stage["log"]]
    if logs:
        parts += [_heading("Logs"), _pairs(logs)]
    return Group(*parts)


def ending(job: Mapping[str, Any]) -> Text:
    """How a job has ended, in one sentence."""
    told = Text.assemble(plain(job["id"]), " ", status(job["status"]))
    told.append(f" in {seconds((job['ended'] - job['created']) / 1000)}" + (": " if job["failure"] else ""))
    return told.append(plain(job["failure"] or ""))


def status(word: str) -> Text:
    """A status in its colour."""
    return Text(plain(word), style=STYLES.get(word, ""))


def progress(event: Mapping[str, Any] | None) -> str:
    """What the latest event tells, in a few words."""
    if not event:
        return ""
    if "phase" in event:
        what = "trials" if event["phase"] == "search" else event["phase"]
    else:
        what = f"trial {event['trial']} epoch" if "trial" in event else "step"
    of = f"/{event['total']}" if event.get("total") else ""
    return f"{what} {event.get('step', 0)}{of}"


def moment(milliseconds: int) -> str:
    """A time to the second, in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def age(milliseconds: int) -> str:
    """How long ago something was."""
    return seconds(time.time() - milliseconds / 1000)


def seconds(duration: float) -> str:
    """A duration in its two largest units."""
    whole = max(0, int(duration))
    if whole < 60:
        return f"{max(0.0, duration):.1f}s" if whole < 10 else f"{whole}s"
    for unit, smaller, size, part in (("m", "s", 60, 1), ("h", "m", 3600, 60), ("d", "h", 86400, 3600)):
        if whole < size * (24 if unit == "h" else 60) or unit == "d":
            return f"{whole // size}{unit} {whole % size // part}{smaller}"
    raise AssertionError


def _facts(shown: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    yield "id", shown["id"]
    if shown["name"]:
        yield "name", shown["name"]
    yield "kind", shown["kind"]
    yield "status", status(shown["status"])
    yield "created", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(shown["created"] / 1000))
    if shown["ended"]:
        yield "took", seconds((shown["ended"] - shown["created"]) / 1000)
    if shown["failure"]:
        yield "failure", Text(plain(shown["failure"]), style="red")


def _stages(shown: Mapping[str, Any]) -> Table:
    headings = ("STAGE", "STATUS", "ATTEMPT", "CORES", "WAITED", "TOOK", "PROGRESS")
    return _table(headings, (_stage(shown, stage) for stage in shown["stages"]))


def _stage(shown: Mapping[str, Any], stage: Mapping[str, Any]) -> tuple[Any, ...]:
    now = time.time() * 1000
    queued, started, ended = stage["queued"], stage["started"], stage["ended"]
    waiting = stage["status"] == "queued"
    waited = seconds(((started or now) - queued) / 1000) if queued and (started or waiting) else ""
    took = seconds(((ended or now) - started) / 1000) if started else ""
    told = progress(shown["progress"]) if stage["name"] == shown["stage"] else ""
    return stage["name"], status(stage["status"]), stage["attempt"] or "", stage["cores"], waited, took, told


def _trials(run: Run) -> Table:
    metrics = list(dict.fromkeys(name for trial in run.trials.values() for name in trial.metrics))
    rows = (
        (
            trial.number,
            status(trial.state),
            f"{trial.epoch}/{trial.epochs or '?'}",
            *(f"{trial.metrics[name]:.4f}" if name in trial.metrics else "" for name in metrics),
        )
        for _, trial in sorted(run.trials.items())
    )
    return _table(("TRIAL", "STATE", "EPOCH", *(name.upper() for name in metrics)), rows)


def _table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*map(_cell, row))
    return table


def _pairs(pairs: Iterable[tuple[str, Any]]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(_cell(name), _cell(value))
    return table


def _cell(value: Any) -> Text:
    if isinstance(value, Text):
        return value
    if isinstance(value, dict | list):
        value = json.dumps(value)
    return Text(plain("" if value is None else value))


def _heading(title: str) -> Text:
    return Text(f"\n{plain(title)}", style="bold")

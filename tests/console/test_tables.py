import io
import time
from typing import Any

import pytest
from rich.console import Console, RenderableType

from modelyard.console import tables
from modelyard.console.trials import Run


def text(renderable: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=200, highlight=False)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def job(**changed: Any) -> dict[str, Any]:
    now = int(time.time() * 1000)
    stage = {
        "name": "search",
        "status": "running",
        "cores": 2,
        "attempt": 1,
        "queued": now - 90_000,
        "started": now - 60_000,
        "ended": None,
        "result": {},
        "output": "s3://bucket/out",
        "log": "/-/logs/x",
        "parameters": {},
    }
    return {
        "id": "j",
        "name": None,
        "kind": "model training",
        "status": "running",
        "stage": "search",
        "created": now - 90_000,
        "ended": None,
        "failure": None,
        "progress": {"phase": "search", "step": 1, "total": 4},
        "request": {"maxTrials": 4},
        "stages": [stage],
        **changed,
    }


@pytest.mark.parametrize(
    ("duration", "shown"),
    [(-1, "0.0s"), (0.04, "0.0s"), (9.96, "10.0s"), (12.7, "12s"), (61, "1m 1s"), (3600, "1h 0m"), (90_000, "1d 1h")],
)
def test_a_duration_has_its_two_largest_units(duration: float, shown: str) -> None:
    assert tables.seconds(duration) == shown


def test_jobs_have_a_line_each() -> None:
    lines = text(tables.jobs([job(), job(id="k", status="completed", progress=None)])).splitlines()
    assert lines[0].split() == ["ID", "KIND", "STATUS", "STAGE", "PROGRESS", "AGE"]
    assert lines[1].split() == ["j", "model", "training", "running", "search", "trials", "1/4", "1m", "30s"]
    assert lines[2].split() == ["k", "model", "training", "completed", "search", "1m", "30s"]


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (None, ""),
        ({"phase": "reading edges", "step": 7}, "reading edges 7"),
        ({"phase": "search", "step": 1, "total": 4}, "trials 1/4"),
        ({"trial": 3, "step": 2, "total": 9}, "trial 3 epoch 2/9"),
    ],
)
def test_progress_is_told_in_a_few_words(event: dict[str, Any] | None, shown: str) -> None:
    assert tables.progress(event) == shown


def test_a_job_shows_its_trials_and_how_long_it_waited() -> None:
    run = Run()
    run.take({"step": 2, "trial": 0, "total": 9, "loss": 1.0, "acc": 0.7})
    shown = text(tables.job(job(), {"search": run}, "http://server"))
    assert "search  running  1        2      30s     1m 0s  trials 1/4" in shown
    assert "0      running  2/9    1.0000  0.7000" in shown
    assert "maxTrials  4" in shown
    assert "http://server/-/logs/x" in shown
    assert "Outputs" not in shown


def test_a_job_that_has_completed_shows_where_its_output_is() -> None:
    shown = text(tables.job(job(status="completed", ended=job()["created"] + 1500), {}, ""))
    assert "Outputs\nsearch  s3://bucket/out" in "\n".join(line.rstrip() for line in shown.splitlines())
    assert "took     1.5s" in shown


def test_nothing_that_a_user_chose_steers_the_terminal_or_the_markup() -> None:
    evil = "\x1b[2J[red]x[/red]\u202e\x9b\n"
    failure = text(tables.ending(job(id=evil, status="failed", failure=evil, ended=job()["created"] + 1000)))
    assert failure.count(r"\x1b[2J[red]x[/red]\u202e\x9b\n") == 2
    listed = text(tables.jobs([job(id=evil, progress={"phase": evil})]))
    assert "\x1b" not in listed
    assert "[red]x[/red]" in listed


def test_a_verdict_says_what_is_read_and_how_often_more() -> None:
    allowed = {"allowed": True, "tables": ["clients"], "columns": ["income"], "rules": ["CUSTOM: any query"]}
    lines = text(tables.verdict({**allowed, "budgets": {"clients": 3}})).splitlines()
    assert lines[0] == "allowed; it reads clients and tells income"
    assert lines[1:] == ["CUSTOM: any query", "clients may be used 3 more times"]


def test_a_refusal_names_the_table_and_cannot_steer_the_terminal() -> None:
    refused = {"allowed": False, "code": "SYNTAX", "table": "cli\x1b[2Jents", "reason": "no"}
    assert text(tables.verdict(refused)).strip() == "refused by table cli\\x1b[2Jents: SYNTAX: no"
    assert text(tables.verdict({**refused, "table": None})).strip() == "refused: SYNTAX: no"


def test_tables_of_the_catalog_are_a_line_each() -> None:
    found = {"database": "sales", "table": "clients", "format": "csv", "columns": {"a": "BIGINT", "b": "DATE"}}
    (_, line) = text(tables.catalog([{**found, "uri": "s3://bank/clients"}])).splitlines()
    assert line.split() == ["sales.clients", "csv", "a,", "b", "s3://bank/clients"]

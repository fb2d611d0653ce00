"""Shows how a job goes on: as live bars on a terminal, as plain lines anywhere else."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from modelyard.console.following import FINAL, Following, Job
from modelyard.console.tables import plain, seconds
from modelyard.console.trials import Run, Trial

QUIET_SECONDS = 5.0
"""How often plain lines repeat what goes on."""

Stage = Mapping[str, Any]


def watch(following: Following, console: Console) -> Job:
    """Shows a job until it has ended, and returns it."""
    with Bars(console) if console.is_terminal else Lines(console) as view:
        for job in following.until_it_ends():
            view.show(job, following.runs)
    return job


class Bars:
    """A bar for each stage; under a search one for each trial that runs."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=8)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()

    def show(self, job: Job, runs: Mapping[str, Run]) -> None:
        """Moves the bars to where the job stands."""
        bars = Table.grid(padding=(0, 2, 0, 0))
        for stage in job["stages"]:
            run = runs.get(stage["name"], Run())
            bars.add_row(_line(stage["name"]), _stage_bar(stage, run), _line(stage_told(stage, run)))
            for trial in [] if stage["status"] in FINAL else run.running:
                bar = _bar(trial.epoch, trial.epochs)
                bars.add_row(_line(f"  trial {trial.number}"), bar, _line(trial_told(trial)))
        self._live.update(bars, refresh=True)


def _stage_bar(stage: Stage, run: Run) -> ProgressBar:
    if stage["status"] == "running":
        return _bar(run.step, steps(stage, run))
    return _bar(int(stage["status"] == "completed"), 1)


def _bar(done: int, total: int | None) -> ProgressBar:
    """A bar; one that moves to and fro where the end is not known."""
    return ProgressBar(total=total or 1, completed=done, width=24, pulse=not total)


def _line(text: str) -> Text:
    return Text(plain(text), no_wrap=True, overflow="ellipsis")


class Lines:
    """A line for each change, and one now and then while nothing changes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: dict[tuple[str, int | None], str] = {}
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        pass

    def show(self, job: Job, runs: Mapping[str, Run]) -> None:
        """Prints what is new."""
        for stage in job["stages"]:
            run = runs.get(stage["name"], Run())
            self._tell(stage, run)
            if stage["status"] == "running" and time.monotonic() > self._last + QUIET_SECONDS:
                self._print(stage, stage_told(stage, run))
                for trial in run.running:
                    self._print(stage, f"trial {trial.number}  {trial_told(trial)}")

    def _tell(self, stage: Stage, run: Run) -> None:
        """Prints a stage's status and phase, and its trials' states, where they are others than before."""
        if self._is_new((stage["name"], None), f"{stage['status']} {run.phase}") and stage["status"] != "waiting":
            self._print(stage, stage_told(stage, run))
        for trial in run.trials.values():
            if self._is_new((stage["name"], trial.number), trial.state) and trial.state != "running":
                self._print(stage, f"trial {trial.number}  {trial.state} at {trial_told(trial)}")

    def _is_new(self, key: tuple[str, int | None], told: str) -> bool:
        before, self._told[key] = self._told.get(key), told
        return before != told

    def _print(self, stage: Stage, told: str) -> None:
        self._last = time.monotonic()
        self._console.print(Text(plain(f"{time.strftime('%H:%M:%S')} {stage['name']}: {told}")))


def stage_told(stage: Stage, run: Run) -> str:
    """How a stage stands, in one line."""
    if stage["status"] != "running":
        took = (
            f" in {seconds((stage['ended'] - stage['started']) / 1000)}" if stage["ended"] and stage["started"] else ""
        )
        return f"{stage['status']}{took}"
    of = f"/{total}" if (total := steps(stage, run)) else ""
    parts = [seconds(time.time() - stage["started"] / 1000)]
    if run.trials:
        best = f"  best {run.metric or ''} {run.best:.4f}" if run.best is not None else ""
        parts.append(f"{sum(t.state != 'running' for t in run.trials.values())}{of} trials{best}")
    elif run.phase:
        parts.append(f"{run.phase} {run.step}{of}" if run.step else run.phase)
    if stage["attempt"] > 1:
        parts.append(f"attempt {stage['attempt']}")
    return "  ".join(parts)


def trial_told(trial: Trial) -> str:
    """Where a trial stands, in one line."""
    return f"epoch {trial.epoch}/{trial.epochs or '?'}  {trial.told()}"


def steps(stage: Stage, run: Run) -> int | None:
    """How many steps end the stage's phase, or how many trials the search; None if nobody knows yet."""
    return run.total or (stage["parameters"].get("max_trials") if run.trials else None)

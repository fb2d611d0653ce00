"""Shows how a job goes on: as live bars on a terminal, as plain lines anywhere else."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
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
        columns = (
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[told]}", markup=False),
        )
        self._progress = Progress(*columns, console=console, transient=False)
        self._bars: dict[tuple[str, int | None], TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def show(self, job: Job, runs: Mapping[str, Run]) -> None:
        """Moves the bars to where the job stands."""
        for stage in job["stages"]:
            run = runs.get(stage["name"], Run())
            self._show_stage(stage, run)
            running = [] if stage["status"] in FINAL else run.running
            for trial in run.trials.values():
                self._show_trial(stage["name"], trial, visible=trial in running)

    def _show_stage(self, stage: Stage, run: Run) -> None:
        ended = stage["status"] == "completed"
        busy = stage["status"] == "running"
        total = 1 if ended or not busy else steps(stage, run)
        done = 1 if ended else (run.step if busy else 0)
        self._move((stage["name"], None), stage["name"], done, total, stage_told(stage, run))

    def _show_trial(self, stage: str, trial: Trial, visible: bool) -> None:
        told = f"epoch {trial.epoch}/{trial.epochs or '?'}  {trial.told()}"
        self._move((stage, trial.number), f"  trial {trial.number}", trial.epoch, trial.epochs, told, visible)

    def _move(
        self, key: tuple[str, int | None], name: str, done: int, total: int | None, told: str, visible: bool = True
    ) -> None:
        if key not in self._bars:
            self._bars[key] = self._progress.add_task(plain(name), total=total, told="")
        bar = self._bars[key]
        self._progress.update(bar, completed=done, total=total, told=plain(told), visible=visible)


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
                    self._print(stage, f"trial {trial.number}  epoch {trial.epoch}/{trial.epochs}  {trial.told()}")

    def _tell(self, stage: Stage, run: Run) -> None:
        """Prints a stage's status and phase, and its trials' states, where they are others than before."""
        if self._is_new((stage["name"], None), f"{stage['status']} {run.phase}") and stage["status"] != "waiting":
            self._print(stage, stage_told(stage, run))
        for trial in run.trials.values():
            if self._is_new((stage["name"], trial.number), trial.state) and trial.state != "running":
                self._print(stage, f"trial {trial.number} {trial.state}  epoch {trial.epoch}  {trial.told()}")

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


def steps(stage: Stage, run: Run) -> int | None:
    """How many steps end the stage's phase, or how many trials the search; None if nobody knows yet."""
    return run.total or (stage["parameters"].get("max_trials") if run.trials else None)

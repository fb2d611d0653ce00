import io
from typing import Any

from rich.console import Console
from tests.console.test_tables import job

from modelyard.console.trials import Run
from modelyard.console.watch import Bars, Lines, watch

EVENTS = (
    {"step": 5, "trial": 0, "total": 9, "loss": 1.0, "acc": 0.7},
    {"step": 2, "trial": 1, "total": 9, "loss": 1.5, "acc": 0.6},
    {"step": 1, "phase": "search", "total": 4, "trial": 0, "state": "complete", "best": 0.7},
)


class Told:
    """A job that goes through some states."""

    def __init__(self, *jobs: dict[str, Any]) -> None:
        self.runs = {"search": Run()}
        self._jobs = jobs

    def until_it_ends(self) -> Any:
        for number, state in enumerate(self._jobs):
            if number:
                for event in EVENTS:
                    self.runs["search"].take(event)
            yield state


def ended() -> dict[str, Any]:
    end = job()["created"] + 42_000
    stages = [{**job()["stages"][0], "status": "completed", "started": job()["created"], "ended": end}]
    return job(status="completed", ended=end, stages=stages)


def shown(terminal: bool) -> str:
    console = Console(file=io.StringIO(), width=120, force_terminal=terminal, color_system=None, highlight=False)
    assert watch(Told(job(), job(), job(), ended()), console)["status"] == "completed"
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_lines_tell_each_change_once() -> None:
    told = [line.split(" ", 1)[1] for line in shown(terminal=False).splitlines()]
    assert told == [
        "search: 1m 0s",
        "search: 1m 0s  1/4 trials  best acc 0.7000",
        "search: trial 0  complete at epoch 5/9  loss 1  acc 0.7",
        "search: completed in 42s",
    ]


def test_bars_have_a_line_for_each_stage_and_each_running_trial() -> None:
    frames = shown(terminal=True)
    assert "1/4 trials  best acc 0.7000" in frames
    assert "trial 1" in frames
    assert "epoch 2/9  loss 1.5  acc 0.6" in frames
    assert "trial 0" not in frames
    assert frames.splitlines()[-2].endswith("completed in 42s")


def test_lines_go_on_telling_while_nothing_changes(monkeypatch: Any) -> None:
    clock = iter(range(0, 1000, 3))
    monkeypatch.setattr("modelyard.console.watch.time.monotonic", lambda: next(clock))
    console = Console(file=io.StringIO(), width=120, highlight=False)
    lines, run = Lines(console), Run()
    run.take(EVENTS[1])
    for _ in range(6):
        lines.show(job(), {"search": run})
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().count("trial 1  epoch 2/9") >= 2


def test_a_search_of_known_size_has_a_bar_before_its_first_trial_ends() -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    run = Run()
    run.take(EVENTS[0])
    searching = job(stages=[{**job()["stages"][0], "parameters": {"max_trials": 7}}])
    with Bars(console) as bars:
        bars.show(searching, {"search": run})
    assert isinstance(console.file, io.StringIO)
    assert "0/7 trials" in console.file.getvalue()

import os
import signal
import time
from pathlib import Path

import pytest
from tests.conftest import processes_of, wait_for

from modelyard.engines.base import Failed, Lost, Running, State, Succeeded, TaskSpec
from modelyard.engines.local import LocalEngine
from modelyard.processes import Process


@pytest.fixture
def engine(data: Path) -> LocalEngine:
    return LocalEngine(data / "tasks", data / "residents", slots=2)


def ended(engine: LocalEngine, task: str, attempt: int = 1) -> State:
    wait_for(lambda: not isinstance(engine.state(task, attempt), Running))
    return engine.state(task, attempt)


def state_file(engine: LocalEngine, task: str, name: str) -> Path:
    return engine.attempt_folder(task, 1).parent.parent / "state" / name


FAMILIES = pytest.mark.parametrize("family", [None, "graph"])


class TestAnAttempt:
    @FAMILIES
    def test_gives_its_result_and_output(self, engine: LocalEngine, family: str | None) -> None:
        engine.start("t", 1, TaskSpec("tests.tasks:succeed", cores=2, family=family))
        assert ended(engine, "t") == Succeeded({"attempt": 1, "cores": 2})
        assert (engine.attempt_folder("t", 1) / "output" / "answer.txt").read_text() == "42"

    @FAMILIES
    def test_that_raises_fails_with_the_reason_and_a_traceback_in_its_log(
        self, engine: LocalEngine, family: str | None
    ) -> None:
        engine.start("t", 1, TaskSpec("tests.tasks:fail", family=family))
        assert ended(engine, "t") == Failed("ZeroDivisionError: division by zero")
        assert "Traceback" in (engine.attempt_folder("t", 1) / "log").read_text()

    def test_that_has_ended_leaves_its_log_alone_once_it_is_cleared(self, engine: LocalEngine) -> None:
        engine.start("t", 1, TaskSpec("tests.tasks:hold"))
        wait_for(state_file(engine, "t", "began-1").exists)
        state_file(engine, "t", "release").touch()
        assert ended(engine, "t") == Succeeded({"attempt": 1})
        for _ in range(2):
            engine.clear("t")
        assert not state_file(engine, "t", "release").parent.exists()
        assert not (engine.attempt_folder("t", 1) / "output").exists()
        assert (engine.attempt_folder("t", 1) / "log").exists()
        assert ended(engine, "t") == Succeeded({"attempt": 1})

    def test_that_finds_bad_input_says_just_that(self, engine: LocalEngine) -> None:
        engine.start("t", 1, TaskSpec("tests.tasks:refuse"))
        assert ended(engine, "t") == Failed("nodes.csv, line 3, column age: 'x' is not a number", input=True)

    def test_whose_entry_point_is_missing_fails_with_the_name(self, engine: LocalEngine) -> None:
        engine.start("t", 1, TaskSpec("tests.tasks:nothing"))
        state = ended(engine, "t")
        assert isinstance(state, Failed)
        assert "nothing" in state.reason

    def test_is_seen_by_an_engine_that_started_later(self, engine: LocalEngine, data: Path) -> None:
        engine.start("t", 1, TaskSpec("tests.tasks:hold"))
        later = LocalEngine(data / "tasks", data / "residents", slots=2)
        assert later.state("t", 1) == Running()
        wait_for(state_file(engine, "t", "began-1").exists)
        state_file(engine, "t", "release").touch()
        assert ended(later, "t") == Succeeded({"attempt": 1})

    @FAMILIES
    def test_that_serves_does_not_wait_for_those_who_work(self, engine: LocalEngine, family: str | None) -> None:
        engine.start("a", 1, TaskSpec("tests.tasks:hold", family=family))
        engine.start("b", 1, TaskSpec("tests.tasks:hold", family=family, gentle=False))
        groups = {}
        for task in ("a", "b"):
            wait_for(state_file(engine, task, "began-1").exists)
            pid = int(state_file(engine, task, "began-1").read_text())
            groups[task] = os.getpriority(os.PRIO_PROCESS, pid), os.getsid(pid)
        assert (groups["a"][0], groups["b"][0]) == (19, 0)
        assert groups["a"][1] != groups["b"][1]

    @FAMILIES
    def test_runs_behind_everything_else(self, engine: LocalEngine, family: str | None) -> None:
        engine.start("t", 1, TaskSpec("tests.tasks:hold", family=family))
        wait_for(state_file(engine, "t", "began-1").exists)
        work = int(state_file(engine, "t", "began-1").read_text())
        assert os.getpriority(os.PRIO_PROCESS, work) == 19
        engine.kill("t", 1)

    @FAMILIES
    def test_that_serves_does_not(self, engine: LocalEngine, family: str | None) -> None:
        engine.start("t", 1, TaskSpec("tests.tasks:hold", family=family))
        engine.start("u", 1, TaskSpec("tests.tasks:hold", family=family, gentle=False))
        wait_for(state_file(engine, "u", "began-1").exists)
        work = int(state_file(engine, "u", "began-1").read_text())
        assert os.getpriority(os.PRIO_PROCESS, work) == 0
        if (group := Path(f"/proc/{work}/autogroup")).exists():
            assert group.read_text().split()[-1] == "0"
        engine.kill("t", 1)
        engine.kill("u", 1)

    def test_reports_lines_of_events(self, engine: LocalEngine) -> None:
        engine.start("t", 1, TaskSpec("tests.tasks:hold"))
        events = engine.attempt_folder("t", 1) / "events.jsonl"
        wait_for(lambda: events.exists() and events.read_text().count("\n") >= 2)
        engine.kill("t", 1)
        assert '"step": 0, "phase": "holding"' in events.read_text()


class TestAKill:
    @FAMILIES
    @pytest.mark.parametrize("victim", ["runner", "work"])
    def test_of_one_process_loses_the_attempt_and_leaves_no_other(
        self, engine: LocalEngine, data: Path, family: str | None, victim: str
    ) -> None:
        engine.start("t", 1, TaskSpec("tests.tasks:hold", family=family))
        wait_for(state_file(engine, "t", "began-1").exists)
        runner = Process.read(engine.attempt_folder("t", 1) / "process.json")
        assert runner is not None
        work = int(state_file(engine, "t", "began-1").read_text())
        os.kill(runner.pid if victim == "runner" else work, signal.SIGKILL)
        assert isinstance(ended(engine, "t"), Lost)
        wait_for(lambda: not Path(f"/proc/{work}").exists())
        wait_for(lambda: not runner.alive())

    def test_of_a_task_that_ignores_sigterm_works(self, engine: LocalEngine) -> None:
        engine.start("t", 1, TaskSpec("tests.tasks:be_stubborn"))
        wait_for(state_file(engine, "t", "began-1").exists)
        engine.stop("t", 1)
        time.sleep(0.1)
        assert engine.state("t", 1) == Running()
        engine.kill("t", 1)
        assert isinstance(engine.state("t", 1), Lost)

    def test_of_the_resident_parent_leaves_its_children_alone(self, engine: LocalEngine, data: Path) -> None:
        engine.start("t", 1, TaskSpec("tests.tasks:hold", family="graph"))
        wait_for(state_file(engine, "t", "began-1").exists)
        parent = Process.read(data / "residents" / "graph" / "process.json")
        assert parent is not None
        os.kill(parent.pid, signal.SIGKILL)
        wait_for(lambda: not parent.alive())
        assert engine.state("t", 1) == Running()
        engine.start("u", 1, TaskSpec("tests.tasks:succeed", family="graph"))
        assert isinstance(ended(engine, "u"), Succeeded)
        engine.kill("t", 1)

    def test_before_a_new_attempt_ends_the_old_one(self, engine: LocalEngine) -> None:
        engine.start("t", 1, TaskSpec("tests.tasks:hold"))
        wait_for(state_file(engine, "t", "began-1").exists)
        old = int(state_file(engine, "t", "began-1").read_text())
        engine.start("t", 2, TaskSpec("tests.tasks:hold"))
        assert not Path(f"/proc/{old}").exists() or "Z" in Path(f"/proc/{old}/stat").read_text()
        engine.kill("t", 2)

    def test_of_everything_kept_as_it_was_between_two_engines_starts_nothing_twice(
        self, engine: LocalEngine, data: Path
    ) -> None:
        engine.start("t", 1, TaskSpec("tests.tasks:hold"))
        engine.kill("t", 1)
        assert isinstance(LocalEngine(data / "tasks", data / "residents", 2).state("t", 1), Lost)
        assert processes_of(data / "tasks") == []


class TestWorkers:
    SPEC = TaskSpec("tests.tasks:lead", {"workers": 3}, family="graph", cores=2)

    def lead(self, engine: LocalEngine) -> list[int]:
        engine.start("t", 1, self.SPEC)
        wait_for(state_file(engine, "t", "began-1").exists)
        return [int(pid) for pid in state_file(engine, "t", "workers").read_text().split()]

    def test_speak_with_their_task_on_one_thread_each(self, engine: LocalEngine) -> None:
        workers = self.lead(engine)
        assert len(set(workers)) == 3
        state_file(engine, "t", "release").touch()
        state = ended(engine, "t")
        assert isinstance(state, Succeeded)
        assert state.result["said"] == [{"number": n, "threads": 1} for n in range(3)]

    def test_are_gone_when_their_task_has_ended(self, engine: LocalEngine) -> None:
        workers = self.lead(engine)
        state_file(engine, "t", "release").touch()
        ended(engine, "t")
        for pid in workers:
            wait_for(lambda pid=pid: not alive(pid))

    def test_die_with_a_task_that_is_killed(self, engine: LocalEngine) -> None:
        workers = self.lead(engine)
        os.kill(int(state_file(engine, "t", "began-1").read_text()), signal.SIGKILL)
        assert isinstance(ended(engine, "t"), Lost)
        assert not any(alive(pid) for pid in workers)

    def test_a_parent_that_their_task_started_does_not_keep_the_task_alive(
        self, engine: LocalEngine, data: Path
    ) -> None:
        engine.start("t", 1, TaskSpec("tests.tasks:lead_later", {"workers": 1}, family="graph"))
        wait_for(state_file(engine, "t", "began-1").exists)
        parent = Process.read(data / "residents" / "graph" / "process.json")
        assert parent is not None
        os.kill(parent.pid, signal.SIGKILL)
        wait_for(lambda: not parent.alive())
        state_file(engine, "t", "release").touch()
        assert isinstance(ended(engine, "t"), Succeeded)
        assert Process.read(data / "residents" / "graph" / "process.json") != parent

    def test_outlive_the_resident_parent_but_not_the_task(self, engine: LocalEngine, data: Path) -> None:
        workers = self.lead(engine)
        parent = Process.read(data / "residents" / "graph" / "process.json")
        assert parent is not None
        os.kill(parent.pid, signal.SIGKILL)
        wait_for(lambda: not parent.alive())
        assert all(alive(pid) for pid in workers)
        engine.kill("t", 1)
        assert not any(alive(pid) for pid in workers)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False

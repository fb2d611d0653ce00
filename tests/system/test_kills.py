"""Nothing accepted is lost: kill -9 of anything, at any stage, and count what runs and what was done."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import task_processes, wait_for
from tests.system.server import User, attempts, coordinator, kill_pid, only_serving, running_user

pytestmark = [pytest.mark.system, pytest.mark.slow]


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    user = running_user(tmp_path / "data")
    yield user
    user.server.close()


@pytest.fixture
def searching(user: User) -> tuple[User, Path]:
    """A user whose search has finished some trials and is busy with others; the search's task folder."""
    user.process()
    user.completed(user.processing)
    user.train()
    search = user.search()
    wait_for(lambda: len(user.finished_trials(search)) >= 2)
    return user, search


def trials(user: User) -> list[dict[str, Any]]:
    output = user.server.object(user.training()["hpoJob"]["outputLocation"])
    return list(json.loads((output / "trials.json").read_text()))


def reported(search: Path, attempt: str) -> set[int]:
    """The trials that report epochs in an attempt."""
    lines = (search / "attempts" / attempt / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    return {event["trial"] for event in events if "loss" in event}


class TestTheServer:
    def test_killed_while_data_is_processed_goes_on(self, user: User) -> None:
        user.process()
        user.server.kill()
        user.server.start()
        job = user.completed(user.processing)
        output = user.server.object(job["processingJob"]["outputLocation"])
        assert (output / "graph.json").is_file()
        assert os.listdir(output.parent) == ["preloading-output"]

    def test_killed_in_a_search_finds_it_running_and_starts_nothing_twice(self, searching: tuple[User, Path]) -> None:
        user, search = searching
        before = coordinator(search)
        user.server.kill()
        assert before.alive()
        user.server.start()
        user.completed(user.training)
        assert attempts(search) == ["1"]
        assert len(trials(user)) == 6
        assert only_serving(user.server.folder) == []

    def test_killed_before_each_status_moves_on_ends_with_one_of_everything(self, user: User) -> None:
        user.process()
        for _ in range(3):
            user.server.kill()
            user.server.start()
        user.completed(user.processing)
        user.train(trials=2, epochs=20)
        for _ in range(6):
            user.server.kill()
            user.server.start()
            if user.training()["status"] == "Completed":
                break
        user.completed(user.training)
        assert len(trials(user)) == 2
        assert len(os.listdir(user.server.object("s3://bucket/out"))) == 3

    def test_stopped_politely_leaves_tasks_running_for_the_next(self, searching: tuple[User, Path]) -> None:
        user, search = searching
        assert user.server.terminate() == 0
        assert coordinator(search).alive()
        user.server.start()
        user.completed(user.training)
        assert attempts(search) == ["1"]


class TestEverything:
    def test_killed_at_once_in_a_search_goes_on_without_doing_finished_trials_again(
        self, searching: tuple[User, Path]
    ) -> None:
        user, search = searching
        user.server.kill()
        for pid in (*task_processes(user.server.folder), user.server.resident().pid):
            kill_pid(pid)
        done = user.finished_trials(search)
        user.server.start()
        user.completed(user.training)
        assert attempts(search) == ["1", "2"]
        again = reported(search, "2")
        assert again == set(range(6)) - {int(name.removesuffix(".json")) for name in done}
        by_number = {trial["number"]: trial for trial in trials(user)}
        for document in map(json.loads, done.values()):
            assert by_number[document["number"]]["seconds"] == document["seconds"]

    def test_killed_while_the_model_is_applied_goes_on(self, searching: tuple[User, Path]) -> None:
        user, search = searching
        wait_for(lambda: "modelTransformJob" in user.training(), 120)
        user.server.kill()
        for pid in task_processes(user.server.folder):
            kill_pid(pid)
        user.server.start()
        job = user.completed(user.training)
        assert attempts(search) == ["1"]
        assert (user.server.object(job["processingJob"]["outputLocation"]) / "predictions.csv").is_file()


class TestATask:
    def test_killed_search_coordinator_starts_again_and_keeps_finished_trials(
        self, searching: tuple[User, Path]
    ) -> None:
        user, search = searching
        runner = coordinator(search)
        done = {int(name.removesuffix(".json")) for name in user.finished_trials(search)}
        kill_pid(runner.pid)
        user.completed(user.training)
        assert attempts(search) == ["1", "2"]
        assert not reported(search, "2") & done
        assert only_serving(user.server.folder) == []

    def test_killed_resident_parent_is_replaced(self, searching: tuple[User, Path]) -> None:
        user, search = searching
        old = user.server.resident()
        kill_pid(old.pid)
        user.completed(user.training)
        assert user.server.resident().pid != old.pid
        assert attempts(search) == ["1"]
        assert len(trials(user)) == 6
        assert {trial["state"] for trial in trials(user)} <= {"complete", "pruned"}

    def test_killed_trial_does_not_fail_the_search(self, searching: tuple[User, Path]) -> None:
        user, search = searching
        group = coordinator(search).pid
        children = {int(pid) for pid in Path(f"/proc/{group}/task/{group}/children").read_text().split()}
        (worker, *_) = set(task_processes(user.server.folder)) - {group} - children
        kill_pid(worker)
        user.completed(user.training)
        assert len(trials(user)) == 6
        assert attempts(search) == ["1"]


class TestAnEndpoint:
    def test_survives_the_server_and_comes_back_after_a_kill_of_everything(self, user: User) -> None:
        user.process()
        user.completed(user.processing)
        user.train(trials=1, epochs=20)
        user.completed(user.training)
        user.neptune.create_ml_endpoint(id="e", mlModelTrainingJobId="job")
        wait_for(lambda: user.neptune.get_ml_endpoint(id="e")["status"] == "InService")
        (serving,) = task_group(user)
        assert ask(user)
        user.server.kill()
        user.server.start()
        assert ask(user)
        assert task_group(user) == {serving}
        user.server.kill()
        for pid in task_processes(user.server.folder):
            kill_pid(pid)
        user.server.start()
        wait_for(lambda: works(user))
        user.neptune.delete_ml_endpoint(id="e")
        assert only_serving(user.server.folder) == []


class TestStop:
    def test_leaves_no_process_and_no_output(self, searching: tuple[User, Path]) -> None:
        user, _ = searching
        user.neptune.cancel_ml_model_training_job(id="job")
        wait_for(lambda: user.training()["status"] == "Stopped")
        assert task_processes(user.server.folder) == []
        assert len(os.listdir(user.server.object("s3://bucket/out"))) == 1

    def test_wished_before_a_kill_is_kept(self, searching: tuple[User, Path]) -> None:
        user, _ = searching
        user.neptune.cancel_ml_model_training_job(id="job")
        user.server.kill()
        user.server.start()
        wait_for(lambda: user.training()["status"] == "Stopped")
        assert task_processes(user.server.folder) == []


def ask(user: User) -> list[dict[str, Any]]:
    body = json.dumps({"data": {"nodes": [{"nodeId": "p1"}]}})
    answer = user.server.client("sagemaker-runtime").invoke_endpoint(EndpointName="e", Body=body)
    return list(json.loads(answer["Body"].read())["output"])


def works(user: User) -> bool:
    try:
        return bool(ask(user))
    except Exception:  # whatever the client makes of an endpoint that is not there
        return False


def task_group(user: User) -> set[int]:
    """The process groups of tasks."""
    return {os.getpgid(pid) for pid in task_processes(user.server.folder)}

import re

import pytest
from tests.commands.terminal import Side, started
from tests.conftest import printed, processes_of
from tests.jobs.test_supervisor import stage

from modelyard.jobs.model import Owner, Status


@pytest.mark.system
class TestJobs:
    def test_are_listed_shown_and_logged(self, side: Side) -> None:
        side.create(stage("refuse"), stage("succeed", "two"), id="training")
        side.until(Status.FAILED, "training")
        listed = side.cli("jobs", "list").output.splitlines()
        assert listed[1].split()[:4] == ["training", "test", "failed", "two"]
        shown = side.cli("jobs", "show", "training").output
        assert "failure  nodes.csv, line 3, column age: 'x' is not a number" in shown
        assert f"{side.server.url}/-/logs/" in shown
        logged = side.cli("jobs", "logs", "training").output
        assert printed(logged) == "=== one ===\nerror: nodes.csv, line 3, column age: 'x' is not a number\n"
        assert side.cli("jobs", "logs", "training", "--stage", "three").output == (
            "Error: 'three' is no stage of this job; its stages: one, two\n"
        )

    def test_of_other_accounts_are_not_there(self, side: Side) -> None:
        side.create(stage("succeed"), owner=Owner("111122223333", "eu-west-1"), id="theirs")
        missing = side.cli("jobs", "show", "theirs")
        assert missing.exit_code == 1
        assert missing.output == ("Error: There is no job 'theirs'; there are no jobs of this account and region\n")
        theirs = side.cli("jobs", "list", "--account", "111122223333", "--region", "eu-west-1").output
        assert theirs.splitlines()[1].startswith("theirs")

    def test_are_watched_until_they_end(self, side: Side) -> None:
        side.create(stage("hold"))
        with started("jobs", "watch", "j", "--endpoint-url", side.server.url) as watching:
            side.release()
            told, _ = watching.communicate(timeout=60)
            assert watching.returncode == 0
        assert re.search(r"^\d\d:\d\d:\d\d one: completed in ", told, re.MULTILINE)
        assert told.splitlines()[-1].startswith("j completed in ")

    def test_that_fail_or_are_stopped_end_the_watch_with_status_1(self, side: Side) -> None:
        side.create(stage("fail"))
        watched = side.cli("jobs", "watch", "j")
        assert watched.exit_code == 1
        assert watched.output.splitlines()[-1].endswith(": ZeroDivisionError: division by zero")
        side.create(stage("hold"), id="k")
        side.until(Status.RUNNING, "k")
        assert side.cli("jobs", "stop", "k").output == "test job k: stopping\n"
        assert side.cli("jobs", "watch", "k").exit_code == 1
        assert processes_of(side.server.folder / "tasks") == []

    def test_are_watched_through_a_restart_of_the_server(self, side: Side) -> None:
        side.create(stage("hold"))
        side.until(Status.RUNNING)
        port = int(side.server.url.rpartition(":")[2])
        with started("jobs", "watch", "j", "--endpoint-url", side.server.url) as watching:
            assert watching.stdout is not None
            assert "one: " in watching.stdout.readline()
            side.server.kill()
            side.server.start(port)
            side.release()
            assert watching.wait(60) == 0

    def test_logs_are_followed_into_the_next_stage(self, side: Side) -> None:
        first = stage("say", parameters={"text": "\x1b[31mfirst"})
        side.create(first, stage("say", "two", parameters={"text": "second"}))
        with started("jobs", "logs", "-f", "j", "--endpoint-url", side.server.url) as following:
            assert following.stdout is not None
            assert following.stdout.readline() == "=== one ===\n"
            assert "\\x1b[31mfirst\n" in following.stdout
            side.release()
            assert "=== two ===\n" in following.stdout
            assert "second\n" in following.stdout
            side.cli("jobs", "stop", "j")
            assert following.wait(60) == 0

import json
import subprocess
import sys
from pathlib import Path

import pytest

from modelyard.runner.sandbox import Container, Limits, NoSandbox, OpenedImage, isolation
from modelyard.runner.sandbox.__main__ import reason
from modelyard.runner.sandbox.isolation import RUNTIMES, attempt
from modelyard.runner.sandbox.podman import Podman


@pytest.fixture(autouse=True)
def _asked_anew() -> None:
    isolation.cache_clear()


def test_bubblewrap_comes_first() -> None:
    try:
        attempt("bubblewrap")
    except NoSandbox as error:
        pytest.skip(str(error))
    assert isolation() == "bubblewrap"


def test_without_either_nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, project: OpenedImage) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoSandbox, match=r"bubblewrap is not installed.*Podman is not installed"):
        isolation()
    ran = tmp_path / "ran"
    with (
        pytest.raises(NoSandbox),
        Container(project, [f"open({str(ran)!r}, 'w')"], {}, [], Limits(2**29, 1), "x", lambda _: None),
    ):
        pass
    assert not ran.exists()


def test_one_that_is_installed_and_not_allowed_counts_for_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("bwrap", "podman"):
        (tmp_path / name).write_text("#!/bin/sh\necho no >&2\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(NoSandbox, match=r"cannot make namespaces.*podman cannot run here: no"):
        isolation()


def test_a_program_that_ends_before_anybody_looks_has_run(monkeypatch: pytest.MonkeyPatch) -> None:
    if reason("podman"):
        pytest.skip("Podman cannot run here")
    first = Podman._first_process

    def late(self: Podman, told: Path) -> int:
        pid = first(self, told)
        self._process.wait()
        return pid

    monkeypatch.setattr(Podman, "_first_process", late)
    attempt("podman")


def test_a_command_says_what_can_be_used() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "modelyard.runner.sandbox"], capture_output=True, text=True, check=True
    )
    found = json.loads(told.stdout)
    assert found.keys() == {"bubblewrap", "podman", "kernel"}
    assert {name: found[name] for name in RUNTIMES} == {name: reason(name) for name in RUNTIMES}

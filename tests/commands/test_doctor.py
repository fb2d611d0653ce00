import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests.commands.terminal import LIBRARIES, cli
from tests.conftest import ROOT

from modelyard.console import doctor


def test_doctor_finds_this_machine_fit_and_imports_no_library(tmp_path: Path) -> None:
    script = (
        "import sys; from modelyard.console.doctor import examine; from pathlib import Path; "
        f"assert not [f for f in examine(Path({str(tmp_path)!r})) if f.missing]; print(*sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert not set(shown.split()) & set(LIBRARIES)


def test_doctor_fails_where_something_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("modelyard.console.doctor.find_spec", lambda name: None if name == "polars" else object())
    found = cli("doctor", "--data-dir", str(tmp_path))
    assert found.exit_code == 1
    assert re.search(
        r'missing\s+libraries for graph jobs\s+missing polars; pip install "modelyard\[graph\]"', found.output
    )


def test_doctor_looks_for_the_libraries_of_every_extra_that_users_install() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(doctor.LIBRARIES) == set(extras) - {"dev", "vllm"}

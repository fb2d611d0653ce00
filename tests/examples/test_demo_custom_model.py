import re
import subprocess
import sys
from pathlib import Path

import library_graph
import pytest
from tests.conftest import ROOT, processes_of

SCRIPT = ROOT / "examples" / "demo_custom_model.py"


def test_the_library_is_the_same_each_time(tmp_path: Path) -> None:
    one, other = (library_graph.write_graph(tmp_path / name, books=50) for name in ("one", "other"))
    assert one == other
    assert set(one.values()) == set(library_graph.GENRES)


@pytest.mark.slow
@pytest.mark.system
def test_the_users_own_model_learns_and_answers(data: Path, sandbox: str) -> None:
    command = [sys.executable, str(SCRIPT), "--data-dir", str(data), "--trials", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert float(re.findall(r"([0-9.]+)% of the genres are right", done.stdout)[0]) > 70
    assert processes_of(data) == []

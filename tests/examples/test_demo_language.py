import re
import subprocess
import sys
from pathlib import Path

import demo_language
import pytest
from tests.conftest import ROOT, processes_of

SCRIPT = ROOT / "examples" / "demo_language.py"


@pytest.mark.slow
@pytest.mark.system
def test_the_demo_teaches_what_the_model_did_not_know_and_leaves_nothing_running(data: Path) -> None:
    smaller = ["--build-steps", "60", "--passages", "100"]
    command = [sys.executable, str(SCRIPT), "--data-dir", str(data), *smaller]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    before, after = re.findall(r"│ [^│]* │ +([\d.]+) +│ +[\d.]+ +│", done.stdout)[:2]
    assert float(after) < float(before)
    right = re.search(r"Right of 40: (\d+) before, (\d+) after", done.stdout)
    assert right, done.stdout
    assert int(right[1]) == 0
    assert int(right[2]) >= 30
    assert processes_of(data) == []


def test_the_facts_are_a_hundred_different_ones_and_the_same_each_time() -> None:
    facts = demo_language.invented_facts()
    assert len({fact.question for fact in facts}) == 100
    assert facts == demo_language.invented_facts()
    assert len({fact.answer for fact in facts}) > 15

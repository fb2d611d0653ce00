import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import ROOT, processes_of

SCRIPT = ROOT / "examples" / "demo_cleanroom.py"


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.usefixtures("sandbox")
def test_the_demo_reads_more_in_the_room_than_either_party_alone_and_leaves_nothing_running(data: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--data-dir", str(data), "--pictures", "600"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    bank, shop, room = (float(share) for share in re.findall(r"│ +([\d.]+)% │", done.stdout))
    assert room > max(bank, shop)
    refused = done.stdout.partition("Three things that were refused")[2]
    for word in ("RESULT_RECEIVERS_NOT_ALLOWED", "AccessDenied", "allows no exports"):
        assert word in refused
    assert processes_of(data) == []

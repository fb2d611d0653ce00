import os
from pathlib import Path

import pytest
import torch

from modelyard.workloads.language.checkpoints import KEPT, Checkpoint, Checkpoints


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint(
        step, {"a": torch.full((100,), float(step)), "state": torch.get_rng_state()}, {"losses": [0.1] * step}
    )


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "checkpoints", pause=0)


def test_the_newest_is_read_as_it_was_written(checkpoints: Checkpoints) -> None:
    for step in (9, 10, 200):
        checkpoints.write(checkpoint(step))
    found = checkpoints.newest()
    assert found is not None
    assert (found.step, found.document) == (200, {"losses": [0.1] * 200})
    assert torch.equal(found.tensors["a"], torch.full((100,), 200.0))
    assert found.tensors["state"].dtype == torch.uint8


def test_only_the_last_ones_are_kept(checkpoints: Checkpoints, tmp_path: Path) -> None:
    for step in range(1, 6):
        checkpoints.write(checkpoint(step))
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["000000004", "000000005"]
    assert KEPT == 2


def test_there_is_none_at_first(checkpoints: Checkpoints) -> None:
    assert checkpoints.newest() is None


@pytest.mark.parametrize("name", ["tensors.safetensors", "document.json"])
@pytest.mark.parametrize("tear", ["empty", "half", "gone"])
def test_a_torn_one_is_skipped_and_the_log_says_so(
    checkpoints: Checkpoints, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, tear: str
) -> None:
    checkpoints.write(checkpoint(10))
    checkpoints.write(checkpoint(20))
    file = tmp_path / "checkpoints" / "000000020" / name
    if tear == "gone":
        file.unlink()
    else:
        os.truncate(file, 0 if tear == "empty" else file.stat().st_size // 2)
    found = checkpoints.newest()
    assert found is not None
    assert found.step == 10
    assert "the checkpoint of step 000000020 is torn" in caplog.text
    checkpoints.write(checkpoint(20))
    again = checkpoints.newest()
    assert again is not None
    assert again.step == 20


def test_what_a_kill_left_half_written_is_no_checkpoint(checkpoints: Checkpoints, tmp_path: Path) -> None:
    half = tmp_path / "checkpoints" / ".half"
    half.mkdir()
    (half / "tensors.safetensors").write_bytes(b"x")
    assert checkpoints.newest() is None
    checkpoints.write(checkpoint(1))
    assert not half.exists()


def test_writing_takes_a_small_share_of_the_time(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints", pause=3600)
    assert not checkpoints.due
    often = Checkpoints(tmp_path / "checkpoints", pause=0)
    assert often.due
    often.write(checkpoint(1))
    assert not often.due  # writing took a moment, and twenty such are to pass

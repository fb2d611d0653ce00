import io
from pathlib import Path

import pytest

from modelyard.workloads.cleanroom.answers import Answers, Budget, OutputTooLarge


def test_a_file_is_seen_when_it_is_finished(tmp_path: Path) -> None:
    answers = Answers(tmp_path / "out", Budget(100))
    file = answers.open("part-00000.csv")
    file.add(io.BytesIO(b"one"))
    file.add(io.BytesIO(b""))
    file.add(io.BytesIO(b"two\n"))
    assert not answers.done("part-00000.csv")
    file.finish()

    assert answers.done("part-00000.csv")
    assert answers.publish(tmp_path / "published") == 8
    assert (tmp_path / "published" / "part-00000.csv.out").read_text() == "one\ntwo\n"


def test_what_an_attempt_has_left_half_is_thrown_away(tmp_path: Path) -> None:
    first = Answers(tmp_path / "out", Budget(100))
    done, half = first.open("part-00000.csv"), first.open("part-00001.csv")
    done.add(io.BytesIO(b"done\n"))
    half.add(io.BytesIO(b"half\n"))
    done.finish()
    half.discard()
    (tmp_path / "out" / "part-00002.csv.half").write_text("killed here")
    budget = Budget(10)
    second = Answers(tmp_path / "out", budget)

    assert [path.name for path in (tmp_path / "out").iterdir()] == ["part-00000.csv.out"]
    assert not second.done("part-00002.csv")
    with pytest.raises(OutputTooLarge):
        budget.spend(6)  # what is done counts


def test_a_budget_gets_back_what_was_not_used() -> None:
    budget = Budget(10)
    budget.spend(10)
    budget.spend(-4)
    budget.spend(4)
    with pytest.raises(OutputTooLarge):
        budget.spend(1)

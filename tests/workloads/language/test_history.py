import csv
import math
from pathlib import Path

import pytest

from modelyard.workloads.language.history import EarlyStopping, History


def history(*validation: float) -> History:
    return History(2, validation=[{"validation-0": loss} for loss in validation])


class TestEarlyStopping:
    RULE = EarlyStopping(threshold=0.1, patience=2)

    @pytest.mark.parametrize(
        ("losses", "stops"),
        [
            ((), False),
            ((1.0, 0.8, 0.6, 0.4), False),
            ((1.0, 0.95), False),
            ((1.0, 0.95, 0.91), True),
            ((1.0, 0.95, 0.89), False),
            ((1.0, 2.0, 3.0), True),
        ],
    )
    def test_waits_for_an_improvement_of_the_threshold(self, losses: tuple[float, ...], stops: bool) -> None:
        assert history(*losses).stops(self.RULE) is stops

    def test_needs_a_rule_and_validation_data(self) -> None:
        assert not history(1.0, 2.0, 3.0).stops(None)
        assert not History(2, validation=[{}, {}, {}]).stops(self.RULE)


def test_the_training_loss_is_the_mean_of_the_last_epoch() -> None:
    assert History(3, losses=[9.0, 9.0, 9.0, 1.0, 2.0, 3.0]).training_loss == 2.0
    assert History(3, losses=[9.0, 9.0, 9.0, 1.0]).training_loss == 1.0


def test_the_files_have_amazons_columns(tmp_path: Path) -> None:
    validation = [{"validation-0": 2.5}, {"validation-0": 1000.0}]
    told = History(2, losses=[4.0, 3.0, 2.0, 1.0], validation=validation, before={"validation-0": 5.0})
    told.write(tmp_path / "metrics")
    with (tmp_path / "metrics" / "training.csv").open() as file:
        training = list(csv.DictReader(file))
    assert list(training[0]) == ["step_number", "epoch_number", "training_loss", "perplexity"]
    assert [(int(row["step_number"]), int(row["epoch_number"])) for row in training] == [(0, 0), (1, 0), (2, 1), (3, 1)]
    assert float(training[1]["perplexity"]) == math.exp(3.0)
    with (tmp_path / "metrics" / "validation-0.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["step_number", "epoch_number", "validation_loss", "perplexity"]
    assert [(row["step_number"], row["validation_loss"]) for row in rows] == [("1", "2.5"), ("3", "1000.0")]
    with (tmp_path / "metrics" / "before-validation-0.csv").open() as file:
        assert [row["validation_loss"] for row in csv.DictReader(file)] == ["5.0"]


def test_a_document_brings_everything_back() -> None:
    told = History(2, losses=[1 / 3, 2 / 7], validation=[{"validation-0": 0.1}], tokens=12)
    assert History.from_document(told.document()) == told

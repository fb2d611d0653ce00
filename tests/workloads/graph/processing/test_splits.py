import numpy as np
import pytest

from modelyard.workloads.graph.data import TEST, TRAIN, VALID
from modelyard.workloads.graph.processing.splits import random_split


def counts(split: np.ndarray) -> tuple[int, int, int]:
    return tuple(int((split == code).sum()) for code in (TRAIN, VALID, TEST))


@pytest.mark.parametrize(
    ("size", "rates", "expected"),
    [
        (1000, (0.9, 0.1, 0.0), (900, 100, 0)),
        (1000, (0.7, 0.1, 0.2), (700, 100, 200)),
        (1000, (1.0, 0.0, 0.0), (1000, 0, 0)),
        (10, (0.9, 0.05, 0.05), (9, 1, 0)),
        (2, (0.9, 0.1, 0.0), (1, 1, 0)),
        (1, (0.9, 0.1, 0.0), (1, 0, 0)),
        (0, (0.9, 0.1, 0.0), (0, 0, 0)),
        (10, (0.5, 0.0, 0.5), (5, 0, 5)),
    ],
)
def test_parts_have_the_sizes_that_the_rates_give(
    size: int, rates: tuple[float, float, float], expected: tuple[int, int, int]
) -> None:
    assert counts(random_split(np.zeros(size), rates, np.random.default_rng(0))) == expected


def test_every_group_is_spread_in_the_same_shares() -> None:
    groups = np.repeat([0, 1, 2], [1000, 100, 20])
    split = random_split(groups, (0.8, 0.1, 0.1), np.random.default_rng(1))
    for group, size in ((0, 1000), (1, 100), (2, 20)):
        _, valid, test = counts(split[groups == group])
        assert valid == pytest.approx(size / 10, abs=2)
        assert test == pytest.approx(size / 10, abs=2)
    assert counts(split) == (896, 112, 112)


def test_a_class_of_one_is_for_training() -> None:
    groups = np.concatenate([np.zeros(50), np.arange(1, 51)])
    for seed in range(20):
        split = random_split(groups, (0.6, 0.2, 0.2), np.random.default_rng(seed))
        assert (split[50:] == TRAIN).all()


def test_the_same_seed_gives_the_same_split_and_another_one_another() -> None:
    first, same, other = (
        random_split(np.zeros(100), (0.5, 0.3, 0.2), np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    assert (first == same).all()
    assert (first != other).any()


def test_any_row_may_be_held_out() -> None:
    held = sum(random_split(np.zeros(20), (0.5, 0.5, 0.0), np.random.default_rng(seed)) == VALID for seed in range(100))
    assert held.min() > 20
    assert held.max() < 80

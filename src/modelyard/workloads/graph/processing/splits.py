"""Which rows are for training, for validation and for the test: at random, or as the user's files say."""

import numpy as np

from modelyard.workloads.graph.data import NONE, TEST, TRAIN, VALID
from modelyard.workloads.graph.processing.table import Batch

SPLIT = {"train": TRAIN, "valid": VALID, "test": TEST}


def random_split(groups: np.ndarray, rates: tuple[float, float, float], random: np.random.Generator) -> np.ndarray:
    """uint8 `[num_rows]`, one of TRAIN, VALID and TEST for each row, in the shares `rates`.

    Rows of one group (a class, an edge type) are spread over the splits in the same shares, to within one
    row, and the sums over all groups are exact: rows sorted by group, shuffled within, are held out at even
    distances. The first row of every group is for training, so that no class is met in the test only. A
    validation part above zero holds at least one row, if there is one.
    """
    _, valid, test = rates
    order = random.permutation(len(groups))
    order = order[np.argsort(groups[order], kind="stable")]
    first = np.ones(len(order), bool)
    first[1:] = groups[order[1:]] != groups[order[:-1]]
    free = order[~first]
    num_held = min(len(free), max(round((valid + test) * len(groups)), int(valid + test > 0)))
    num_test = min(round(test * len(groups)), num_held - int(valid > 0 and num_held > 0))
    held = free[_evenly(len(free), num_held, random)]
    split = np.full(len(groups), TRAIN, np.uint8)
    split[held] = VALID
    split[held[_evenly(len(held), num_test, random)]] = TEST
    return split


def mark(split: np.ndarray, rows: np.ndarray, code: int, batch: Batch, column: str) -> None:
    """Puts the rows that a batch of a split file names into a split. Raises InputError if one is in another
    already.
    """
    taken = (split[rows] != NONE) & (split[rows] != code)
    if taken.any():
        row = int(taken.argmax())
        other = next(part for part, number in SPLIT.items() if number == split[rows[row]])
        raise batch.fault(row, column, f"is also in the {other} split")
    split[rows] = code


def _evenly(length: int, count: int, random: np.random.Generator) -> np.ndarray:
    """`count` of `length` places, at even distances from a random start."""
    if count <= 0:
        return np.empty(0, np.int64)
    return ((np.arange(count) + random.random()) * length / count).astype(np.int64)

"""Pairs of nodes: which edges of one type join the same two, and which split an earlier job gave to a pair.

Edges of one pair share a split, in both directions where the type joins nodes of one type: else a copy of a held-out
edge, or its reverse, would stay among the edges that carry messages.
"""

import numpy as np

from modelyard.workloads.graph.data import NONE

Key = tuple[str, str, str]


def pair_codes(key: Key, edge_index: np.ndarray, num_dests: int) -> np.ndarray:
    """A number for each edge that all edges of the same two nodes share; int64 `[num_edges]`."""
    source, dest = edge_index
    if key[0] == key[2]:
        source, dest = np.minimum(source, dest), np.maximum(source, dest)
    return np.asarray(source * num_dests + dest)


def known_splits(key: Key, pairs: np.ndarray, num_dests: int, edge_index: np.ndarray, split: np.ndarray) -> np.ndarray:
    """The splits that an earlier job gave to `pairs`, uint8 `[num_pairs]`; NONE for those that it gave none.

    pairs: as `pair_codes` numbers them. edge_index, split: the edges of the earlier job.
    """
    found = np.full(len(pairs), NONE, np.uint8)
    edge_index, split = edge_index[:, split != NONE], split[split != NONE]
    if len(split):
        old, first = np.unique(pair_codes(key, edge_index, num_dests), return_index=True)
        places = np.minimum(np.searchsorted(old, pairs), len(old) - 1)
        same = old[places] == pairs
        found[same] = split[first][places[same]]
    return found

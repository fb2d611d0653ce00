"""The parts of search spaces that graph neural networks share, as `model-hpo-configuration.json` holds them.

What differs from AWS's sample, and why (measured on a citation graph unless said): 200 epochs at most rather than 3 to
30, with an early-stop window of 80 evaluations rather than 3, since a window of 3 stops in the noise of the first
epochs (77.6 rather than 82.3 % right); weight decay, since labelled nodes are few; no layer normalisation (80.2 with
it) and no embeddings beside features (80.6 with them); one step an epoch wherever the targets fit. Dropout is 0.7 where
neighbours have like labels, so that what one node loses its neighbours bring (best on made graphs of that kind, too),
else 0.5. Link prediction takes every node of the type as a negative while that fits (`num-negs` 0), a learning rate
around 0.01, and bases where relations are many. Edge tasks have little dropout and no layer normalisation: on made
ratings either costs a regression half of what it explains (0.50 rather than 0.95), while some of both kinds of decay
helps where ratings are few and noisy.
"""

import math
from typing import Any

from modelyard.workloads.graph.data import TRAIN, Graph
from modelyard.workloads.graph.training.adjacency import decide_relations

TIERS = ("1-tier-param", "2-tier-param", "3-tier-param")
FIXED = "fixed-param"
_SCORES_THAT_FIT = 1 << 26
_FULL_BATCH = 1 << 23
_STEPS = 20

Tiers = dict[str, list[dict[str, Any]]]
"""The entries of each tier, by the tier's name."""


def entry(name: str, kind: str, default: Any, **choice: Any) -> dict[str, Any]:
    """One entry: AWS's name, `bool`, `int` or `float`, the default, and `range` or `options` if it is tuned."""
    return {"param": name, "type": kind, **choice, "default": default}


_DEPTH = entry("num-layer", "int", 2, range=[1, 3], inc_strategy="linear", inc_val=1)


def node_tiers(graph: Graph) -> Tiers:
    """The tiers of a node task."""
    dropout = 0.7 if any(relation.self_loops for relation in decide_relations(graph)) else 0.5
    return _property_tiers(
        graph,
        entry("num-hidden", "int", 32, range=[16, 64], inc_strategy="power2"),
        entry("dropout", "float", dropout, range=[0.2, 0.8], inc_strategy="linear"),
    )


def link_tiers(graph: Graph) -> Tiers:
    """The tiers of link prediction."""
    targets = [one for one in graph.edge_types if one.target]
    ends = {name for one in targets for name in (one.source, one.dest)}
    candidates = max((one.num_nodes for one in graph.node_types if one.name in ends), default=1)
    edges = sum(one.num_edges for one in targets)
    fits = 2 * edges * candidates <= _SCORES_THAT_FIT
    batch = edges if fits else min(edges, max(1024, edges // _STEPS))
    return {
        TIERS[0]: [
            entry("num-hidden", "int", 64, range=[32, 128], inc_strategy="power2"),
            entry("num-epochs", "int", 300, range=[200, 300], inc_strategy="linear", inc_val=50),
            entry("lr", "float", 0.01, range=[0.005, 0.02], inc_strategy="log"),
        ],
        TIERS[1]: [
            entry("dropout", "float", 0.2, range=[0.0, 0.4], inc_strategy="linear"),
            entry("layer-norm", "bool", True),
            entry("regularization-coef", "float", 0.0, options=[0.0, 1e-4, 1e-3]),
        ],
        TIERS[2]: [_batch_size(batch), _DEPTH],
        FIXED: [
            entry("num-negs", "int", 0 if fits else 1000),
            entry("neg-share", "bool", True),
            entry("concat-node-embed", "bool", False),
            entry("use-self-loop", "bool", True),
            entry("l2norm", "float", 0.0),
            entry("enable-early-stop", "bool", True),
            entry("window-for-early-stop", "int", 100),
        ],
    }


def edge_tiers(graph: Graph) -> Tiers:
    """The tiers of an edge task."""
    return _property_tiers(
        graph,
        entry("num-hidden", "int", 64, range=[32, 128], inc_strategy="power2"),
        entry("dropout", "float", 0.2, range=[0.0, 0.5], inc_strategy="linear"),
    )


def _property_tiers(graph: Graph, hidden: dict[str, Any], dropout: dict[str, Any]) -> Tiers:
    """What the properties of nodes and those of edges are both learned with."""
    return {
        TIERS[0]: [
            hidden,
            entry("num-epochs", "int", 200, range=[100, 200], inc_strategy="linear", inc_val=50),
            entry("lr", "float", 0.01, range=[0.005, 0.02], inc_strategy="log"),
        ],
        TIERS[1]: [dropout, entry("layer-norm", "bool", False)],
        TIERS[2]: [_batch_size(int((graph.labels()["split"] == TRAIN).sum())), _DEPTH],
        FIXED: [
            entry("concat-node-embed", "bool", False),
            entry("use-self-loop", "bool", True),
            entry("l2norm", "float", 1e-3),
            entry("enable-early-stop", "bool", True),
            entry("window-for-early-stop", "int", 80),
        ],
    }


def is_large(graph: Graph) -> bool:
    """Whether a step over the whole graph would take too much memory: more than 8 million nodes and messages.

    Every edge is two messages, one each way. A step with 64 hidden channels needs about a kilobyte for each.
    """
    nodes = sum(one.num_nodes for one in graph.node_types)
    return nodes + 2 * sum(one.num_edges for one in graph.edge_types) > _FULL_BATCH


def sampled(tiers: Tiers) -> Tiers:
    """The tiers as they suit a large graph: neighbours are sampled, and an epoch is many small steps."""
    tiers = replaced(
        tiers,
        entry("num-epochs", "int", 20, range=[10, 30], inc_strategy="linear", inc_val=5),
        entry("batch-size", "int", 1024, range=[512, 4096], inc_strategy="power2"),
        entry("window-for-early-stop", "int", 5),
    )
    return extended(tiers, FIXED, entry("fanout", "int", [10, 15, 15]), entry("low-mem", "bool", True))


def replaced(tiers: Tiers, *entries: dict[str, Any]) -> Tiers:
    """The tiers with other entries in the places of those of the same names."""
    changed = {one["param"]: one for one in entries}
    return {tier: [changed.get(one["param"], one) for one in old] for tier, old in tiers.items()}


def extended(tiers: Tiers, tier: str, *entries: dict[str, Any]) -> Tiers:
    """The tiers with more entries at the end of one of them."""
    return {**tiers, tier: [*tiers[tier], *entries]}


def _batch_size(targets: int) -> dict[str, Any]:
    """All targets in one step by default, down to a quarter of them when tuned."""
    whole = 2 ** max(7, math.ceil(math.log2(max(1, targets))))
    return entry("batch-size", "int", whole, range=[max(128, whole // 4), whole], inc_strategy="power2")

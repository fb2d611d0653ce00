"""R-GCN with hundreds of relations: our layer beside PyTorch Geometric's `RGCNConv`, forward and backward.

A graph of the size of a usual knowledge graph: 15,000 entities, 237 relations (474 with their reverses), 270,000
triples, drawn at random; relations and tails are as uneven as they are in knowledge graphs. 32 channels and 8 bases as
in the paper, and without bases. One thread. Both layers have the same weights, and their outputs and gradients are
compared first.
"""

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from rounds import Bar, Report, main
from torch import Tensor, nn
from torch_geometric.nn import FastRGCNConv, RGCNConv

from modelyard.workloads.graph.models.rgcn import RGCNLayer
from modelyard.workloads.graph.training.heap import keep_freed_memory
from modelyard.workloads.graph.training.tensors import GraphTensors, SparseMatrix

CHANNELS = 32


def triples(entities: int, relations: int, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Source, relation and destination of both directions of `count` triples, by relation and destination."""
    random = np.random.default_rng(seed)
    kind = random.choice(relations, count, p=_uneven(relations))
    head, tail = random.integers(0, entities, count), random.choice(entities, count, p=_uneven(entities))
    source, dest = np.concatenate([head, tail]), np.concatenate([tail, head])
    kind = np.concatenate([kind, kind + relations])
    order = np.lexsort((source, dest, kind))
    return source[order], kind[order], dest[order]


def _uneven(count: int) -> np.ndarray:
    share = 1 / (np.arange(count) + 10)
    return share / share.sum()


def run(quick: bool) -> Report:
    """Times both layers in turn."""
    torch.set_num_threads(1)
    keep_freed_memory()
    torch.manual_seed(0)
    entities, relations, count = (1500, 237, 20_000) if quick else (15_000, 237, 270_000)
    source, kind, dest = triples(entities, relations, count)
    graph = stacked(source, kind, dest, entities, 2 * relations)
    edge_index, edge_type = torch.from_numpy(np.stack([source, dest])), torch.from_numpy(kind)
    x = torch.randn(entities, CHANNELS, requires_grad=True)
    report = Report(f"R-GCN layer, {2 * relations} relations, {2 * count} edges")
    for bases in (8, 0):
        ours = RGCNLayer(CHANNELS, CHANNELS, 2 * relations, bases)
        sides: dict[str, Callable[[], Tensor]] = {"modelyard": partial(ours, x, graph)}
        for kind_of in (RGCNConv, FastRGCNConv):
            theirs = copied(ours, kind_of(CHANNELS, CHANNELS, 2 * relations, bases or None))
            sides[kind_of.__name__] = partial(theirs, x, edge_index, edge_type)
        if bases == 0 and not quick:
            del sides["FastRGCNConv"]  # it stores a matrix for each edge
        label = f", {bases} bases" if bases else ", no bases"
        difference = max(largest(sides["modelyard"], other, x) for other in sides.values())
        report.measure({f"{name}{label}": partial(timed, side, x) for name, side in sides.items()}, 3)
        ratio = report.round_ratio("ms", f"RGCNConv{label}", f"modelyard{label}")
        report.bars += [
            Bar(f"RGCNConv's time over ours{label}", ratio, low=3),
            Bar(f"outputs and gradients differ by{label}", difference, high=1e-5),
        ]
    return report


def stacked(source: np.ndarray, kind: np.ndarray, dest: np.ndarray, entities: int, relations: int) -> GraphTensors:
    """Our form of the edges: a row for each (relation, destination), the mean over its sources."""
    rows, row, degree = np.unique(kind * entities + dest, return_inverse=True, return_counts=True)
    matrix = SparseMatrix.from_entries(row, source, 1 / degree[row], (len(rows), entities), torch.device("cpu"))
    sizes = np.bincount(rows // entities, minlength=relations)
    return GraphTensors((entities,), ((),), matrix, tuple(sizes.tolist()), torch.from_numpy(rows % entities), None)


def copied(ours: RGCNLayer, theirs: nn.Module) -> nn.Module:
    """PyG's layer with our weights."""
    with torch.no_grad():
        theirs.weight.copy_(ours.weight)
        theirs.root.copy_(ours.self_weight)
        if ours.coefficient is not None:
            theirs.comp.copy_(ours.coefficient)
    return theirs


def largest(one: Callable[[], Tensor], other: Callable[[], Tensor], x: Tensor) -> float:
    """The largest difference of two layers' outputs and gradients (with respect to `x`), over the largest value."""
    outputs = one(), other()
    gradients = [torch.autograd.grad(output.square().sum(), x)[0] for output in outputs]
    return max(float((a - b).detach().abs().max() / a.detach().abs().max()) for a, b in (outputs, gradients))


def timed(layer: Callable[[], Tensor], x: Tensor) -> dict[str, float]:
    layer().sum().backward()
    began = time.perf_counter()
    x.grad = None
    layer().sum().backward()
    return {"ms": (time.perf_counter() - began) * 1e3}


if __name__ == "__main__":
    main(run, __doc__)

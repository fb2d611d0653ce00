"""Large graphs: an epoch on the whole AWS API graph beside PyTorch Geometric, and how epochs grow with the edges.

The AWS API graph (`examples/aws_api_graph.py`, every shape): two R-GCN layers of 32 channels over every edge type and
its reverse, one step over all training targets and one pass to predict. The plain sides compute the same function:
`RGCNConv` over one edge list, and `HeteroConv` of a `SAGEConv` a relation whose edges are sorted and whose transposes
are cached (`EdgeIndex`), which multiplies sparse matrices and is the fastest that we could write. One thread.

Random graphs of three node types (one without features) and four edge types, ten edges a node, from 10^5 edges to
10^7: `whole` is a step over the whole graph and a pass to predict, `sampled` an epoch over a hundredth as many targets
as edges in batches of 1,024 with a fanout of [10, 15]; samples are judged from 10^6 edges on, since of a smaller graph
one batch sees everything. Linear growth is a constant time an edge, which no memory gives: `product`, the sum of the
neighbours' vectors once over all edges and nothing else, shows what caches make of it. Each is timed after an epoch
that is not.
"""

import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from graph_tasks import processed
from rounds import Bar, Report, main
from safetensors.numpy import save_file
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric import EdgeIndex
from torch_geometric.nn import HeteroConv, RGCNConv, SAGEConv

from modelyard.workloads.graph.data import TRAIN, EdgeType, Feature, Graph, NodeType, Task, read_graph, write_graph
from modelyard.workloads.graph.models.rgcn import RGCN
from modelyard.workloads.graph.training.adjacency import build_adjacency, decide_relations, node_offsets
from modelyard.workloads.graph.training.heap import keep_freed_memory
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters
from modelyard.workloads.graph.training.objectives import objective_for
from modelyard.workloads.graph.training.passes import passes_for
from modelyard.workloads.graph.training.train import dimensions_of, optimizer_for

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from aws_api_graph import write_graph as write_aws_api_graph

HIDDEN, DROPOUT, LR = 32, 0.5, 0.01
CPU = torch.device("cpu")


def run(quick: bool) -> Report:
    """The AWS API graph, then each size."""
    torch.set_num_threads(1)
    keep_freed_memory()
    report = Report("Large graphs")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        beside_pyg(report, folder, depth=1 if quick else 20, rounds=1 if quick else 5)
        grow(report, folder, [10_000, 100_000] if quick else [100_000, 1_000_000, 10_000_000])
    return report


def beside_pyg(report: Report, folder: Path, depth: int, rounds: int) -> None:
    write_aws_api_graph(folder / "export", depth)
    graph = read_graph(processed(folder / "export", folder / "processed"))
    sides: dict[str, Callable[[], None]] = {
        "modelyard": ours(
            graph, Hyperparameters(num_hidden=HIDDEN, dropout=DROPOUT, lr=LR, batch_size=1 << 20), folder
        ),
        "SAGEConv a relation": plain(graph, PerRelation(graph)),
        "RGCNConv": plain(graph, OneList(graph)),
    }
    report.measure({f"{name}, AWS API": partial(timed, side, 1, graph) for name, side in sides.items()}, rounds)
    best = min(report.medians[f"{name}, AWS API"]["epoch s"] for name in list(sides)[1:])
    report.bars.append(
        Bar("our epoch over the best plain one's", report.medians["modelyard, AWS API"]["epoch s"] / best, high=1.0)
    )


def grow(report: Report, folder: Path, sizes: list[int]) -> None:
    for edges in sizes:
        graph = random_graph(folder / f"random-{edges}", edges)
        settings = Hyperparameters(num_hidden=HIDDEN, dropout=DROPOUT, lr=LR, batch_size=edges)
        samples = Hyperparameters(num_hidden=HIDDEN, dropout=DROPOUT, lr=LR, batch_size=1024, fanout=(10, 15))
        steps = 3 if edges <= 1_000_000 else 1
        report.measure({f"whole, {edges:.0e} edges": partial(timed, ours(graph, settings, folder), steps, graph)}, 1)
        sampled = ours(graph, samples, folder, predict=False)
        report.measure({f"sampled, {edges:.0e} edges": partial(timed, sampled, 1, graph)}, 1)
        report.measure({f"product, {edges:.0e} edges": partial(timed, product(graph), 5, graph)}, 1)
    for form, smaller in (("whole", sizes[0]), ("sampled", sizes[-2])):
        ours_grew, memory_grew = (
            report.medians[f"{one}, {sizes[-1]:.0e} edges"]["ns an edge"]
            / report.medians[f"{one}, {smaller:.0e} edges"]["ns an edge"]
            for one in (form, "product")
        )
        change = f"{sizes[-1]:.0e} over {smaller:.0e} edges"
        report.bars.append(Bar(f"{form}: time an edge, {change}", ours_grew, high=max(2.0, memory_grew)))


def ours(graph: Graph, settings: Hyperparameters, folder: Path, predict: bool = True) -> Callable[[], None]:
    """An epoch of our R-GCN."""
    adjacency = build_adjacency(graph, tuple(one for one in decide_relations(graph) if one.direction != "merged"))
    scratch = Path(tempfile.mkdtemp(dir=folder))
    objective = objective_for(graph, settings, CPU)
    passes = passes_for(graph, adjacency, settings, CPU, 0, scratch, objective.targets())
    model = RGCN(dimensions_of(graph, adjacency, objective), settings, bool(adjacency.own.any()), passes.tables)
    model.encoder.standardise(passes.typical())
    optimizer = optimizer_for(nn.ModuleDict({"model": model}), model, settings)

    def epoch() -> None:
        model.train()
        for batch in objective.batches():
            optimizer.zero_grad()
            passes.loss(model, objective, batch).backward()
            optimizer.step()
            for table in passes.tables.values():
                table.step(settings.lr)
        if predict:
            passes.outputs(model.eval())

    return epoch


def product(graph: Graph) -> Callable[[], None]:
    """The sum of the neighbours' vectors, once over all edges: one product with a sparse matrix."""
    ends = torch.from_numpy(np.concatenate([one_numbering(graph, one) for one in range(len(graph.edge_types))], axis=1))
    nodes = int(node_offsets(graph)[-1])
    matrix = torch.sparse_coo_tensor(ends, torch.ones(ends.size(1)), (nodes, nodes)).to_sparse_csr()
    x = torch.randn(nodes, HIDDEN)

    def multiply() -> None:
        matrix @ x

    return multiply


def plain(graph: Graph, model: nn.Module) -> Callable[[], None]:
    """An epoch of a plain script."""
    arrays = graph.labels()
    rows = torch.from_numpy(np.flatnonzero(arrays["split"] == TRAIN))
    labels = torch.from_numpy(arrays["labels"])
    optimizer = torch.optim.Adam(model.parameters(), lr=LR, fused=True)

    def epoch() -> None:
        model.train()
        optimizer.zero_grad()
        functional.cross_entropy(model()[rows], labels[rows]).backward()
        optimizer.step()
        with torch.no_grad():
            model.eval()()

    return epoch


class Plain(nn.Module):
    """What both plain models share: one projection a node type, and two layers."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.names = [one.name for one in graph.node_types]
        self.sizes = [one.num_nodes for one in graph.node_types]
        arrays = [graph.features(number) for number in range(len(self.names))]
        self.x = [
            torch.cat([torch.from_numpy(found[str(place)]) for place in range(len(one.features))], 1)
            for one, found in zip(graph.node_types, arrays, strict=True)
        ]
        self.encoders = nn.ModuleList(nn.Linear(x.size(1), HIDDEN) for x in self.x)
        self.target = graph.node_type_index(graph.task.node_type or "")
        self.classes = len(graph.task.classes)

    def encoded(self) -> list[Tensor]:
        return [encoder(x) for encoder, x in zip(self.encoders, self.x, strict=True)]

    def between(self, x: Tensor) -> Tensor:
        return functional.dropout(x.relu(), DROPOUT, self.training)


class OneList(Plain):
    """`RGCNConv` over all edges in one list."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        edges, kinds = [], []
        for number in range(len(graph.edge_types)):
            both = one_numbering(graph, number)
            edges += [both, both[::-1]]
            kinds += [np.full(both.shape[1], 2 * number), np.full(both.shape[1], 2 * number + 1)]
        self.edge_index = torch.from_numpy(np.concatenate(edges, 1))
        self.edge_type = torch.from_numpy(np.concatenate(kinds))
        relations = 2 * len(graph.edge_types)
        self.first = RGCNConv(HIDDEN, HIDDEN, relations)
        self.second = RGCNConv(HIDDEN, self.classes, relations)

    def forward(self) -> Tensor:
        x = self.between(self.first(torch.cat(self.encoded()), self.edge_index, self.edge_type))
        out: Tensor = self.second(x, self.edge_index, self.edge_type)
        return out.split(self.sizes)[self.target]


class PerRelation(Plain):
    """A `SAGEConv` a relation with the mean, over sorted edges; only what the target type needs in the last layer."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.edges: dict[tuple[str, str, str], EdgeIndex] = {}
        for number, one in enumerate(graph.edge_types):
            index = torch.from_numpy(graph.edges(number)["edge_index"])
            size = tuple(self.sizes[self.names.index(name)] for name in (one.source, one.dest))
            self.edges[one.key] = sorted_edges(index, size)
            self.edges[one.dest, f"rev-{one.relation}", one.source] = sorted_edges(index.flip(0), size[::-1])
        target = self.names[self.target]
        self.first = relations(list(self.edges), HIDDEN)
        self.second = relations([key for key in self.edges if key[2] == target], self.classes)
        self.own = nn.ModuleList([nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, self.classes)])

    def forward(self) -> Tensor:
        x = dict(zip(self.names, self.encoded(), strict=True))
        found = self.first(x, self.edges)
        x = {name: self.between(found[name] + self.own[0](x[name])) for name in self.names}
        target = self.names[self.target]
        out: Tensor = self.second(x, {key: edges for key, edges in self.edges.items() if key[2] == target})[target]
        return out + self.own[1](x[target])


def one_numbering(graph: Graph, number: int) -> np.ndarray:
    """`[2, num_edges]` of an edge type, where the nodes of all types are numbered on."""
    offsets = node_offsets(graph)
    ends = graph.edge_types[number].source, graph.edge_types[number].dest
    numbered: np.ndarray = graph.edges(number)["edge_index"] + [[offsets[graph.node_type_index(name)]] for name in ends]
    return numbered


def sorted_edges(index: Tensor, size: tuple[int, ...]) -> EdgeIndex:
    return EdgeIndex(index, sparse_size=size).sort_by("col")[0].fill_cache_()


def relations(keys: list[tuple[str, str, str]], channels: int) -> HeteroConv:
    """One weight a relation, and the sum over relations."""
    warnings.filterwarnings("ignore", "There exist node types", UserWarning)  # the last layer is for one type
    convs = {key: SAGEConv((HIDDEN, HIDDEN), channels, root_weight=False, bias=False) for key in keys}
    return HeteroConv(convs, aggr="sum")


def random_graph(folder: Path, edges: int, seed: int = 0) -> Graph:
    """A processed graph of about so many edges, whose labels are random too."""
    random = np.random.default_rng(seed)
    sizes = {"a": edges // 20, "b": edges // 40, "c": edges // 40}
    keys = [("a", "to", "b"), ("b", "to", "c"), ("c", "to", "a"), ("a", "near", "a")]
    (folder / "edges").mkdir(parents=True)
    for number, (source, _, dest) in enumerate(keys):
        ends = [random.integers(0, sizes[name], edges // len(keys)) for name in (source, dest)]
        save_file({"edge_index": np.stack(ends)}, folder / "edges" / f"{number}.safetensors")
    nodes = []
    for number, (name, count) in enumerate(sizes.items()):
        (folder / "nodes" / str(number)).mkdir(parents=True)
        features = (Feature("x", "numerical", 16),) if name != "c" else ()
        if features:
            dense = random.random((count, 16), np.float32)
            save_file({"0": dense}, folder / "nodes" / str(number) / "features.safetensors")
        nodes.append(NodeType(name, count, features))
    split = random.choice([0, 1, 2, 3], sizes["a"], p=[0.6, 0.2, 0.1, 0.1]).astype(np.uint8)
    labels = np.where(split == 0, -1, random.integers(0, 4, sizes["a"]))
    save_file({"labels": labels, "split": split}, folder / "labels.safetensors")
    edge_types = tuple(EdgeType(*key, edges // len(keys)) for key in keys)
    graph = Graph(folder, tuple(nodes), edge_types, Task("node_class", "a", "y", ("0", "1", "2", "3")))
    write_graph(graph)
    return graph


def timed(epoch: Callable[[], None], times: int, graph: Graph) -> dict[str, float]:
    edges = sum(one.num_edges for one in graph.edge_types)
    epoch()
    began = time.perf_counter()
    for _ in range(times):
        epoch()
    seconds = (time.perf_counter() - began) / times
    return {"epoch s": seconds, "ns an edge": seconds / edges * 1e9}


if __name__ == "__main__":
    main(run, __doc__)

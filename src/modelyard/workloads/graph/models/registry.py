"""The models by name, each imported when it is first asked for.

A new model is a class in a file of its own here, and a line in `_CLASSES`.
"""

from collections.abc import Iterator
from importlib import import_module
from typing import ClassVar, Literal, Protocol, cast

from modelyard.workloads.graph.data import Graph
from modelyard.workloads.graph.training.adjacency import decide_relations
from modelyard.workloads.graph.training.entries import Tiers

_CLASSES = {
    "rgcn": "modelyard.workloads.graph.models.rgcn:RGCN",
    "gcn": "modelyard.workloads.graph.models.gcn:GCN",
    "sage": "modelyard.workloads.graph.models.sage:SAGE",
    "gat": "modelyard.workloads.graph.models.gat:GAT",
    "hgt": "modelyard.workloads.graph.models.hgt:HGT",
    "complex": "modelyard.workloads.graph.models.complex:ComplEx",
    "rotate": "modelyard.workloads.graph.models.rotate:RotatE",
    "distmult": "modelyard.workloads.graph.models.distmult:DistMult",
    "transe": "modelyard.workloads.graph.models.transe:TransE",
}

NAMES = tuple(_CLASSES)
"""All models, in the order in which a default is looked for."""


class Model(Protocol):
    """What is known of a model before it is built; a class of `models/` is one.

    family: how it is trained. hyperparameters: the names that it takes.
    """

    family: ClassVar[Literal["gnn", "embedding"]]
    name: ClassVar[str]
    hyperparameters: ClassVar[frozenset[str]]

    @classmethod
    def fits(cls, graph: Graph) -> str | None:
        """Why the model cannot learn from a graph, as the end of "model … "; None if it can."""
        ...

    @classmethod
    def search_space(cls, graph: Graph) -> Tiers:
        """The tiers of `model-hpo-configuration.json` that suit a graph."""
        ...


def model_class(name: str) -> type[Model]:
    """The class of a model; KeyError if there is none of that name."""
    module, _, attribute = _CLASSES[name].partition(":")
    return cast("type[Model]", getattr(import_module(module), attribute))


def fitting(graph: Graph) -> Iterator[str]:
    """The models that can learn from a graph, those of its model type first; the first is the default."""
    names = [name for name in NAMES if model_class(name).fits(graph) is None]
    family = "embedding" if graph.model_type == "kge" else "gnn"
    best = _best(graph)
    return iter(sorted(names, key=lambda name: (model_class(name).family != family, name != best)))


def _best(graph: Graph) -> str:
    """The model that `benchmarks/graph_models.py` found best for graphs of a kind, by validation.

    In graphs of one node type and one edge type that is attention for classes of nodes and for numbers of edges: over
    neighbours in either direction alike for classes whose labels or edges say that directions mean nothing, else over
    both with matrices of their own. It knows no features of edges. Elsewhere R-GCN is as good on most graphs, and costs
    a fifth.
    """
    one_type = len(graph.node_types) == len(graph.edge_types) == 1 and not graph.edge_types[0].features
    if not one_type or graph.task.type not in ("node_class", "edge_regression"):
        return NAMES[0]
    merged = all(relation.direction == "merged" for relation in decide_relations(graph))
    return "gat" if graph.task.type == "node_class" and merged else "hgt"

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from modelyard.workloads.graph.models.complex import ComplEx
from modelyard.workloads.graph.models.distmult import DistMult
from modelyard.workloads.graph.models.embedding import Embedding, distance
from modelyard.workloads.graph.models.rotate import RotatE
from modelyard.workloads.graph.models.transe import TransE

RELATIONS, CHANNELS, NODES = 3, 5, 11


def complex_numbers(vectors: Tensor) -> Tensor:
    return torch.complex(vectors[..., ::2], vectors[..., 1::2])


def plain(model: Embedding, head: Tensor, vector: Tensor, other: Tensor) -> Tensor:
    """A triple's score by its formula."""
    if isinstance(model, DistMult):
        return (head * vector * other).sum()
    if isinstance(model, TransE):
        return -(head + vector - other).norm()
    ends = complex_numbers(head) * complex_numbers(vector)
    if isinstance(model, ComplEx):
        return (ends * complex_numbers(other).conj()).sum().real
    return -torch.linalg.vector_norm(ends - complex_numbers(other))


@pytest.fixture(params=[DistMult, ComplEx, TransE, RotatE])
def model(request: pytest.FixtureRequest) -> Embedding:
    torch.manual_seed(0)
    build = cast("Callable[[int, int], Embedding]", request.param)
    model = build(RELATIONS, CHANNELS)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model


def test_scores_are_those_of_the_formula(model: Embedding) -> None:
    nodes = torch.randn(NODES, model.parts * CHANNELS)
    question = torch.randint(0, 2 * RELATIONS, (NODES,))
    scores = model.scores(model.query(nodes, question), nodes)
    vectors = model.vectors().detach()[question]
    expected = [
        [plain(model, head, vector, other) for other in nodes] for head, vector in zip(nodes, vectors, strict=True)
    ]
    torch.testing.assert_close(scores, torch.tensor(expected), rtol=1e-4, atol=1e-4)
    pairs = model.score(model.query(nodes, question), nodes.flip(0))
    torch.testing.assert_close(pairs, scores.flip(1).diagonal(), rtol=1e-4, atol=1e-4)


def pyg(model: Embedding, nodes: Tensor) -> Any:
    """The same model of PyTorch Geometric, with the same weights."""
    from torch_geometric.nn import kge

    if isinstance(model, TransE):
        theirs: Any = kge.TransE(NODES, RELATIONS, CHANNELS, margin=0.0, p_norm=2.0)
    else:
        theirs = {DistMult: kge.DistMult, ComplEx: kge.ComplEx, RotatE: kge.RotatE}[type(model)](
            NODES, RELATIONS, CHANNELS, **({"margin": 0.0} if isinstance(model, RotatE) else {})
        )
    parts = [nodes] if model.parts == 1 else [nodes[:, ::2], nodes[:, 1::2]]
    with torch.no_grad():
        for name, part in zip(("node_emb", "node_emb_im"), parts, strict=False):
            getattr(theirs, name).weight.copy_(part)
        if isinstance(model, RotatE):
            theirs.rel_emb.weight.copy_(model.angle[:RELATIONS])
        else:
            theirs.rel_emb.weight.copy_(model.vectors()[:RELATIONS, :: model.parts])
        if isinstance(model, ComplEx):
            theirs.rel_emb_im.weight.copy_(model.vectors()[:RELATIONS, 1::2])
    return theirs


def test_scores_of_tails_equal_pygs(model: Embedding) -> None:
    nodes = torch.nn.functional.normalize(torch.randn(NODES, model.parts * CHANNELS))
    head, tail = torch.randint(0, NODES, (2, 50))
    kind = torch.randint(0, RELATIONS, (50,))
    ours = model.score(model.query(nodes[head], kind), nodes[tail])
    theirs = pyg(model, nodes)(head, kind, tail)
    shift = (ours - theirs).mean() if isinstance(model, RotatE) else torch.tensor(0.0)  # its margin has a default
    torch.testing.assert_close(ours - shift, theirs, rtol=1e-4, atol=1e-4)


def test_distances_and_their_gradients_are_euclidean() -> None:
    query, other = torch.randn(6, 4, requires_grad=True), torch.randn(9, 4, requires_grad=True)
    weight = torch.randn(6, 9)
    found = distance(query, other)
    (found * weight).sum().backward()
    ours = [query.grad, other.grad]
    query.grad = other.grad = None
    expected = torch.cdist(query, other)
    (expected * weight).sum().backward()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours, [query.grad, other.grad], rtol=1e-3, atol=1e-4)


def test_cubes_are_those_of_the_moduli() -> None:
    vectors = torch.tensor([[3.0, 4.0, 0.0, -1.0]])
    assert DistMult(1, 4).cubes(vectors).tolist() == [27 + 64 + 1]
    assert ComplEx(1, 2).cubes(vectors).tolist() == pytest.approx([125 + 1])


def test_they_learn_links_only() -> None:
    for task, fits in (("node_class", False), ("link_predict", True)):
        graph: Any = SimpleNamespace(task=SimpleNamespace(type=task))
        assert (ComplEx.fits(graph) is None) == fits

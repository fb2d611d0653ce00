import numpy as np
import pytest
import torch
from torch import Tensor

from modelyard.workloads.graph.training import ranks as module
from modelyard.workloads.graph.training.ranks import Ranking, Relations

USERS, FILMS = slice(0, 7), slice(7, 19)
RELATIONS = Relations((USERS, USERS, FILMS), (FILMS, USERS, FILMS))
"""Three relations: from users to films, among users, among films."""


def triples(count: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    kind = random.integers(0, len(RELATIONS), count)
    head = [random.integers(RELATIONS.sources[one].start, RELATIONS.sources[one].stop) for one in kind]
    tail = [random.integers(RELATIONS.dests[one].start, RELATIONS.dests[one].stop) for one in kind]
    return np.unique(np.stack([head, kind, tail]), axis=1)


class Table:
    """Scores that are what a table says; few values, so that many are equal."""

    def __init__(self, values: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.table = torch.randint(0, values, (6, FILMS.stop, FILMS.stop), generator=generator).float()

    def __call__(self, anchor: Tensor, question: Tensor, nodes: slice) -> Tensor:
        return self.table[question, anchor][:, nodes].clone()


def plain(known: np.ndarray, asked: np.ndarray, table: Table) -> list[float]:
    """Ranks by a loop."""
    true = {tuple(triple) for triple in known.T.tolist()}
    found = []
    for backwards in (False, True):
        for head, kind, tail in asked.T.tolist():
            anchor, answer = (tail, head) if backwards else (head, tail)
            question = kind + len(RELATIONS) * backwards
            span, row = RELATIONS.answers(question), table.table[question, anchor]
            others = [
                float(row[node])
                for node in range(span.start, span.stop)
                if ((node, kind, tail) if backwards else (head, kind, node)) not in true
            ]
            own = float(row[answer])
            found.append(1 + sum(one > own for one in others) + 0.5 * sum(one == own for one in others))
    return found


@pytest.mark.parametrize("at_once", [1, 40, 1 << 22])
@pytest.mark.parametrize("values", [3, 10_000])
def test_ranks_equal_those_of_a_loop(values: int, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SCORES_AT_ONCE", at_once)
    known, table = triples(150), Table(values)
    asked = known[:, ::3]
    found, loss = Ranking(known, RELATIONS).ranks(torch.from_numpy(asked), table)
    assert found.tolist() == plain(known, asked, table)
    assert loss == 0


def test_loss_is_the_cross_entropy_among_all_candidates() -> None:
    known, table = triples(60), Table(10)
    asked = known[:, :9]
    _, loss = Ranking(known, RELATIONS).ranks(torch.from_numpy(asked), table, losses=True)
    expected = []
    for backwards in (False, True):
        for head, kind, tail in asked.T.tolist():
            anchor, answer = (tail, head) if backwards else (head, tail)
            question = kind + len(RELATIONS) * backwards
            span = RELATIONS.answers(question)
            row = table.table[question, anchor][span].log_softmax(0)
            expected.append(-float(row[answer - span.start]))
    assert loss == pytest.approx(sum(expected) / len(expected), rel=1e-5)


def test_scores_that_are_no_numbers_never_help() -> None:
    known = np.array([[0], [0], [7]])

    def scores(anchor: Tensor, question: Tensor, nodes: slice) -> Tensor:
        return torch.full((len(anchor), nodes.stop - nodes.start), torch.nan)

    found, _ = Ranking(known, RELATIONS).ranks(torch.from_numpy(known), scores)
    assert found.tolist() == [12, 7]

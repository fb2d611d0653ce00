"""Filtered ranks of triples, for both of their ends, by blocks of matrix products.

A triple asks for its tail and for its head; the candidates are all nodes of that end's type. Every other true answer of
the whole graph is left out (Bordes et al. 2013, "filtered"), and candidates as good as the answer count half
(Berrendorf et al. 2020, "On the ambiguity of rank-based evaluation", "realistic"). Equal questions are asked once,
whatever the number of their answers, and the known answers of a question are one slice of an array.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Scores = Callable[[Tensor, Tensor, slice], Tensor]
"""Scores `[n, m]` of the candidates (m rows of nodes) for known ends `[n]` and questions `[n]`."""

_SCORES_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Relations:
    """The relations of triples; nodes of all types share one numbering.

    sources, dests: for each relation the rows of its heads' and of its tails' node type.
    """

    sources: tuple[slice, ...]
    dests: tuple[slice, ...]

    def __len__(self) -> int:
        return len(self.sources)

    def answers(self, question: int) -> slice:
        """The candidates of a question: r asks for tails of relation r, `len(self) + r` for heads."""
        return (*self.dests, *self.sources)[question]


@dataclass(frozen=True)
class Asked:
    """Questions whose answers are nodes of one type, each question once, and all answers that are wanted.

    anchor, question: `[num_questions]`, the known end and what is asked of it. of, answer, place: `[num_answers]`, the
    question that an answer belongs to, the answer, and its place among the tails, then heads, of all triples. nodes:
    the candidates.
    """

    anchor: Tensor
    question: Tensor
    of: Tensor
    answer: Tensor
    place: Tensor
    nodes: slice


def ask(triples: Tensor, relations: Relations) -> Iterator[Asked]:
    """The questions of triples (int64 `[3, n]`: head, relation, tail), by the type of their answers."""
    head, kind, tail = triples
    question = torch.cat([kind, kind + len(relations)])
    key, answer = torch.cat([head, tail]) * (2 * len(relations)) + question, torch.cat([tail, head])
    spans: dict[tuple[int, int], list[int]] = {}
    for number in range(2 * len(relations)):
        nodes = relations.answers(number)
        spans.setdefault((nodes.start, nodes.stop), []).append(number)
    for (start, stop), numbers in spans.items():
        place = torch.arange(len(key), device=key.device)
        if len(spans) > 1:
            chosen = torch.zeros(2 * len(relations), dtype=torch.bool)
            chosen[numbers] = True
            place = chosen.to(key.device)[question].nonzero()[:, 0]
        if len(place):
            keys, of = key[place].unique(return_inverse=True)
            parts = keys // (2 * len(relations)), keys % (2 * len(relations)), of, answer[place]
            yield Asked(*parts, place, slice(start, stop))


class Ranking:
    """Ranks triples against all nodes. triples: every true one, int64 `[3, n]`, of whatever split."""

    def __init__(self, triples: np.ndarray, relations: Relations) -> None:
        self._relations = relations
        head, kind, tail = triples
        self._questions = 2 * len(relations)
        key = np.concatenate([head * self._questions + kind, tail * self._questions + kind + len(relations)])
        answer = np.concatenate([tail, head])
        order = np.argsort(key, kind="stable")
        self._keys, begin = np.unique(key[order], return_index=True)
        self._begin = np.append(begin, len(order))
        self._answers = answer[order]

    @torch.no_grad()
    def ranks(self, triples: Tensor, scores: Scores, losses: bool = False) -> tuple[Tensor, float]:
        """Ranks `[2 * n]` of the tails, then of the heads, of triples `[3, n]`; 1 is best.

        With `losses` also the mean cross entropy of the answers among all candidates, else 0. A score that is not a
        number never helps: it counts as better than the answer's, and an answer without one comes last.
        """
        ranks, loss = torch.empty(2 * triples.size(1), dtype=torch.float64, device=triples.device), 0.0
        for asked in ask(triples, self._relations):
            loss += self._rank(asked, scores, ranks, losses)
        return ranks, loss / max(1, len(ranks))

    def _rank(self, asked: Asked, scores: Scores, ranks: Tensor, losses: bool) -> float:
        """Fills in the ranks of some answers; gives the sum of their cross entropies.

        Questions with most answers go first. So those that have a j-th answer are the first rows of a block, for each
        j, and no row of scores is ever copied.
        """
        count = torch.bincount(asked.of, minlength=len(asked.anchor))
        order = count.argsort(descending=True, stable=True)
        by_question = torch.empty_like(order)
        by_question[order] = torch.arange(len(order), device=order.device)
        by_answer = by_question[asked.of].argsort(stable=True)
        count, begin = count[order], torch.cat([count.new_zeros(1), count[order].cumsum(0)])
        width, offset, loss = asked.nodes.stop - asked.nodes.start, asked.nodes.start, 0.0
        step = max(1, _SCORES_AT_ONCE // width)
        compared = torch.empty(min(step, len(order)), width, device=order.device)
        for first in range(0, len(order), step):
            rows = order[first : first + step]
            inside = by_answer[begin[first] : begin[first + len(rows)]]
            of, answer = by_question[asked.of[inside]] - first, asked.answer[inside] - offset
            block = scores(asked.anchor[rows], asked.question[rows], asked.nodes)
            own = block[of, answer].nan_to_num(nan=-torch.inf)
            if losses:
                loss += float((block.logsumexp(1)[of] - own).sum())
            row, column = self._known(asked.anchor[rows], asked.question[rows])
            block.view(-1).index_fill_(0, row * width + (column - offset), -torch.inf)
            starts = begin[first : first + len(rows)] - begin[first]
            for nth in range(int(count[first])):
                there = int((count[first : first + len(rows)] > nth).sum())
                mine = starts[:there] + nth
                ranks[asked.place[inside[mine]]] = _ranked(block[:there], own[mine, None], compared[:there])
        return loss

    def _known(self, anchor: Tensor, question: Tensor) -> tuple[Tensor, Tensor]:
        """Rows and columns of all true answers to some questions."""
        place = np.searchsorted(self._keys, (anchor * self._questions + question).cpu().numpy())
        begin, count = self._begin[place], self._begin[place + 1] - self._begin[place]
        row = np.repeat(np.arange(len(place)), count)
        within = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        column = self._answers[np.repeat(begin, count) + within]
        return torch.from_numpy(row).to(anchor.device), torch.from_numpy(column).to(anchor.device)


def _ranked(scores: Tensor, own: Tensor, compared: Tensor) -> Tensor:
    """Ranks by comparison, as sums of floats, which are much faster than those of booleans."""
    not_better = torch.le(scores, own, out=compared).sum(1, dtype=torch.float32)
    equal = torch.eq(scores, own, out=compared).sum(1) * (own[:, 0] > -torch.inf)
    return (1 + scores.size(1) - not_better + 0.5 * equal).double()

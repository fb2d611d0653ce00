"""How good predictions are: the metrics of Neptune ML, and filtered ranks.

Written over tensors, for they run after every epoch: scikit-learn's checks alone take longer than a small graph's
epoch, and its import a second of each trial. The tests hold them against scikit-learn.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def class_metric(metric: str, scores: Tensor, labels: Tensor, topk: int = 1) -> float:
    """One metric of a classification; F1, precision, recall and roc_auc are macro averages.

    scores: logits `[n, num_classes]`. labels: int64 `[n]`, or 0/1 `[n, num_classes]` where a node may have several;
    then a class is predicted where its logit is above 0, and `acc` counts nodes whose whole set is right.
    """
    if metric == "roc_auc":
        return roc_auc(scores, labels)
    if metric == "acc_topk":
        top = scores.topk(min(topk, scores.size(1)), dim=1).indices
        return float(_membership(labels, scores.size(1)).gather(1, top).any(1).double().mean())
    truth, predicted = _membership(labels, scores.size(1)), _predicted(scores, labels)
    if metric == "acc":
        return float((truth == predicted).all(1).double().mean())
    counted = truth.any(0) | predicted.any(0) if labels.dim() == 1 else torch.ones_like(truth[0])
    precision, recall, f1 = _precision_recall_f1(truth, predicted)
    chosen = {"precision": precision, "recall": recall, "F1": f1}[metric]
    return float(chosen[counted].mean())


def classification_report(scores: Tensor, labels: Tensor, classes: Sequence[str]) -> dict[str, object]:
    """Precision, recall, f1-score and support of each class, their averages, accuracy and roc_auc.

    The keys are those of scikit-learn's `classification_report`, with `roc_auc_score` beside them, as Neptune ML's
    own toolkit writes it (`neptuneml_toolkit/metrics`).
    """
    truth, predicted = _membership(labels, scores.size(1)), _predicted(scores, labels)
    rows = torch.stack([*_precision_recall_f1(truth, predicted), truth.double().sum(0)], dim=1)
    report: dict[str, object] = {name: _row(row) for name, row in zip(classes, rows, strict=True)}
    support = rows[:, 3]
    weighted = (rows[:, :3] * support[:, None]).sum(0) / support.sum().clamp(min=1)
    report["accuracy"] = class_metric("acc", scores, labels)
    report["macro avg"] = _row(torch.cat([rows[:, :3].mean(0), support.sum()[None]]))
    report["weighted avg"] = _row(torch.cat([weighted, support.sum()[None]]))
    report["roc_auc_score"] = roc_auc(scores, labels)
    return report


def regression_report(predicted: Tensor, labels: Tensor) -> dict[str, float]:
    """Mean squared error, its root, mean absolute error and the share of variance explained."""
    error = (predicted - labels).double()
    mse = float((error**2).mean())
    spread = float(((labels - labels.mean()).double() ** 2).mean())
    r2 = 1 - mse / spread if spread else 0.0
    return {"mse": mse, "rmse": mse**0.5, "mae": float(error.abs().mean()), "r2": r2}


def roc_auc(scores: Tensor, labels: Tensor) -> float:
    """Area under the ROC curve: mean over classes, one against the rest; classes that are all or none are left out.

    Two classes that exclude each other are one question, asked once. 0.5 where nothing is left to ask.
    """
    if labels.dim() == 1:
        scores = scores.double().softmax(1)
    truth = _membership(labels, scores.size(1))
    if labels.dim() == 1 and scores.size(1) == 2:
        scores, truth = scores[:, 1:], truth[:, 1:]
    mixed = [one for one in range(scores.size(1)) if 0 < int(truth[:, one].sum()) < len(truth)]
    areas = [_area(scores[:, one], truth[:, one]) for one in mixed]
    return sum(areas) / len(areas) if areas else 0.5


def filtered_ranks(scores: Tensor, answer: Tensor, known: tuple[Tensor, Tensor]) -> Tensor:
    """Ranks `[n]` of the answers among all candidates, other known answers left out, ties counted half ("realistic").

    scores: `[n, num_candidates]`, changed in place. known: rows and columns of every true answer, the asked one
    included. Bordes et al. 2013 ("filtered"); Berrendorf et al. 2020, "On the ambiguity of rank-based evaluation". A
    score that is not a number never helps: it counts as better than the answer's, and an answer without one comes
    last.
    """
    own = scores.gather(1, answer[:, None]).nan_to_num(nan=-torch.inf, posinf=torch.inf)
    scores[known] = -torch.inf
    better = (~(scores <= own)).sum(1)
    equal = ((scores == own) & (own > -torch.inf)).sum(1)
    return 1 + better + 0.5 * equal


def rank_metrics(ranks: Tensor) -> dict[str, float]:
    """Mean reciprocal rank, hits at 1, 3 and 10, mean rank, by their short names."""
    ranks = ranks.double()
    hits = {f"hits@{k}": float((ranks <= k).double().mean()) for k in (1, 3, 10)}
    return {"mrr": float((1 / ranks).mean()), **hits, "mean_rank": float(ranks.mean())}


def rank_report(metrics: Mapping[str, float]) -> dict[str, float]:
    """Rank metrics under the keys that Neptune ML's metric files have, and plain `mrr`."""
    return {
        "mrr": metrics["mrr"],
        "mean reciprocal rank (MRR)": metrics["mrr"],
        "mean rank (MR)": metrics["mean_rank"],
        "HITS at top 1 (HITS@1)": metrics["hits@1"],
        "HITS at top 3 (HITS@3)": metrics["hits@3"],
        "HITS at top 10 (HITS@10)": metrics["hits@10"],
    }


def _membership(labels: Tensor, num_classes: int) -> Tensor:
    if labels.dim() == 2:
        return labels.bool()
    return labels[:, None] == torch.arange(num_classes, device=labels.device)


def _predicted(scores: Tensor, labels: Tensor) -> Tensor:
    return scores > 0 if labels.dim() == 2 else _membership(scores.argmax(1), scores.size(1))


def _precision_recall_f1(truth: Tensor, predicted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    right = (truth & predicted).sum(0).double()
    said, there = predicted.sum(0).double(), truth.sum(0).double()
    return right / said.clamp(min=1), right / there.clamp(min=1), 2 * right / (said + there).clamp(min=1)


def _area(scores: Tensor, truth: Tensor) -> float:
    """The Mann-Whitney statistic: how often a positive scores above a negative, ties counted half."""
    _, place, count = torch.unique(scores, return_inverse=True, return_counts=True)
    rank = (count.cumsum(0) - (count - 1) / 2)[place]
    positives = int(truth.sum())
    above = float(rank[truth].double().sum()) - positives * (positives + 1) / 2
    return above / (positives * (len(truth) - positives))


def _row(row: Tensor) -> dict[str, float]:
    precision, recall, f1, support = row.tolist()
    return {"precision": precision, "recall": recall, "f1-score": f1, "support": support}

import numpy as np
import pytest
import torch
from sklearn import metrics

from modelyard.workloads.graph.training import evaluate


@pytest.fixture(params=[2, 4])
def one_label(request: pytest.FixtureRequest) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(request.param)
    labels = torch.randint(request.param, (80,), generator=random)
    scores = torch.randn(80, request.param, generator=random)
    scores[torch.arange(80), labels] += 0.8
    return scores, labels


@pytest.fixture
def several_labels() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    labels = (torch.rand(80, 3, generator=random) < 0.3).float()
    return labels * 0.8 + torch.randn(80, 3, generator=random) - 0.4, labels


def test_one_label_as_scikit_learn(one_label: tuple[torch.Tensor, torch.Tensor]) -> None:
    scores, labels = one_label
    truth, predicted = labels.numpy(), scores.argmax(1).numpy()
    probability = scores.double().softmax(1).numpy()
    auc = probability[:, 1] if scores.size(1) == 2 else probability
    expected = {
        "acc": metrics.accuracy_score(truth, predicted),
        "F1": metrics.f1_score(truth, predicted, average="macro"),
        "precision": metrics.precision_score(truth, predicted, average="macro"),
        "recall": metrics.recall_score(truth, predicted, average="macro"),
        "roc_auc": metrics.roc_auc_score(truth, auc, multi_class="ovr"),
    }
    if scores.size(1) > 2:
        expected["acc_topk"] = metrics.top_k_accuracy_score(truth, probability, k=2)
    for name, value in expected.items():
        assert evaluate.class_metric(name, scores, labels, topk=2) == pytest.approx(value), name


def test_several_labels_as_scikit_learn(several_labels: tuple[torch.Tensor, torch.Tensor]) -> None:
    scores, labels = several_labels
    truth, predicted = labels.numpy(), (scores > 0).numpy()
    expected = {
        "acc": metrics.accuracy_score(truth, predicted),
        "F1": metrics.f1_score(truth, predicted, average="macro"),
        "precision": metrics.precision_score(truth, predicted, average="macro"),
        "recall": metrics.recall_score(truth, predicted, average="macro"),
        "roc_auc": metrics.roc_auc_score(truth, scores.numpy()),
    }
    for name, value in expected.items():
        assert evaluate.class_metric(name, scores, labels) == pytest.approx(value), name


def test_report_as_scikit_learn(one_label: tuple[torch.Tensor, torch.Tensor]) -> None:
    scores, labels = one_label
    names = [f"class {number}" for number in range(scores.size(1))]
    report = evaluate.classification_report(scores, labels, names)
    expected = metrics.classification_report(
        labels.numpy(), scores.argmax(1).numpy(), target_names=names, output_dict=True
    )
    for name in (*names, "macro avg", "weighted avg"):
        assert report[name] == pytest.approx(expected[name])
    assert report["accuracy"] == pytest.approx(expected["accuracy"])


def test_ties_in_the_area_count_half() -> None:
    scores = torch.tensor([[0.0, 0.5], [0.0, 0.5], [0.0, 0.2], [0.0, 0.9]])
    labels = torch.tensor([1, 0, 0, 1])
    assert evaluate.roc_auc(scores, labels) == pytest.approx(3.5 / 4)


def test_a_class_that_is_all_or_none_says_nothing_about_the_area() -> None:
    assert evaluate.roc_auc(torch.randn(5, 2), torch.ones(5, dtype=torch.int64)) == 0.5


def test_regression_as_scikit_learn() -> None:
    truth, predicted = torch.randn(30), torch.randn(30)
    report = evaluate.regression_report(predicted, truth)
    assert report["mse"] == pytest.approx(metrics.mean_squared_error(truth.numpy(), predicted.numpy()), rel=1e-5)
    assert report["mae"] == pytest.approx(metrics.mean_absolute_error(truth.numpy(), predicted.numpy()), rel=1e-5)
    assert report["r2"] == pytest.approx(metrics.r2_score(truth.numpy(), predicted.numpy()), rel=1e-4)


def test_ranks_by_hand() -> None:
    scores = torch.tensor(
        [
            [0.9, 0.5, 0.7, 0.1],  # 0 is another true answer: 1 is behind 2 only
            [0.3, 0.3, 0.3, 0.1],  # tied with two others: 1 + 2 * 0.5
            [0.1, 0.2, 0.3, 0.9],  # first
        ]
    )
    known = (torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 0, 3]))
    ranks = evaluate.filtered_ranks(scores, torch.tensor([1, 0, 3]), known)
    assert ranks.tolist() == [2.0, 2.0, 1.0]
    report = evaluate.rank_report(evaluate.rank_metrics(ranks))
    assert report["mrr"] == pytest.approx(np.mean([0.5, 0.5, 1]))
    assert report["HITS at top 1 (HITS@1)"] == pytest.approx(1 / 3)
    assert report["mean rank (MR)"] == pytest.approx(5 / 3)


def test_a_score_that_is_not_a_number_never_helps() -> None:
    nan = float("nan")
    scores = torch.tensor([[nan, nan, nan], [0.5, nan, 0.1]])
    known = (torch.tensor([0, 1]), torch.tensor([0, 0]))
    assert evaluate.filtered_ranks(scores, torch.tensor([0, 0]), known).tolist() == [3.0, 2.0]

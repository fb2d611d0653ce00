"""What a graph model has to beat: always the commonest answer, and a good classifier that reads names alone."""

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import aws_api_graph
import numpy as np
import polars as pl
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score
from sklearn.pipeline import make_union

PENALTIES = (0.3, 1.0, 3.0, 10.0)
CLASS_WEIGHTS = (None, "balanced")


@dataclass(frozen=True)
class Scores:
    """How well "this operation is paginated" is told: each in 0..1, higher is better; F1 is that of "yes"."""

    accuracy: float
    f1: float
    roc_auc: float


@dataclass(frozen=True)
class Operations:
    """Labelled operations of one split, in file order: ids, names as words, and whether they are paginated."""

    ids: list[str]
    names: list[str]
    paginated: np.ndarray


def read_operations(folder: Path, split: str) -> Operations:
    """The operations that the export in `folder` puts into `split`."""
    held = pl.read_csv(folder / f"{split}.csv")
    nodes = pl.read_csv(folder / aws_api_graph.node_file("operation"), schema_overrides={"paginated": pl.String})
    rows = held.join(nodes, on="~id", how="left", maintain_order="left")
    names = [aws_api_graph.words(name) for name in rows["name"]]
    return Operations(rows["~id"].to_list(), names, (rows["paginated"] == "true").to_numpy())


def score(truth: np.ndarray, probability: np.ndarray) -> Scores:
    """Scores of probabilities of "yes" `[num_operations]`; a "yes" is a probability above one half."""
    answer = probability > 0.5
    return Scores(
        float(accuracy_score(truth, answer)),
        float(f1_score(truth, answer, zero_division=0.0)),
        float(roc_auc_score(truth, probability)),
    )


def majority(folder: Path) -> np.ndarray:
    """The share of paginated operations in training, for every operation of the test `[num_operations]`."""
    return np.full(len(read_operations(folder, "test").ids), read_operations(folder, "train").paginated.mean())


def names_only(folder: Path) -> np.ndarray:
    """What names tell: the probability that an operation of the test is paginated `[num_operations]`.

    Logistic regression on words, pairs of words and character n-grams, its settings chosen by F1 on validation.
    """
    train, valid, test = (read_operations(folder, split) for split in aws_api_graph.SPLITS)
    text = make_union(
        TfidfVectorizer(ngram_range=(1, 2), min_df=2, token_pattern=r"\S+"),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), min_df=3, sublinear_tf=True),
    ).fit(train.names)
    x_train, x_valid, x_test = (text.transform(operations.names) for operations in (train, valid, test))
    models = [
        LogisticRegression(C=penalty, class_weight=weight, max_iter=300).fit(x_train, train.paginated)
        for penalty, weight in product(PENALTIES, CLASS_WEIGHTS)
    ]
    best = max(models, key=lambda model: score(valid.paginated, model.predict_proba(x_valid)[:, 1]).f1)
    return best.predict_proba(x_test)[:, 1]

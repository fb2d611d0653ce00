"""A model's predictions for a whole graph: arrays that programs read, and one CSV that a person can read.

Text stands in the CSV as it is in the graph, quoted; it is data, not formulas, so open it as text in a spreadsheet.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from modelyard.workloads.graph.data import NONE, TEST, TRAIN, VALID, Graph
from modelyard.workloads.graph.inference.ranking import KnownLinks, Scorer, rank_links

TAILS = 10
"""New tails that the CSV lists for each node and relation."""
MAX_ROWS = 1_000_000
"""Rows of the CSV of predictions for links or edges, at most."""
MAX_CELLS = 1_000_000_000
"""Scores that are computed for that CSV, at most: seconds, or a minute."""

_EDGES_AT_ONCE = 65_536

_SPLITS = {NONE: None, TRAIN: "train", VALID: "valid", TEST: "test"}


def write_node_predictions(graph: Graph, scores: np.ndarray, classes: tuple[str, ...], output: Path) -> None:
    """Writes `predictions/result.npz` and `predictions.csv` of a node task.

    scores: float32 `[num_nodes, num_classes]`, probabilities, or `[num_nodes, 1]`, values.
    """
    (output / "predictions").mkdir()
    np.savez(output / "predictions" / "result.npz", infer_scores=scores)
    assert graph.task.node_type is not None
    ids = pl.read_parquet(graph.ids_path(graph.node_type_index(graph.task.node_type)))["id"]
    arrays = graph.labels()
    columns = _predicted(graph, scores, classes) | _known(graph, arrays["labels"], arrays["split"])
    pl.DataFrame({"id": ids, **columns}).write_csv(output / "predictions.csv", quote_style="non_numeric")


def write_edge_predictions(
    graph: Graph, scores: Callable[[slice], np.ndarray], classes: tuple[str, ...], output: Path
) -> tuple[int, int]:
    """Writes `predictions.csv` of an edge task: every edge of the type, each with its own features.

    scores: of some of the edges, as `write_node_predictions` has them. Gives how many edges are listed, and how many
    there are.
    """
    assert graph.task.edge_type is not None
    source, relation, dest = graph.task.edge_type
    head_ids, tail_ids = (pl.read_parquet(graph.ids_path(graph.node_type_index(n)))["id"] for n in (source, dest))
    arrays = graph.edges(graph.edge_type_index(graph.task.edge_type))
    head, tail = arrays["edge_index"]
    listed = min(len(head), MAX_ROWS)
    with (output / "predictions.csv").open("wb") as file:
        for begin in range(0, max(1, listed), _EDGES_AT_ONCE):
            some = slice(begin, min(begin + _EDGES_AT_ONCE, listed))
            ends = {"head": head_ids[head[some]], "relation": relation, "tail": tail_ids[tail[some]]}
            known = _known(graph, arrays["labels"][some], arrays["split"][some])
            frame = pl.DataFrame(ends | _predicted(graph, scores(some), classes) | known)
            frame.write_csv(file, include_header=begin == 0, quote_style="non_numeric")
    return listed, len(head)


@dataclass(frozen=True)
class LinkQuestions:
    """One target edge type's questions for tails: embeddings of both ends, the relation's vector, all known links."""

    relation: str
    head_ids: pl.Series
    tail_ids: pl.Series
    heads: np.ndarray
    tails: np.ndarray
    vector: np.ndarray
    known: KnownLinks
    scorer: Scorer = "distmult"


def write_link_predictions(questions: list[LinkQuestions], output: Path) -> tuple[int, int]:
    """Writes `predictions.csv`: the likeliest tails of each node and relation that are no links of the graph yet.

    Gives how many (node, relation) pairs are listed, and how many there are; in a large graph the first ones are.
    """
    listed, budget = 0, MAX_CELLS
    total = sum(len(one.head_ids) for one in questions)
    with (output / "predictions.csv").open("wb") as file:
        file.write(b'"head","relation","tail","score"\n')
        for question in questions:
            share = max(0, min(budget // max(1, len(question.tail_ids)), MAX_ROWS // TAILS - listed))
            count = min(len(question.head_ids), share)
            for frame in _ranked(question, count):
                frame.write_csv(file, include_header=False, quote_style="non_numeric")
            listed, budget = listed + count, budget - count * len(question.tail_ids)
    return listed, total


def _ranked(question: LinkQuestions, count: int, step: int = 10_000) -> Iterator[pl.DataFrame]:
    for begin in range(0, count, step):
        rows = range(begin, min(begin + step, count))
        hidden = [question.known.of(row) for row in rows]
        heads = question.heads[rows.start : rows.stop]
        ranked = rank_links(heads, question.vector, question.tails, TAILS, hidden, question.scorer)
        heads = np.repeat(np.arange(rows.start, rows.stop), [len(places) for places, _ in ranked])
        yield pl.DataFrame(
            {
                "head": question.head_ids[heads],
                "relation": pl.repeat(question.relation, len(heads), eager=True),
                "tail": question.tail_ids[np.concatenate([places for places, _ in ranked]).astype(np.int64)],
                "score": np.concatenate([scores for _, scores in ranked]).astype(np.float32),
            }
        )


def _predicted(graph: Graph, scores: np.ndarray, classes: tuple[str, ...]) -> dict[str, Any]:
    if graph.task.is_regression():
        return {"prediction": scores[:, 0]}
    if graph.task.multilabel:
        return {"prediction": _sets(scores > 0.5, classes), "score": scores.max(axis=1)}
    best = scores.argmax(axis=1)
    return {"prediction": pl.Series(classes)[best], "score": np.take_along_axis(scores, best[:, None], 1)[:, 0]}


def _known(graph: Graph, labels: np.ndarray, split: np.ndarray) -> dict[str, pl.Series]:
    return {
        "label": _labels(graph, labels),
        "split": pl.Series(split).replace_strict(_SPLITS, return_dtype=pl.String),
    }


def _labels(graph: Graph, labels: np.ndarray) -> pl.Series:
    """Known labels as the user wrote them; null where there is none."""
    if graph.task.is_regression():
        return pl.Series(labels).fill_nan(None)
    if graph.task.multilabel:
        return _sets(labels > 0, graph.task.classes)
    names = pl.Series([*graph.task.classes, None], dtype=pl.String)
    return names[np.where(labels < 0, len(graph.task.classes), labels)]


def _sets(chosen: np.ndarray, classes: tuple[str, ...]) -> pl.Series:
    """Several classes in one cell, separated by `;` as Neptune's exporter does; null where there is none."""
    row, column = np.nonzero(chosen)
    named = pl.DataFrame({"row": row, "name": pl.Series(classes, dtype=pl.String)[column]})
    joined = named.group_by("row", maintain_order=True).agg(pl.col("name").str.join(";"))
    every = pl.DataFrame({"row": np.arange(len(chosen))})
    return every.join(joined, on="row", how="left", maintain_order="left")["name"]

"""The serving task of a graph model: answers by NumPy from what the transform wrote. It never imports torch.

For a request that brings a graph of its own, a worker computes (`fresh.py`).
"""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from modelyard.runner.context import Context, InputError
from modelyard.runner.serving import RequestError, serve
from modelyard.workloads.graph.inference.edges import EdgeScores, PairScores
from modelyard.workloads.graph.inference.fresh import Computed, Fresh
from modelyard.workloads.graph.inference.ids import NodeIds, read_mapped
from modelyard.workloads.graph.inference.ranking import Ranked, rank_links, rank_neighbours, read_known
from modelyard.workloads.graph.inference.requests import EDGE_TASKS, Request, read_request
from modelyard.workloads.graph.inference.served import listed, read_served

_QUICK_CELLS = 200_000
"""Scores of one request that may be computed on the event loop; more of them go to a thread."""
_MOST_CELLS = 1_000_000_000
"""Scores that one request may ask for; this many take seconds."""
_CELLS_AN_EDGE = 100
"""As many cells as the decoder of one edge takes time for, about."""

Output = list[dict[str, Any]]


def run(context: Context) -> dict[str, Any]:
    """Serves the transform output `inputs["model"]` at the Unix socket `parameters["socket"]`, until it is stopped.

    InputError if the folder holds no model, or a damaged one.
    """
    try:
        model = Model(context.inputs["model"], Fresh(context, context.inputs["model"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(
            f"the model's artifacts are missing or damaged ({reason}); transform or train again"
        ) from error
    context.report(1, phase="serving", total=1)
    serve(context, Path(context.parameters["socket"]), model.answer)
    return {}


class Model:
    """A trained model's answers. Its arrays are mapped into memory, and nothing is computed before it is asked for."""

    def __init__(self, folder: Path, fresh: Fresh | None = None) -> None:
        serving = folder / "serving"
        self._fresh = fresh
        self._served = read_served(serving)
        self._ids = NodeIds(serving / "ids")
        self._embeddings = read_mapped(folder / "embeddings" / "entity.npy")
        if self._served.task == "link_predict":
            known = [serving / "known" / str(number) for number in range(len(self._served.targets))]
            self._vectors = {mode: read_mapped(serving / f"{end}_vectors.npy") for mode, end in _ENDS.items()}
            self._known = {mode: [read_known(one / f"{end}s") for one in known] for mode, end in _ENDS.items()}
        elif self._served.task in EDGE_TASKS:
            self._edge_scores = self._scores_of_edges(serving / "edges")
        else:
            self._scores = read_mapped(serving / "scores.npy")

    def _scores_of_edges(self, folder: Path) -> EdgeScores | PairScores:
        target = self._served.targets[0]
        spans = [self._served.rows(end) for end in (target.source, target.dest)]
        if not (folder / "decoder.npz").exists():
            return PairScores(folder, spans[1].stop - spans[1].start)
        heads, tails = (self._embeddings[span] for span in spans)
        return EdgeScores(folder, heads, tails)

    async def answer(self, header: Mapping[str, Any], body: bytes) -> tuple[Mapping[str, Any], bytes]:
        """Answers one InvokeEndpoint request; RequestError says what is wrong with it."""
        request = read_request(body, self._served.task)
        cells = len(request.ids) * self._served.num_nodes if request.mode else len(request.tails) * _CELLS_AN_EDGE
        if cells > _MOST_CELLS:
            most = max(1, _MOST_CELLS // self._served.num_nodes)
            raise RequestError(f"{len(request.ids)} items are too many to rank all nodes for; send at most {most}")
        computed = None if request.graph is None else await self._computed(request)
        quick = cells <= _QUICK_CELLS
        output = self.predict(request, computed) if quick else await asyncio.to_thread(self.predict, request, computed)
        return {"status": 200, "content_type": "application/json"}, _encoded({"output": output})

    def predict(self, request: Request, computed: Computed | None = None) -> Output:
        """The answers to the items of a request, in their order; by vectors that were computed for it, if there are."""
        if computed is not None:
            return self._fresh_output(request, computed)
        if request.mode is None:
            of_edges = self._served.task in EDGE_TASKS
            return self._edge_predictions(request) if of_edges else self._node_predictions(request)
        return self._neighbours(request) if request.mode == "embed_knn" else self._links(request)

    def _node_predictions(self, request: Request) -> Output:
        served = self._served
        self._check_property(request)
        rows = self._rows(request, served.node_type)
        known = rows[rows >= 0] - served.offsets[served.node_type]
        predictions = self._described(self._scores[known], request.top)
        if len(known) == len(rows):
            return [{"id": id, "predictions": one} for id, one in zip(request.ids, predictions, strict=True)]
        output = _unknown(request.ids, (served.node_type,), served.node_types)
        for place, prediction in zip(np.flatnonzero(rows >= 0).tolist(), predictions, strict=True):
            output[place] = {"id": request.ids[place], "predictions": prediction}
        return output

    def _edge_predictions(self, request: Request) -> Output:
        served = self._served
        self._check_property(request)
        served.targets_of(replace(request, mode="predict_tail"))
        target, ends = served.targets[0], (request.ids, request.tails)
        types = (target.source, target.dest)
        rows = [self._rows_of(ids, number) for ids, number in zip(ends, types, strict=True)]
        known = (rows[0] >= 0) & (rows[1] >= 0)
        heads, tails = (row[known] - served.offsets[number] for row, number in zip(rows, types, strict=True))
        scored = self._edge_scores.knows(heads, tails)
        scores = self._edge_scores.of(heads[scored], tails[scored])
        unknown = [_unknown(ids, (number,), served.node_types) for ids, number in zip(ends, types, strict=True)]
        output = [(head if row < 0 else tail) for head, tail, row in zip(*unknown, rows[0], strict=True)]
        for place in np.flatnonzero(known)[~scored].tolist():
            output[place]["error"] = f"no edge {target.relation!r} joins these nodes in this custom model's graph"
        known[known] = scored
        predictions = iter(self._described(scores, request.top))
        for place, pair in enumerate(zip(*ends, strict=True)):
            found = {"predictions": next(predictions)} if known[place] else output[place]
            output[place] = {**found, "id": list(pair)}
        return output

    async def _computed(self, request: Request) -> Computed:
        """What the worker computes for a request that brings a graph."""
        assert self._fresh is not None
        self._check_property(request)
        near, _ = self._sides(request)
        ids, tails = [str(one) for one in request.ids], [str(one) for one in request.tails]
        return await self._fresh.compute(
            graph=request.graph,
            targets=[(near, one) for one in ids] + [(self._served.targets[0].dest, one) for one in tails],
            scores=request.mode is None and not tails,
            fanout=request.fanout,
            deterministic=request.deterministic,
            pairs=list(zip(ids, tails, strict=True)) if tails else [],
        )

    def _sides(self, request: Request) -> tuple[int, int]:
        """The node types that a request's items have, and that it asks for; each must be one."""
        served = self._served
        if request.mode == "embed_knn":
            own, far = served.type_number(request.head_type), served.type_number(request.tail_type)
            only = 0 if len(served.node_types) == 1 else None
            own = next((one for one in (own, far, only) if one is not None), None)
            if own is None:
                raise RequestError(f"headNodeType is missing; the model has nodes of {listed(served.node_types)}")
            return own, own if far is None else far
        if not served.targets:
            return served.node_type, served.node_type
        mode = request.mode or "predict_tail"
        sides = {served.targets[n].ends(mode) for n in served.targets_of(replace(request, mode=mode))}
        if len(sides) > 1:
            name = "headNodeType" if mode == "predict_tail" else "tailNodeType"
            kinds = listed(sorted(served.node_types[near] for near, _ in sides))
            raise RequestError(f"{name} is missing; it can be {kinds}")
        return sides.pop()

    def _fresh_output(self, request: Request, computed: Computed) -> Output:
        near, far = self._sides(request)
        output = _unknown(request.ids, (near,), self._served.node_types)
        if request.tails:
            return self._fresh_edges(request, computed, output)
        places = np.flatnonzero(computed.known)
        if request.mode is None:
            for place, prediction in zip(places.tolist(), self._described(computed.vectors, request.top), strict=True):
                output[place] = {"id": request.ids[place], "predictions": prediction}
            return output
        span = self._served.rows(far)
        rows = self._rows(request, near)[places]
        if request.mode == "embed_knn":
            itself = np.where((rows >= 0) & (near == far), rows - span.start, -1)
            ranked = rank_neighbours(computed.vectors, self._embeddings[span], request.top, itself)
        else:
            number = self._served.targets_of(request)[0]
            links = self._known[request.mode][number]
            nodes = np.where(rows < 0, -1, rows - self._served.offsets[near]).tolist()
            hidden = [links.of(node) if node >= 0 else links.ends[:0] for node in nodes]
            vector = self._vectors[request.mode][number]
            exclude = hidden if request.exclude else None
            ranked = rank_links(computed.vectors, vector, self._embeddings[span], request.top, exclude)
        self._fill(output, places, ranked, span.start)
        return output

    def _fresh_edges(self, request: Request, computed: Computed, output: Output) -> Output:
        served, target, count = self._served, self._served.targets[0], len(request.ids)
        vectors = np.zeros((2 * count, computed.vectors.shape[1]), np.float32)
        vectors[computed.known] = computed.vectors
        known = computed.known[:count] & computed.known[count:]
        heads, tails = (
            np.where((rows := self._rows_of(ids, kind)) < 0, -1, rows - served.offsets[kind])[known]
            for ids, kind in ((request.ids, target.source), (request.tails, target.dest))
        )
        assert isinstance(self._edge_scores, EdgeScores)  # others compute nothing afresh
        features = [one for one, there in zip(computed.features, known.tolist(), strict=True) if there]
        scores = self._edge_scores.fresh((heads, tails), vectors[:count][known], vectors[count:][known], features)
        unknown = _unknown(request.tails, (target.dest,), served.node_types)
        predictions = iter(self._described(scores, request.top))
        for place, pair in enumerate(zip(request.ids, request.tails, strict=True)):
            found = output[place] if not computed.known[place] else unknown[place]
            output[place] = {**({"predictions": next(predictions)} if known[place] else found), "id": list(pair)}
        return output

    def _check_property(self, request: Request) -> None:
        if request.property not in (None, self._served.label_property):
            raise RequestError(f"this endpoint predicts {self._served.label_property!r}, not {request.property!r}")

    def _described(self, scores: np.ndarray, top: int) -> Iterator[Output]:
        """Classes and their probabilities; or a number, which has no score."""
        if self._served.task in ("node_regression", "edge_regression"):
            return ([{"value": value, "score": None}] for value in scores[:, 0].tolist())
        classes = self._served.classes
        if top == 1:
            likeliest = scores.argmax(axis=1)
            best = zip(likeliest.tolist(), scores[np.arange(len(scores)), likeliest].tolist(), strict=True)
            return ([{"value": classes[place], "score": score}] for place, score in best)
        places = np.argsort(-scores, axis=1, kind="stable")[:, :top]
        ranked = zip(places.tolist(), np.take_along_axis(scores, places, axis=1).tolist(), strict=True)
        return ([{"value": classes[n], "score": s} for n, s in zip(*one, strict=True)] for one in ranked)

    def _links(self, request: Request) -> Output:
        served, mode = self._served, request.mode
        assert mode is not None
        ends = {number: served.targets[number].ends(mode) for number in served.targets_of(request)}
        output = _unknown(request.ids, (near for near, _ in ends.values()), served.node_types)
        answered = np.zeros(len(request.ids), bool)
        for number, (near, far) in ends.items():
            rows = self._rows(request, near)
            places = np.flatnonzero((rows >= 0) & ~answered)
            answered[places] = True
            known, nodes = self._known[mode][number], (rows[places] - served.offsets[near]).tolist()
            ranked = rank_links(
                near=self._embeddings[rows[places]],
                vector=self._vectors[mode][number],
                candidates=self._embeddings[served.rows(far)],
                top=request.top,
                hidden=[known.of(node) for node in nodes] if request.exclude else None,
                scorer=served.scorer,
            )
            self._fill(output, places, ranked, served.offsets[far])
        return output

    def _neighbours(self, request: Request) -> Output:
        """Nearest nodes of `tailNodeType`, or of the node's own type; the node itself is never among them."""
        if not len(self._embeddings):
            raise RequestError("this custom model's transform left no embeddings (entity.npy), hence no neighbours")
        served = self._served
        own, far = served.type_number(request.head_type), served.type_number(request.tail_type)
        rows = self._rows(request, far if own is None else own)
        if own is None:
            rows = np.where(rows < 0, self._rows(request, None), rows)
        output = _unknown(request.ids, () if own is None else (own,), served.node_types)
        types = np.searchsorted(served.offsets, rows, "right") - 1 if far is None else np.full(len(rows), far)
        for number in np.unique(types[rows >= 0]).tolist():
            places, span = np.flatnonzero((types == number) & (rows >= 0)), served.rows(number)
            inside = (rows[places] >= span.start) & (rows[places] < span.stop)
            itself = np.where(inside, rows[places] - span.start, -1)
            ranked = rank_neighbours(self._embeddings[rows[places]], self._embeddings[span], request.top, itself)
            self._fill(output, places, ranked, span.start)
        return output

    def _fill(self, output: Output, places: np.ndarray, ranked: list[Ranked], offset: int) -> None:
        for place, (far, scores) in zip(places.tolist(), ranked, strict=True):
            pairs = zip((far + offset).tolist(), scores.tolist(), strict=True)
            predictions = [{"value": self._ids.id(row), "score": score} for row, score in pairs]
            output[place] = {"id": output[place]["id"], "predictions": predictions}

    def _rows(self, request: Request, node_type: int | None) -> np.ndarray:
        return self._rows_of(request.ids, node_type)

    def _rows_of(self, ids: Sequence[str | int], node_type: int | None) -> np.ndarray:
        span = self._served.rows(node_type)
        return self._ids.rows([str(item) for item in ids], span.start, span.stop)


_ENDS = {"predict_tail": "tail", "predict_head": "head"}


def _encoded(document: Any) -> bytes:
    try:
        return orjson.dumps(document)
    except TypeError:  # an id with more digits than 64 bits hold, or half a surrogate pair
        return json.dumps(document).encode()


def _unknown(ids: Sequence[str | int], types: Any, names: tuple[str, ...]) -> Output:
    """An answer for each item that says its node is not known; those that are known take its place."""
    of_type = " or ".join(dict.fromkeys(names[number] for number in types))
    where = f"in this model's graph, of type {of_type}" if of_type else "in this model's graph"
    return [{"id": item, "predictions": [], "error": f"no node {str(item)[:200]!r} is {where}"} for item in ids]

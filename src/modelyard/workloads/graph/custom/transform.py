"""The transform of a custom model: the user's script applies the model, and what it leaves becomes artifacts."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from modelyard.removal import remove
from modelyard.runner.context import Context, InputError, Stopped
from modelyard.runner.sandbox import OpenedImage, artifacts, isolation
from modelyard.workloads.graph.custom import code, results
from modelyard.workloads.graph.custom.arguments import transform_environment
from modelyard.workloads.graph.custom.requirements import installed
from modelyard.workloads.graph.custom.script import DISK, Room, Sandbox, Script
from modelyard.workloads.graph.custom.search import DETAILS
from modelyard.workloads.graph.data import Graph, read_graph
from modelyard.workloads.graph.inference.artifacts import write_instance_recommendation
from modelyard.workloads.graph.inference.transform import (
    write_edge_scores,
    write_embeddings,
    write_links,
    write_node_scores,
    write_serving,
)
from modelyard.workloads.graph.training.adjacency import node_offsets

_LOG = logging.getLogger(__name__)
_POLL_SECONDS = 0.1
_COPIED = ("trials.json", "eval_metrics_info.json", "training_job_details.json", DETAILS)
MODEL = "custom"


def run(context: Context) -> dict[str, Any]:
    """Entry point.

    inputs: `graph` (processed), `model` (a search's output), optional `source` (the user's folder, in the place of the
    scripts that lie with the model). parameters: `transform` (the name of the script, or None for the training's),
    `memory`, `network`, `gpu` as the search has them. InputError if the script fails or leaves what cannot be served.
    """
    graph, model = read_graph(context.inputs["graph"]), context.inputs["model"]
    _step(context, 1, "running the transform script")
    room = _run_script(context, model)
    _step(context, 2, "checking what it left")
    found = _contents(room.model)
    results.check_configuration(room.model)
    _step(context, 3, "writing artifacts")
    told = _write(graph, room.model, context.output)
    artifacts.pack(room.model, found, context.output / "model.tar.gz")
    for name in _COPIED:
        if (model / name).is_file():
            shutil.copyfile(model / name, context.output / name)
    write_instance_recommendation(context.output)
    return {**told, "skipped": found.skipped, "isolation": isolation()}


def _run_script(context: Context, model: Path) -> Room:
    """Runs the script over a copy of the model; InputError if it does not end well."""
    image, script = _code(context, model)
    code.check(image, script)
    remove(context.state / "rooms")
    room = Room(context.state / "rooms" / str(context.attempt)).make()
    artifacts.copy(model / "model", _contents(model / "model"), room.model)
    shutil.copyfile(model / DETAILS, room.output / DETAILS)
    sandbox = installed(Sandbox.of(image, context), context)
    name = f"{context.state.parent.name}-{context.attempt}"
    try:
        running = Script(sandbox, room, [script], transform_environment(), name, "transform:")
    except ValueError as error:
        raise InputError(f"{script} cannot start: {error}") from None
    with running:
        while running.wait(_POLL_SECONDS) is None:
            if context.should_stop():
                running.stop()
                raise Stopped
        if reason := running.failure():
            raise InputError(reason)
    return room


def _code(context: Context, model: Path) -> tuple[OpenedImage, str]:
    """The scripts that the request names, or those that lie with the model; and which of them is to run."""
    scripts = json.loads((model / "custom.json").read_text())
    source = context.inputs.get("source", model / "code")
    return code.take(source, context.state / "code"), context.parameters["transform"] or scripts["transform"]


def _contents(folder: Path) -> artifacts.Contents:
    try:
        return artifacts.contents(folder, DISK)
    except artifacts.TooLarge as error:
        raise InputError(f"the model and what the script left are too large: {error}") from None


def _write(graph: Graph, left: Path, output: Path) -> dict[str, Any]:
    """Writes what users read and endpoints serve."""
    offsets = node_offsets(graph).tolist()
    vectors = results.embeddings(left, graph, offsets)
    if graph.task.type == "link_predict":
        if vectors is None:
            raise InputError("the transform script left no entity.npy, the vectors of all nodes")
        relations = results.relations(left, graph, vectors.shape[1])
        write_embeddings(graph, vectors, output)
        told = write_links(graph, vectors, np.concatenate([relations, relations]), output)
    else:
        predictions = results.scores(left, graph)
        write_embeddings(graph, np.zeros((0, 0), np.float32) if vectors is None else vectors, output)
        if graph.task.edge_type is not None:
            told = write_edge_scores(graph, predictions, output)
        else:
            told = write_node_scores(graph, predictions, graph.task.classes, output)
    write_serving(graph, MODEL, graph.task.classes, output)
    return {"nodes": offsets[-1], **told}


def _step(context: Context, step: int, phase: str) -> None:
    if context.should_stop():
        raise Stopped
    context.report(step, phase=phase, total=3)
    _LOG.info(phase)

"""Training: a party's container learns from channels that nobody sees, and leaves a model in the service's own folder.

https://docs.aws.amazon.com/clean-rooms/latest/userguide/custom-model-guidelines.html
"""

import logging
import os
import stat
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from modelyard.removal import remove
from modelyard.runner.context import Context, Stopped
from modelyard.runner.sandbox import Container, OpenedImage, artifacts, isolation, open_image
from modelyard.workloads.cleanroom import opt_ml
from modelyard.workloads.cleanroom.container_log import ContainerLog
from modelyard.workloads.cleanroom.failure import Failure, check, usable
from modelyard.workloads.cleanroom.log_policy import LogPolicy
from modelyard.workloads.cleanroom.metrics import Metrics
from modelyard.workloads.cleanroom.opt_ml import Room
from modelyard.workloads.cleanroom.pipes import Pipes

STOP_SECONDS = 8.0
"""What a container has to end itself when its job is cancelled: less than the supervisor gives the task."""
LATE_SECONDS = 120.0
"""The same when its time is over, as on SageMaker."""
WATCH_SECONDS = 0.1
REPORT_SECONDS = 5.0
FAILURE_CHARACTERS = 1024
MOST_SAID = 8000
"""Characters of failure files in a result, for all accounts together."""


def run(context: Context) -> dict[str, Any]:
    """Runs the training container once for each instance, and keeps what it may leave behind.

    Inputs: `image`; a folder for each channel and incremental channel, by the name that its `input` says (the latter: a
    trained model's `model/`).
    Parameters:
        name, arn: of the training job, for the container's environment.
        entrypoint, arguments: lists, or None; arguments replace `train`, an entry point replaces the image's.
        hyperparameters, environment: strings by name.
        channels: `[{"name", "distribution", "format", "input"}]`; distribution is FullyReplicated or ShardedByS3Key,
            format CSV or PARQUET.
        incremental: `[{"name", "input"}]`.
        mode: "File" | "FastFile" | "Pipe".
        instances: how many containers; each gets `memory` bytes and its part of the task's cores.
        volume: bytes that a container may write below `/opt/ml`, or None.
        seconds: the longest that it may run.
        metrics: `[{"name", "regex"}]`, RE2.
        policy: `privacyConfiguration.policies.trainedModels`, or None.
        loggers: accounts that can be given logs.

    Output: `model/`, `output/` (of `/opt/ml/output/data`), `logs/<account>.log` for each of `loggers` that the policy
    names, `metrics.csv` (timestamp, name, value) if it has `containerMetrics`.

    Result: `digest` (of the image), `isolation` ("bubblewrap" | "podman"), `bytes` (of model and output), `skipped`
    (links, devices and such that were left out), `logs` (the accounts with a log), `metrics` (points, or None without
    a policy), and where the container did wrong `failure`: `code` (CONTAINER_EXITED_NON_ZERO, MEMORY_EXCEEDED,
    MAX_RUNTIME_EXCEEDED, IMAGE_NOT_USABLE, ARTIFACT_TOO_LARGE, VOLUME_FULL), `message` (ours alone, for everyone),
    `said` (account -> the beginning of the container's failure file as that account's log policy shows it; nobody
    else may see it).

    InputError if a policy, a regular expression or the name of a channel can be none; NoSandbox if nothing can isolate
    the container.
    """
    parameters = context.parameters
    policy = parameters["policy"] or {}
    logs = LogPolicy(policy.get("containerLogs"))
    metrics = Metrics(parameters["metrics"]) if "containerMetrics" in policy else None
    image = open_image(context.inputs["image"])
    told: dict[str, Any] = {"digest": image.digest, "isolation": isolation(), "bytes": 0, "skipped": 0}
    logging.info("image %s, isolated by %s", image.digest, told["isolation"])
    rooms = context.state / "rooms"
    remove(rooms)
    with ContainerLog(context.output / "logs", logs, parameters["loggers"], metrics) as log:
        told["logs"] = log.accounts
        try:
            _train(context, image, rooms, log)
            told |= _take(context, rooms, artifacts.limit(policy.get("maxArtifactSize")))
        except Failure as failure:
            log.say("modelyard", failure.message)
            told["failure"] = failure.told() | {"said": _said(rooms, logs, log.accounts)}
        finally:
            remove(rooms)
    noise = policy.get("containerMetrics", {}).get("noiseLevel")
    told["metrics"] = metrics.write(context.output / "metrics.csv", noise) if metrics else None
    return told


def _train(context: Context, image: OpenedImage, rooms: Path, log: ContainerLog) -> None:
    """Runs the containers side by side, until all have ended well; Failure once one does wrong."""
    hosts = [f"algo-{number + 1}" for number in range(context.parameters["instances"])]
    cores = max(1, context.cores // len(hosts))
    containers: dict[str, Container] = {}
    with ExitStack() as stack:
        for host in hosts:
            room = _furnish(context, rooms / host, host, hosts, stack)
            with usable():
                container = Container(
                    image,
                    arguments=_arguments(context.parameters),
                    environment=opt_ml.training_environment(context.parameters, host, hosts, cores),
                    binds=[*room.binds, *opt_ml.code(image)],
                    limits=opt_ml.limits(context.parameters, cores),
                    name=f"{context.state.parent.name}-{host}",
                    output=stack.enter_context(log.reader(host)),
                    entrypoint=context.parameters["entrypoint"],
                    hostname=host,
                )
            containers[host] = stack.enter_context(container)
        try:
            _watch(context, containers)
        except (Failure, Stopped) as end:
            late = isinstance(end, Failure) and end.code == "MAX_RUNTIME_EXCEEDED"
            grace = LATE_SECONDS if late else STOP_SECONDS
            with ThreadPoolExecutor(len(hosts)) as pool:
                list(pool.map(lambda container: container.stop(grace), containers.values()))
            raise


def _furnish(context: Context, folder: Path, host: str, hosts: Sequence[str], stack: ExitStack) -> Room:
    """The folders of one container, with all that it reads."""
    parameters = context.parameters
    room = Room(folder, context.state / "checkpoints" / host)
    channels = opt_ml.channels(parameters, context.inputs)
    if parameters["mode"] == "Pipe":
        pipes = [(channel.name, channel.files(host, hosts)) for channel in channels]
        stack.enter_context(Pipes(room.data, pipes))
    else:
        for channel in channels:
            room.add(channel, host, hosts)
    for told in parameters["incremental"]:
        room.add_model(told["name"], context.inputs[told["input"]])
    room.configure(
        hyperparameters=parameters["hyperparameters"],
        inputdataconfig=opt_ml.input_data_config(parameters),
        resourceconfig=opt_ml.resource_config(host, hosts),
    )
    return room


def _arguments(parameters: Mapping[str, Any]) -> list[str]:
    """What follows the entry point: an image's own is told to train, another one only what it is given."""
    if parameters["arguments"] is not None:
        return list(parameters["arguments"])
    return [] if parameters["entrypoint"] else ["train"]


def _watch(context: Context, containers: Mapping[str, Container]) -> None:
    """Returns when all containers have ended well; Failure, or Stopped if the job is cancelled."""
    started = reported = time.monotonic()
    seconds = context.parameters["seconds"]
    context.report(0, phase="training")
    while not check(containers):
        if context.should_stop():
            raise Stopped
        now = time.monotonic()
        if now > started + seconds:
            raise Failure("MAX_RUNTIME_EXCEEDED", f"The training took longer than the {seconds:,} seconds allowed.")
        if now > reported + REPORT_SECONDS:
            reported = now
            context.report(int(now - started), phase="training", seconds=int(now - started))
        next(container for container in containers.values() if container.poll() is None).wait(WATCH_SECONDS)


def _take(context: Context, rooms: Path, limit: int) -> dict[str, Any]:
    """Takes over what the containers have left; Failure if that is more than the policy lets them leave."""
    size = skipped = 0
    hosts = sorted(rooms.iterdir())
    for name, path in (("model", "model"), ("output", "output/data")):
        (context.output / name).mkdir()
        for host in hosts:
            try:
                found = artifacts.contents(host / path, limit - size)
            except artifacts.TooLarge:
                for made in ("model", "output"):
                    remove(context.output / made)
                message = f"The artifacts are larger than the {limit:,} bytes that the policy allows."
                raise Failure("ARTIFACT_TOO_LARGE", message) from None
            artifacts.copy(host / path, found, context.output / name)
            size += found.size
            skipped += found.skipped
    return {"bytes": size, "skipped": skipped}


def _said(rooms: Path, logs: LogPolicy, accounts: Sequence[str]) -> dict[str, str]:
    """Account -> the beginning of the first failure file, as the account may see it."""
    text = next((text for host in sorted(rooms.iterdir()) if (text := _failure_file(host / "output" / "failure"))), "")
    most = min(FAILURE_CHARACTERS, MOST_SAID // max(1, len(accounts)))
    return {account: shown for account in accounts if (shown := logs.tell(account, text)[:most])}


def _failure_file(path: Path) -> str:
    """The beginning of the file that a container may leave; of a link, a device or a pipe nothing."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ""
        return file.read(4 * FAILURE_CHARACTERS).decode(errors="replace")[:FAILURE_CHARACTERS]

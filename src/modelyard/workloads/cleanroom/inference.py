"""Inference: a party's container answers a channel's records, as SageMaker's batch transform asks it.

https://docs.aws.amazon.com/clean-rooms/latest/userguide/custom-model-guidelines.html
https://docs.aws.amazon.com/sagemaker/latest/dg/batch-transform.html
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from modelyard.runner.context import Context, InputError, Stopped
from modelyard.runner.sandbox import Bind, Container, OpenedImage, artifacts, isolation, open_image
from modelyard.workloads.cleanroom import opt_ml
from modelyard.workloads.cleanroom.answers import Answers, Budget, OutputTooLarge
from modelyard.workloads.cleanroom.container_log import ContainerLog
from modelyard.workloads.cleanroom.endpoint import Endpoint
from modelyard.workloads.cleanroom.failure import Failure, ended, usable
from modelyard.workloads.cleanroom.log_policy import LogPolicy
from modelyard.workloads.cleanroom.payloads import Splitter
from modelyard.workloads.cleanroom.transform import Bad, Stopping, Transform

START_SECONDS = 1800.0
"""How long a container may take until it is healthy, as on SageMaker."""
STOP_SECONDS = 8.0
"""What a container has to end itself: less than the supervisor gives the task."""
WATCH_SECONDS = 0.1
REPORT_SECONDS = 1.0
MOST_REASONS = 3
"""Files whose failures a message tells."""
PING_SECONDS = 1.0
FIRST_PINGS = (10.0, 0.05)
"""So many seconds it is asked so often: most containers are healthy by then."""
DEFAULT_PAYLOAD = 6
MOST_PAYLOAD = 100
"""MB: of one request, and of all that one container gets at once."""


def run(context: Context) -> dict[str, Any]:
    """Sends the records of each file of the channel to `/invocations`, and keeps the answers in their order.

    Inputs: `image`, `model` (a trained model's `model/`, unpacked), `channel` (its files).
    Parameters:
        name, arn: of the job, for the container's environment.
        environment: strings by name.
        accept: what the receiver wishes, or None.
        content_type: of the requests, "text/csv"; files of any other type are sent whole.
        header: "first" (as the first line of a file's first request) | "none" (left out).
        max_payload: the largest request in MB (2^20 bytes), or None (what the container asks for, else 6).
        records: how many the channel has, for the progress, or None.
        instances: how many containers; each gets `memory` bytes and its part of the task's cores. No file is split
            over them.
        start_seconds: what a container may take until it is healthy; half an hour if it is not given.
        policy: `privacyConfiguration.policies.trainedModelInferenceJobs`, or None.
        loggers: accounts that can be given logs.

    Output: `out/<file>.out` for each file of which every record was answered; `logs/<account>.log` for each of
    `loggers` that the policy names. What is finished stays in `state`, and is not asked again.

    Result: `digest`, `isolation`, `records`, `bytes` (of `out/`), `logs` (the accounts with a log), and where the
    container did wrong `failure`: `code` (IMAGE_NOT_USABLE, CONTAINER_UNHEALTHY, CONTAINER_EXITED,
    CONTAINER_EXITED_NON_ZERO, MEMORY_EXCEEDED, INVOCATION_FAILED, PAYLOAD_TOO_LARGE, OUTPUT_TOO_LARGE) and `message`
    (ours alone, for everyone). After OUTPUT_TOO_LARGE `out/` is empty.

    InputError if a policy or `accept` can be none; NoSandbox if nothing can isolate the container.
    """
    parameters = context.parameters
    policy = parameters["policy"] or {}
    logs = LogPolicy(policy.get("containerLogs"))
    image = open_image(context.inputs["image"])
    told: dict[str, Any] = {"digest": image.digest, "isolation": isolation(), "records": 0, "bytes": 0}
    logging.info("image %s, isolated by %s", image.digest, told["isolation"])
    limit = artifacts.limit(policy.get("maxOutputSize"))
    with ContainerLog(context.output / "logs", logs, parameters["loggers"]) as log:
        told["logs"] = log.accounts
        work = _Inference(context, limit)
        try:
            try:
                work.run(image, log)
            except OutputTooLarge:
                work.answers.clear()
                message = f"The output is larger than the {limit:,} bytes that the policy allows."
                raise Failure("OUTPUT_TOO_LARGE", message) from None
        except Failure as failure:
            log.say("modelyard", failure.message)
            told["failure"] = failure.told()
    told["bytes"] = work.answers.publish(context.output / "out")
    told["records"] = work.records
    return told


class _Inference:
    """The work of one attempt."""

    def __init__(self, context: Context, limit: int) -> None:
        self._context = context
        self._parameters = context.parameters
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._bad: list[Bad] = []
        self._waiting: deque[Path] = deque()
        self.answers = Answers(context.state / "out", Budget(limit))
        self.records = 0

    def run(self, image: OpenedImage, log: ContainerLog) -> None:
        """Answers all files that no earlier attempt has; Failure at the end if some could not be, OutputTooLarge."""
        files = opt_ml.files(self._context.inputs["channel"])
        for path in files:
            if self.answers.done(path.name):
                self.records += self._splitter(MOST_PAYLOAD).count(path)
            else:
                self._waiting.append(path)
        if self._waiting:
            self._answer(image, log)
        if self._bad:
            bad = sorted(self._bad, key=lambda bad: bad.name)
            reasons = "; ".join(f"{one.name}: {one.reason}" for one in bad[:MOST_REASONS])
            raise Failure(bad[0].code, f"{len(bad)} of {len(files)} files have no answers. {reasons}.")

    def _answer(self, image: OpenedImage, log: ContainerLog) -> None:
        """Shares the files out among the containers."""
        names = [f"algo-{number + 1}" for number in range(min(self._parameters["instances"], len(self._waiting)))]
        with ExitStack() as stack:
            containers = {name: stack.enter_context(self._container(name, names, image, log, stack)) for name in names}
            endpoints = {name: Endpoint(container) for name, container in containers.items()}
            with ThreadPoolExecutor(len(names), "instances") as pool:
                try:
                    self._watch(
                        [pool.submit(self._transform, name, endpoints[name], log) for name in names],
                        containers,
                        endpoints.values(),
                    )
                finally:
                    self._stop.set()
                    for endpoint in endpoints.values():
                        endpoint.close()
            with ThreadPoolExecutor(len(names)) as pool:
                list(pool.map(lambda container: container.stop(STOP_SECONDS), containers.values()))

    def _container(
        self, name: str, names: Sequence[str], image: OpenedImage, log: ContainerLog, stack: ExitStack
    ) -> Container:
        """A container that serves the model."""
        with usable():
            return Container(
                image,
                arguments=["serve"],
                environment=opt_ml.inference_environment(self._parameters),
                binds=[Bind(self._context.inputs["model"], f"{opt_ml.ROOT}/model"), *opt_ml.code(image)],
                limits=opt_ml.limits(self._parameters, max(1, self._context.cores // len(names))),
                name=f"{self._context.state.parent.name}-{name}",
                output=stack.enter_context(log.reader(name)),
                hostname=name,
            )

    def _watch(
        self, working: Sequence[Future[None]], containers: Mapping[str, Container], endpoints: Iterable[Endpoint]
    ) -> None:
        """Returns when all files are done; raises what ends the work before that."""
        reported = 0.0
        while True:
            done, left = wait(working, WATCH_SECONDS, FIRST_EXCEPTION)
            errors = [error for future in done if (error := future.exception())]
            for error in sorted(errors, key=lambda error: isinstance(error, Stopping)):
                raise error  # that others stopped because of it is no reason
            if not left:
                return
            if self._context.should_stop():
                raise Stopped
            for name, container in containers.items():
                if (status := container.poll()) is not None:
                    raise ended(name, container, status)
            for endpoint in endpoints:
                endpoint.expire()
            if time.monotonic() > reported + REPORT_SECONDS:
                reported = time.monotonic()
                self._context.report(self.records, phase="inference", total=self._parameters["records"])

    def _transform(self, name: str, endpoint: Endpoint, log: ContainerLog) -> None:
        """One container's share of the work, from its first ping on."""
        self._wait_until_healthy(name, endpoint)
        concurrency, payload = self._settings(endpoint.parameters())
        settings = f"MaxConcurrentTransforms={concurrency}, MaxPayloadInMB={payload}, BatchStrategy=MULTI_RECORD"
        log.say(name, settings)
        logging.info("%s: %s", name, settings)
        scratch = self._context.state / "scratch"
        scratch.mkdir(exist_ok=True)
        Transform(
            endpoint,
            self._splitter(payload),
            concurrency,
            self._headers(),
            scratch,
            self._stop,
            told=self._count,
            failed=self._bad.append,
        ).run(self._files(), self.answers)

    def _wait_until_healthy(self, name: str, endpoint: Endpoint) -> None:
        seconds = self._parameters.get("start_seconds", START_SECONDS)
        started = time.monotonic()
        while not endpoint.healthy():
            waited = time.monotonic() - started
            if waited > seconds:
                message = f"The container {name} did not answer /ping with status 200 within {seconds:,.0f} seconds."
                raise Failure("CONTAINER_UNHEALTHY", message)
            if self._stop.wait(FIRST_PINGS[1] if waited < FIRST_PINGS[0] else PING_SECONDS):
                raise Stopping

    def _settings(self, told: Mapping[str, Any]) -> tuple[int, int]:
        """The requests at once and the MB of one: what the job says goes above what the container says."""
        payload = self._parameters["max_payload"] or _whole(told.get("MaxPayloadInMB"), DEFAULT_PAYLOAD, MOST_PAYLOAD)
        return _whole(told.get("MaxConcurrentTransforms"), 1, MOST_PAYLOAD // payload), payload

    def _splitter(self, payload: int) -> Splitter:
        return Splitter(payload * 2**20, self._parameters["content_type"], self._parameters["header"])

    def _headers(self) -> dict[str, str]:
        accept = self._parameters["accept"]
        if accept and not (accept.isascii() and accept.isprintable()):
            raise InputError(f"accept {accept!r} is no value of a header; give a media type such as text/csv")
        return {"Content-Type": self._parameters["content_type"]} | ({"Accept": accept} if accept else {})

    def _files(self) -> Iterator[Path]:
        """The next file that nobody has taken, again and again."""
        while not self._stop.is_set():
            try:
                yield self._waiting.popleft()
            except IndexError:
                return

    def _count(self, records: int) -> None:
        with self._lock:
            self.records += records


def _whole(told: Any, otherwise: int, most: int) -> int:
    """A number that a container tells, if it is one."""
    return min(told, most) if isinstance(told, int) and not isinstance(told, bool) and told > 0 else otherwise

"""Inference: a party's container answers a channel's records, as SageMaker's batch transform asks it.

https://docs.aws.amazon.com/clean-rooms/latest/userguide/custom-model-guidelines.html
https://docs.aws.amazon.com/sagemaker/latest/dg/batch-transform.html
"""

from typing import Any

from modelyard.runner.context import Context


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
        policy: `privacyConfiguration.policies.trainedModelInferenceJobs`, or None.
        loggers: accounts that can be given logs.

    Output: `out/<file>.out` for each file of which every record was answered; `logs/<account>.log` for each of
    `loggers` that the policy names. What is finished stays in `state`, and is not asked again.

    Result: `digest`, `isolation`, `records`, `bytes` (of `out/`), `logs` (the accounts with a log), and where the
    container did wrong `failure`: `code` (CONTAINER_UNHEALTHY, CONTAINER_EXITED_NON_ZERO, MEMORY_EXCEEDED,
    INVOCATION_FAILED, PAYLOAD_TOO_LARGE, OUTPUT_TOO_LARGE) and `message` (ours alone, for everyone). After
    OUTPUT_TOO_LARGE `out/` is empty.

    InputError if a policy cannot be understood; NoSandbox if nothing can isolate the container.
    """
    raise NotImplementedError

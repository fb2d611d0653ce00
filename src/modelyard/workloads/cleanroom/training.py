"""Training: a party's container learns from channels that nobody sees, and leaves a model in the service's own folder.

https://docs.aws.amazon.com/clean-rooms/latest/userguide/custom-model-guidelines.html
"""

from typing import Any

from modelyard.runner.context import Context


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
    MAX_RUNTIME_EXCEEDED, ARTIFACT_TOO_LARGE, VOLUME_FULL), `message` (ours alone, for everyone), `said` (account ->
    the beginning of the container's failure file as that account's log policy shows it; nobody else may see it).

    InputError if a policy or a regular expression cannot be understood; NoSandbox if nothing can isolate the container.
    """
    raise NotImplementedError

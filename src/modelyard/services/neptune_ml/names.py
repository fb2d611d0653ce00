"""Names: of models, and as SageMaker's clients know them of runs and their ARNs."""

import re
from datetime import UTC, datetime

from modelyard.jobs.model import Owner

MODELS = ("rgcn", "gcn", "sage", "gat", "hgt", "transe", "distmult", "rotate", "complex")
"""What `modelName` may say: AWS's names and those that Modelyard adds, all of `workloads/graph/models/`."""


def run_name(id: str, role: str, stamp: str) -> str:
    """The name of one run, such as `link-pre-preloading-2021-07-22-00-02-1360000`: 8 characters of the id go first."""
    prefix = re.sub(r"[^a-zA-Z0-9]+", "-", id[:8]).strip("-") or "job"
    return f"{prefix}-{role}-{stamp}"


def stamp() -> str:
    """The time in UTC as run names have it: to the second, and five digits more."""
    now = datetime.now(UTC)
    return f"{now:%Y-%m-%d-%H-%M-%S}{now.microsecond // 10:05d}"


def arn(owner: Owner, resource: str, name: str) -> str:
    """The ARN of a SageMaker resource, for example of a `processing-job`."""
    return f"arn:aws:sagemaker:{owner.region}:{owner.account}:{resource}/{name}"

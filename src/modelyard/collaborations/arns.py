"""ARNs of both Clean Rooms services, exactly as the patterns of their models want them.

An ARN names its owner and the membership in which it lies, if any: what is another's can be told without looking.
"""

import re
import uuid
from dataclasses import dataclass

from modelyard.jobs.model import Owner

CLEANROOMS, CLEANROOMS_ML = "cleanrooms", "cleanrooms-ml"

_ID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_ARN = re.compile(
    rf"arn:aws:(cleanrooms|cleanrooms-ml):([a-z0-9-]{{1,20}}):([0-9]{{12}}):"
    rf"(?:membership/({_ID})/)?([a-z-]{{1,40}})/({_ID})"
)
_LONGEST = 200


@dataclass(frozen=True)
class Arn:
    """An ARN in parts. `membership` is the id of the one in which the resource lies, None where it lies in none."""

    service: str
    owner: Owner
    membership: str | None
    resource: str
    id: str


def parse(text: str) -> Arn | None:
    """The parts of an ARN of ours; None for anything else."""
    found = _ARN.fullmatch(text) if len(text) <= _LONGEST else None
    return Arn(found[1], Owner(found[3], found[2]), found[4], found[5], found[6]) if found else None


def new_id() -> str:
    """A UUID that nobody had before."""
    return str(uuid.uuid4())


def collaboration(region: str, creator: str, id: str) -> str:
    """The ARN of a collaboration; `creator` is the account that made it."""
    return f"arn:aws:{CLEANROOMS}:{region}:{creator}:collaboration/{id}"


def membership(owner: Owner, id: str) -> str:
    """The ARN of a membership."""
    return _of(CLEANROOMS, owner, f"membership/{id}")


def configured_table(owner: Owner, id: str) -> str:
    """The ARN of a configured table, which lies in no membership."""
    return _of(CLEANROOMS, owner, f"configuredtable/{id}")


def table_association(owner: Owner, membership: str, id: str) -> str:
    """The ARN of a configured table's association."""
    return _in(CLEANROOMS, owner, membership, f"configuredtableassociation/{id}")


def analysis_template(owner: Owner, membership: str, id: str) -> str:
    """The ARN of an analysis template."""
    return _in(CLEANROOMS, owner, membership, f"analysistemplate/{id}")


def privacy_budget_template(owner: Owner, membership: str, id: str) -> str:
    """The ARN of a privacy budget template."""
    return _in(CLEANROOMS, owner, membership, f"privacybudgettemplate/{id}")


def configured_model_algorithm(owner: Owner, id: str) -> str:
    """The ARN of a configured model algorithm, which lies in no membership."""
    return _of(CLEANROOMS_ML, owner, f"configured-model-algorithm/{id}")


def model_association(owner: Owner, membership: str, id: str) -> str:
    """The ARN of a configured model algorithm's association."""
    return _in(CLEANROOMS_ML, owner, membership, f"configured-model-algorithm-association/{id}")


def ml_input_channel(owner: Owner, membership: str, id: str) -> str:
    """The ARN of an ML input channel."""
    return _in(CLEANROOMS_ML, owner, membership, f"ml-input-channel/{id}")


def trained_model(owner: Owner, membership: str, id: str) -> str:
    """The ARN of a trained model, of all its versions."""
    return _in(CLEANROOMS_ML, owner, membership, f"trained-model/{id}")


def inference_job(owner: Owner, membership: str, id: str) -> str:
    """The ARN of a trained model's inference job."""
    return _in(CLEANROOMS_ML, owner, membership, f"trained-model-inference-job/{id}")


def _of(service: str, owner: Owner, resource: str) -> str:
    return f"arn:aws:{service}:{owner.region}:{owner.account}:{resource}"


def _in(service: str, owner: Owner, membership: str, resource: str) -> str:
    return _of(service, owner, f"membership/{membership}/{resource}")

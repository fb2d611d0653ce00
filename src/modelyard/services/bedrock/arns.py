"""ARNs of Bedrock's resources, exactly as the patterns of its model want them."""

import re
import secrets
import string
from dataclasses import dataclass

from modelyard.jobs.model import Owner

_ARN = re.compile(r"arn:aws[a-z-]{0,12}:bedrock:([a-z0-9-]{1,20}):([0-9]{12})?:([a-z-]{1,40})/(.{1,300})")
_ALPHABET = string.ascii_lowercase + string.digits
_ID_LENGTH = 12


@dataclass(frozen=True)
class Arn:
    """An ARN in parts. `account` is empty for a foundation model. `id` is what follows the last slash."""

    region: str
    account: str
    resource: str
    path: str

    @property
    def owner(self) -> Owner:
        """Whose it is."""
        return Owner(self.account, self.region)

    @property
    def id(self) -> str:
        """The resource's id, or the model's for a foundation model."""
        return self.path.rpartition("/")[2]


def parse(text: str) -> Arn | None:
    """The parts of an ARN of Bedrock's; None for anything else."""
    found = _ARN.fullmatch(text)
    return Arn(found[1], found[2] or "", found[3], found[4]) if found else None


def new_id() -> str:
    """The last part of an ARN: twelve characters that nobody had before."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH))


def foundation_model(region: str, model: str) -> str:
    """The ARN of a foundation model, which no account owns."""
    return f"arn:aws:bedrock:{region}::foundation-model/{model}"


def customization_job(owner: Owner, model: str, id: str) -> str:
    """The ARN of a customization job; `model` is the foundation model's id."""
    return _arn(owner, f"model-customization-job/{model}/{id}")


def custom_model(owner: Owner, model: str, id: str) -> str:
    """The ARN of a custom model; `model` is the foundation model's id, or `imported`."""
    return _arn(owner, f"custom-model/{model}/{id}")


def deployment(owner: Owner, id: str) -> str:
    """The ARN of a custom model deployment."""
    return _arn(owner, f"custom-model-deployment/{id}")


def provisioned_model(owner: Owner, id: str) -> str:
    """The ARN of a provisioned throughput."""
    return _arn(owner, f"provisioned-model/{id}")


def import_job(owner: Owner, id: str) -> str:
    """The ARN of a model import job."""
    return _arn(owner, f"model-import-job/{id}")


def imported_model(owner: Owner, id: str) -> str:
    """The ARN of an imported model."""
    return _arn(owner, f"imported-model/{id}")


def copy_job(owner: Owner, id: str) -> str:
    """The ARN of a model copy job."""
    return _arn(owner, f"model-copy-job/{id}")


def invocation_job(owner: Owner, id: str) -> str:
    """The ARN of a batch inference job."""
    return _arn(owner, f"model-invocation-job/{id}")


def _arn(owner: Owner, resource: str) -> str:
    return f"arn:aws:bedrock:{owner.region}:{owner.account}:{resource}"

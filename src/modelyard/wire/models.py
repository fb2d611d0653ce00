"""Service models: the operations, shapes and errors of a service, read from botocore's data at run time."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from botocore import xform_name
from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel, StructureShape

SERVICES = (
    "neptunedata",
    "bedrock",
    "bedrock-runtime",
    "cleanrooms",
    "cleanroomsml",
    "sagemaker-runtime",
    "s3",
    "sts",
)
"""The boto3 client names of the services that Modelyard answers for."""


_INTERNAL_ERRORS = {"rest-xml": "InternalError", "query": "InternalFailure"}
"""What the services of these protocols answer, though their models do not say so."""


class Model:
    """One service as its botocore model describes it.

    `operations` maps the name of the boto3 method (`get_ml_endpoint`) to the operation.
    """

    def __init__(self, name: str) -> None:
        """Load the model of the boto3 client `name`; raises `ValueError` for a service that is not ours."""
        if name not in SERVICES:
            raise ValueError(f"unknown service {name!r}; known are {', '.join(SERVICES)}")
        self.name = name
        self._service = ServiceModel(_description(name), name)
        self.signing_name: str = self._service.signing_name
        self.protocol: str = self._service.metadata["protocol"]
        self.namespace: str = self._service.metadata.get("xmlNamespace", "")
        self.operations: Mapping[str, OperationModel] = {
            xform_name(operation): self._service.operation_model(operation)
            for operation in self._service.operation_names
        }

    def error(self, code: str) -> StructureShape | None:
        """The shape of the error `code`, None where the service models no such error."""
        shape: StructureShape | None = self._service.shape_for_error_code(code)
        return shape

    @property
    def errors(self) -> list[StructureShape]:
        """Every error that the service models."""
        return list(self._service.error_shapes)

    def first_modelled(self, *codes: str) -> str | None:
        """The first of `codes` that the service models."""
        return next((code for code in codes if self.error(code) is not None), None)

    @property
    def internal_error(self) -> str:
        """The service's own name for a failure of the server."""
        if self.protocol in _INTERNAL_ERRORS:
            return _INTERNAL_ERRORS[self.protocol]
        for shape in self.errors:
            if shape.name.startswith("Internal") and error_status(shape) == 500:
                return str(shape.name)
        return "InternalServerException"


def error_status(shape: StructureShape) -> int:
    """The HTTP status that the model gives to an error; 400 where it is silent and the client is at fault."""
    metadata = shape.metadata
    return int(metadata.get("error", {}).get("httpStatusCode", 500 if metadata.get("fault") else 400))


def _description(name: str) -> dict[str, Any]:
    description: dict[str, Any] = _loader().load_service_model(name, "service-2")
    return description


@lru_cache(maxsize=1)
def _loader() -> Loader:
    """One for all services, since a loader looks through the folders of every AWS service first.

    Only the models that botocore ships: a folder ~/.aws/models of the operator must not change the wire.
    """
    return Loader(extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)

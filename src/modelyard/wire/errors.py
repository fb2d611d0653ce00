"""Faults: what a request gets instead of its output, rendered by the error's shape in the service model."""

from collections.abc import Mapping
from typing import Any

import orjson

from .models import Model, error_status
from .rest_json import Headers, ResponseRenderer

UNKNOWN_OPERATION = "UnknownOperationException"

_MALFORMED = ("BadRequestException", "ValidationException", "ValidationError", "SerializationException")
_INVALID = ("ValidationException", "ValidationError", "InvalidParameterException", "BadRequestException")


class Fault(Exception):
    """An error of the AWS API: `code` is the exception's name, `members` fill what its shape has beyond a text.

    `status` overrules the model's HTTP status and is needed where the service does not model the code; without
    it such a code answers 400, an unknown operation 404.
    """

    def __init__(
        self, code: str, message: str, members: Mapping[str, Any] | None = None, status: int | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.members = dict(members or {})
        self.status = status


def malformed(model: Model, message: str, status: int | None = None) -> Fault:
    """The service's own error for a request that cannot be read."""
    return Fault(model.first_modelled(*_MALFORMED) or "SerializationException", message, status=status)


def invalid(model: Model, message: str) -> Fault:
    """The service's own error for values that its model refuses."""
    return Fault(model.first_modelled(*_INVALID) or "ValidationException", message)


def unsupported(model: Model, operation: str) -> Fault:
    """The service's own answer for an operation that exists and is not served here."""
    message = f"{operation} of {model.name} is not served here"
    code = model.first_modelled("UnsupportedOperationException")
    return Fault(code or UNKNOWN_OPERATION, message)


def render(fault: Fault, request_id: str, model: Model | None) -> tuple[int, Headers, bytes]:
    """Status, headers and JSON body of a fault; `model` is None where no service is known."""
    shape = model.error(fault.code) if model is not None else None
    headers: Headers = [
        (b"x-amzn-errortype", fault.code.encode("ascii", "replace")),
        (b"x-amzn-requestid", request_id.encode()),
    ]
    if shape is None:
        status = fault.status or (404 if fault.code == UNKNOWN_OPERATION else 400)
        body = orjson.dumps({"__type": fault.code, "message": fault.message, "requestId": request_id})
        return status, [*headers, (b"content-type", b"application/json")], body
    texts = {
        "message": fault.message,
        "Message": fault.message,
        "detailedMessage": fault.message,
        "code": fault.code,
        "requestId": request_id,
    }
    members = {name: value for name, value in texts.items() if name in shape.members} | fault.members
    _, extra, body = ResponseRenderer(shape, 200).render(members)
    if "message" not in members:
        body = orjson.dumps(orjson.loads(body) | {"message": fault.message})
    return fault.status or error_status(shape), headers + extra, body

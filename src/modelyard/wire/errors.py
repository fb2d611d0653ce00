"""Faults: what a request gets instead of its output, as the service's protocol writes it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from botocore.model import OperationModel

from .models import Model, error_status
from .rest import Answer, header_bytes, with_length
from .rest_json import ResponseRenderer
from .rest_xml import DECLARATION, element
from .signature import KEY, MECHANISM, MISSING, SKEWED, WRONG, BadSignature
from .streams import Headers
from .violations import Violation, sentence

UNKNOWN_OPERATION = "UnknownOperationException"

NO_ROOM = "The disk of the data folder has no room left for this; make some, and send it again"
"""What is said of a full disk, with status 507, which clients do not repeat by themselves."""

_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")
"""What no XML can hold, so that no client could read the rest of the fault."""

_MALFORMED = ("BadRequestException", "ValidationException", "ValidationError", "SerializationException")
_INVALID = ("ValidationException", "ValidationError", "InvalidParameterException", "BadRequestException")


class Fault(Exception):
    """An error of the AWS API: `code` is the exception's name, `members` fill what its shape has beyond a text.

    `status` overrules the model's HTTP status and is needed where the service does not model the code; without
    it such a code answers 400, an unknown operation 404. `headers` (lower-case names) go out with the answer.
    """

    def __init__(
        self,
        code: str,
        message: str,
        members: Mapping[str, Any] | None = None,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.members = dict(members or {})
        self.status = status
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class _Words:
    """The codes and statuses with which the services of a protocol refuse what has nothing to do with one service."""

    malformed: str
    too_large: tuple[str, int]
    invalid: str
    unsupported: tuple[str, int]
    wrong_method: str
    refused: str
    expired: tuple[str, int]
    unknown_token: tuple[str, int]
    unsigned: str
    unknown_key: str
    wrong_signature: str
    skewed: str
    mechanism: tuple[str, int]
    id_headers: tuple[bytes, ...] = (b"x-amzn-requestid",)


_WORDS = {
    "rest-json": _Words(
        malformed="SerializationException",
        too_large=("SerializationException", 413),
        invalid="ValidationException",
        unsupported=(UNKNOWN_OPERATION, 404),
        wrong_method="MethodNotAllowedException",
        refused="AccessDeniedException",
        expired=("ExpiredTokenException", 403),
        unknown_token=("UnrecognizedClientException", 403),
        unsigned="MissingAuthenticationTokenException",
        unknown_key="UnrecognizedClientException",
        wrong_signature="InvalidSignatureException",
        skewed="InvalidSignatureException",
        mechanism=("IncompleteSignatureException", 403),
    ),
    # S3's own status of NotImplemented is 501; clients (obstore among them) repeat requests that end with 5xx.
    "rest-xml": _Words(
        malformed="MalformedXML",
        too_large=("MaxMessageLengthExceeded", 400),
        invalid="InvalidArgument",
        unsupported=("NotImplemented", 400),
        wrong_method="MethodNotAllowed",
        refused="AccessDenied",
        expired=("ExpiredToken", 400),
        unknown_token=("InvalidToken", 400),
        unsigned="AccessDenied",
        unknown_key="InvalidAccessKeyId",
        wrong_signature="SignatureDoesNotMatch",
        skewed="RequestTimeTooSkewed",
        mechanism=("InvalidRequest", 400),
        id_headers=(b"x-amz-request-id", b"x-amz-id-2"),
    ),
    "query": _Words(
        malformed="MalformedQueryString",
        too_large=("MalformedQueryString", 413),
        invalid="ValidationError",
        unsupported=("InvalidAction", 400),
        wrong_method="InvalidAction",
        refused="AccessDenied",
        expired=("ExpiredToken", 403),
        unknown_token=("InvalidClientTokenId", 403),
        unsigned="MissingAuthenticationToken",
        unknown_key="InvalidClientTokenId",
        wrong_signature="SignatureDoesNotMatch",
        skewed="SignatureDoesNotMatch",
        mechanism=("IncompleteSignature", 403),
    ),
}


def words(model: Model | None) -> _Words:
    """How a service words what is no matter of its own."""
    return _WORDS[model.protocol if model is not None else "rest-json"]


def malformed(model: Model, message: str) -> Fault:
    """The service's own error for a request that cannot be read."""
    return Fault(_first(model, _MALFORMED) or words(model).malformed, message)


def too_large(model: Model, message: str) -> Fault:
    """The service's own error for a body beyond the limit."""
    code, status = words(model).too_large
    return Fault(_first(model, _MALFORMED) or code, message, status=status)


def invalid(model: Model, violations: Sequence[Violation]) -> Fault:
    """The service's own error for values that its model refuses."""
    if model.protocol == "rest-xml" and any("." in violation.member for violation in violations):
        return malformed(model, sentence(violations))  # members of members stand in the body
    return Fault(_first(model, _INVALID) or words(model).invalid, sentence(violations))


def bad_token(model: Model | None, expired: bool) -> Fault:
    """A service's own refusal of temporary credentials."""
    if expired:
        code, status = words(model).expired
        return Fault(code, "The security token included in the request is expired", status=status)
    code, status = words(model).unknown_token
    return Fault(code, "The security token included in the request is invalid.", status=status)


def bad_signature(model: Model | None, bad: BadSignature) -> Fault:
    """A service's own refusal of a request that nobody is known to have signed."""
    own = words(model)
    codes = {MISSING: own.unsigned, KEY: own.unknown_key, WRONG: own.wrong_signature, SKEWED: own.skewed}
    code, status = own.mechanism if bad.kind == MECHANISM else (codes[bad.kind], 403)
    return Fault(code, str(bad), status=status)


def unsupported(model: Model, operation: OperationModel) -> Fault:
    """The service's own answer for an operation that exists and is not served here."""
    message = f"{operation.name} of {model.name} is not served here"
    code, status = words(model).unsupported
    modelled = model.first_modelled("UnsupportedOperationException")
    return Fault(modelled, message) if modelled else Fault(code, message, status=status)


def _first(model: Model, codes: Sequence[str]) -> str | None:
    return model.first_modelled(*codes) if model.protocol == "rest-json" else None


def id_headers(model: Model | None) -> tuple[bytes, ...]:
    """The headers in which a service names a request."""
    return words(model).id_headers


def request_id_headers(model: Model | None, request_id: str) -> Headers:
    """Those headers for one request."""
    return [(name, request_id.encode()) for name in id_headers(model)]


def render(fault: Fault, request_id: str, model: Model | None, resource: str = "") -> Answer:
    """Status, headers and body of a fault; `model` is None where no service is known, `resource` is the path."""
    if model is None or model.protocol == "rest-json":
        status, headers, body = _render_json(fault, request_id, model)
    else:
        shape = model.error(fault.code)
        status = fault.status or (error_status(shape) if shape is not None else 400)
        s3 = model.protocol == "rest-xml"
        text = _s3_error(fault, request_id, resource) if s3 else _query_error(fault, request_id, model.namespace)
        headers = [(b"content-type", b"application/xml")]
        body = (DECLARATION + text).encode("utf-8", "replace")
    more = [(name.encode(), header_bytes(value)) for name, value in fault.headers.items()]
    if status == 304:  # has no body, and no type of one
        return status, [*request_id_headers(model, request_id), *more], b""
    return with_length(status, [*headers, *request_id_headers(model, request_id), *more], body)


def render_to_form(fault: Fault, request_id: str) -> Answer:
    """A fault for the client of a service that is not known, which sent a form: it reads XML."""
    headers = [(b"content-type", b"application/xml"), *request_id_headers(None, request_id)]
    return with_length(fault.status or 400, headers, (DECLARATION + _query_error(fault, request_id)).encode())


def _s3_error(fault: Fault, request_id: str, resource: str) -> str:
    texts = {
        "Code": fault.code,
        "Message": fault.message,
        **fault.members,
        "Resource": resource,
        "RequestId": request_id,
        "HostId": request_id,
    }
    return f"<Error>{_elements(texts)}</Error>"


def _query_error(fault: Fault, request_id: str, namespace: str = "") -> str:
    side = "Receiver" if (fault.status or 400) >= 500 else "Sender"
    error = _elements({"Type": side, "Code": fault.code, "Message": fault.message, **fault.members})
    content = f"<Error>{error}</Error>{element('RequestId', request_id)}"
    return f'<ErrorResponse xmlns="{namespace}">{content}</ErrorResponse>'


def _elements(texts: Mapping[str, Any]) -> str:
    return "".join(element(name, _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", str(text))) for name, text in texts.items())


def _render_json(fault: Fault, request_id: str, model: Model | None) -> tuple[int, Headers, bytes]:
    shape = model.error(fault.code) if model is not None else None
    headers: Headers = [(b"x-amzn-errortype", fault.code.encode("ascii", "replace"))]
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
    _, extra, content = ResponseRenderer(shape, 200).render(members)
    assert isinstance(content, bytes)
    if "message" not in members:
        content = orjson.dumps(orjson.loads(content) | {"message": fault.message})
    headers += [(name, value) for name, value in extra if name != b"content-length"]
    return fault.status or error_status(shape), headers, content

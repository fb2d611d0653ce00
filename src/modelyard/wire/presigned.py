"""Addresses that S3's clients sign for others to use: their form and their end. Signatures are not checked.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from .errors import Fault
from .rest import Malformed, query_fields

LONGEST_SECONDS = 7 * 24 * 60 * 60
EARLY_SECONDS = 15 * 60
"""So much may the client's clock be ahead."""

_V4 = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Expires")
_V2 = ("Signature", "Expires", "AWSAccessKeyId")
_CREDENTIAL = re.compile(r"[^/]{1,256}/(\d{8})/[a-z0-9-]{1,64}/s3/aws4_request")


def check(query: bytes, now: float) -> None:
    """Raises `Fault` unless the query string has no signature, or one whose time, seconds since 1970, is now."""
    if b"X-Amz-" not in query and b"Signature=" not in query and b"AWSAccessKeyId=" not in query:
        return
    try:
        fields = dict(query_fields(query))
    except Malformed as error:
        raise Fault("InvalidURI", str(error)) from error
    if "X-Amz-Signature" in fields or "X-Amz-Credential" in fields or "X-Amz-Algorithm" in fields:
        _check_v4(fields, now)
    elif "Signature" in fields or "AWSAccessKeyId" in fields:
        _check_v2(fields, now)


def _check_v4(fields: Mapping[str, str], now: float) -> None:
    if any(not fields.get(name) for name in _V4):
        names = f"{', '.join(_V4[:-1])}, and {_V4[-1]}"
        raise _malformed(f"Query-string authentication version 4 requires the {names} parameters.")
    if fields["X-Amz-Algorithm"] not in ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"):
        raise _malformed('X-Amz-Algorithm only supports "AWS4-HMAC-SHA256 and AWS4-ECDSA-P256-SHA256"')
    signed = _signing_time(fields["X-Amz-Date"])
    credential = _CREDENTIAL.fullmatch(fields["X-Amz-Credential"])
    if credential is None or not fields["X-Amz-Date"].startswith(credential[1]):
        expected = 'expecting "<YOUR-AKID>/YYYYMMDD/REGION/s3/aws4_request" with the day of X-Amz-Date.'
        raise _malformed(f"Error parsing the X-Amz-Credential parameter; the Credential is mal-formed; {expected}")
    seconds = fields["X-Amz-Expires"]
    if not (seconds.isascii() and seconds.isdigit()):
        raise _malformed("X-Amz-Expires should be a number")
    if len(seconds) > 9 or not 1 <= int(seconds) <= LONGEST_SECONDS:
        raise _malformed(f"X-Amz-Expires must be from 1 to {LONGEST_SECONDS} seconds, a week")
    if signed > now + EARLY_SECONDS:
        raise Fault("AccessDenied", "Request is not yet valid", {"X-Amz-Date": fields["X-Amz-Date"]})
    if signed + int(seconds) <= now:
        raise _expired(signed + int(seconds), now, {"X-Amz-Expires": seconds})


def _signing_time(text: str) -> float:
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise _malformed("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"") from None


def _check_v2(fields: Mapping[str, str], now: float) -> None:
    if any(not fields.get(name) for name in _V2):
        message = "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters"
        raise Fault("AccessDenied", message)
    end = fields["Expires"]
    if not (end.isascii() and end.isdigit() and len(end) < 12):
        raise Fault("AccessDenied", f"Invalid date (should be seconds since epoch): {end[:40]}")
    if int(end) <= now:
        raise _expired(int(end), now, {})


def _malformed(message: str) -> Fault:
    return Fault("AuthorizationQueryParametersError", message)


def _expired(end: float, now: float, more: Mapping[str, str]) -> Fault:
    times = {"Expires": _text(end), "ServerTime": _text(now)}
    return Fault("AccessDenied", "Request has expired", {**more, **times})


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

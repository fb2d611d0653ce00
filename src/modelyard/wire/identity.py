"""Who calls: account, region and service out of a request's credential scope."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs

ANONYMOUS_ACCOUNT = "000000000000"
DEFAULT_REGION = "us-east-1"

_SCOPE = re.compile(rb"([^/,\s]{1,256})/\d{8}/([a-z0-9-]{1,64})/([a-z0-9.-]{1,64})/aws4_request")
_BEARER = re.compile(rb"[Bb]earer\s+(\S{1,4096})\s*")


@dataclass(frozen=True, slots=True)
class Identity:
    """The caller; `signing_name` is None for a request without a credential scope."""

    account: str = ANONYMOUS_ACCOUNT
    region: str = DEFAULT_REGION
    signing_name: str | None = None


UNSIGNED = Identity()


def identify(headers: Sequence[tuple[bytes, bytes]], query: bytes, account_of: Callable[[str], str]) -> Identity:
    """The caller of a request; header names are in lower case.

    Reads the `Authorization` header (signature version 4, or a bearer key) or `X-Amz-Credential` of a presigned
    address. Anything else is unsigned. Signatures are not checked here.
    """
    for name, value in headers:
        if name == b"authorization":
            return _from_header(value, account_of)
    if b"X-Amz-Credential" in query:
        return _from_scope(_SCOPE.fullmatch(_presigned(query)), account_of)
    return UNSIGNED


def account_of_key(access_key: str) -> str:
    """Without a keys file: an access key of twelve digits is that account, every other key the anonymous one."""
    return access_key if re.fullmatch(r"[0-9]{12}", access_key) else ANONYMOUS_ACCOUNT


def _from_header(value: bytes, account_of: Callable[[str], str]) -> Identity:
    start = value.find(b"Credential=")
    if start >= 0 and value.startswith(b"AWS4-"):
        return _from_scope(_SCOPE.match(value, start + 11), account_of)
    bearer = _BEARER.fullmatch(value)
    if bearer is not None:
        return Identity(_account(bearer[1], account_of))
    return UNSIGNED


def _presigned(query: bytes) -> bytes:
    try:
        return parse_qs(query, max_num_fields=1000).get(b"X-Amz-Credential", [b""])[0]
    except ValueError:
        return b""


def _from_scope(scope: re.Match[bytes] | None, account_of: Callable[[str], str]) -> Identity:
    if scope is None:
        return UNSIGNED
    return Identity(_account(scope[1], account_of), scope[2].decode(), scope[3].decode())


def _account(key: bytes, account_of: Callable[[str], str]) -> str:
    text = key.decode("latin-1")
    account = account_of_key(text)
    return account if account != ANONYMOUS_ACCOUNT else account_of(text)

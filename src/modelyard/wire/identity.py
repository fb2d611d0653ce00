"""Who calls: account, region and service out of a request's credential scope."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from urllib.parse import parse_qs

ANONYMOUS_ACCOUNT = "000000000000"
DEFAULT_REGION = "us-east-1"

_SCOPE = re.compile(rb"([^/,\s]{1,256})/\d{8}/([a-z0-9-]{1,64})/([a-z0-9.-]{1,64})/aws4_request")
_ACCOUNT = re.compile(r"[0-9]{12}")
_LONGEST = 512
"""Bytes of a credential; what is longer is none."""
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
        return _from_credential(_presigned(query)[:_LONGEST], account_of)
    return UNSIGNED


def account_of_key(access_key: str) -> str:
    """Without a keys file: an access key of twelve digits is that account, every other key the anonymous one."""
    return access_key if _ACCOUNT.fullmatch(access_key) else ANONYMOUS_ACCOUNT


def _from_header(value: bytes, account_of: Callable[[str], str]) -> Identity:
    start = value.find(b"Credential=")
    if start >= 0 and value.startswith(b"AWS4-"):
        credential = value[start + 11 : start + 11 + _LONGEST].partition(b",")[0].strip()
        return _from_credential(credential, account_of)
    bearer = _BEARER.fullmatch(value)
    if bearer is not None:
        return Identity(_account(bearer[1], account_of))
    return UNSIGNED


def _presigned(query: bytes) -> bytes:
    try:
        return parse_qs(query, max_num_fields=1000).get(b"X-Amz-Credential", [b""])[0]
    except ValueError:
        return b""


def _from_credential(credential: bytes, account_of: Callable[[str], str]) -> Identity:
    key, identity = _scope(credential)
    if key is None or (account := account_of(key)) == identity.account:
        return identity
    return replace(identity, account=account)


@lru_cache(maxsize=1024)
def _scope(credential: bytes) -> tuple[str | None, Identity]:
    """The caller that a credential names, and the key whose account is still to be looked up.

    A client repeats its credential in every request of a day.
    """
    scope = _SCOPE.fullmatch(credential)
    if scope is None:
        return None, UNSIGNED
    key, region, name = (part.decode("latin-1") for part in scope.groups())
    account = account_of_key(key)
    return key if account == ANONYMOUS_ACCOUNT else None, Identity(account, region, name)


def _account(key: bytes, account_of: Callable[[str], str]) -> str:
    text = key.decode("latin-1")
    account = account_of_key(text)
    return account if account != ANONYMOUS_ACCOUNT else account_of(text)

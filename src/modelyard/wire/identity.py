"""Who calls: account, region and service out of a request's credential scope."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from urllib.parse import parse_qsl

ANONYMOUS_ACCOUNT = "000000000000"
DEFAULT_REGION = "us-east-1"

_SCOPE = re.compile(rb"([^/,\s]{1,256})/\d{8}/([a-z0-9-]{1,64})/([a-z0-9.-]{1,64})/aws4_request")
_ACCOUNT = re.compile(r"[0-9]{12}")
_LONGEST = 512
"""Bytes of a credential; what is longer is none."""
_BEARER = re.compile(rb"[Bb]earer\s+(\S{1,4096})\s*")
_VERSION_2 = re.compile(rb"AWS ([^:\s]{1,256}):\S+")

Headers = Sequence[tuple[bytes, bytes]]
AccountOf = Callable[[str, str], str]
"""The account of an access key or bearer key, and the session token with it ("" for none). May raise `BadToken`."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The caller; `signing_name` is None for a request without a credential scope."""

    account: str = ANONYMOUS_ACCOUNT
    region: str = DEFAULT_REGION
    signing_name: str | None = None
    access_key: str = ""


UNSIGNED = Identity()


class BadToken(Exception):
    """Temporary credentials are not good, or not any more (`expired`); `signing_name` is as in `Identity`."""

    signing_name: str | None = None

    def __init__(self, expired: bool) -> None:
        super().__init__("expired" if expired else "no such session")
        self.expired = expired


def identify(headers: Headers, query: bytes, account_of: AccountOf) -> Identity:
    """The caller of a request; header names are in lower case. Raises `BadToken`.

    Reads the `Authorization` header (signature version 4, S3's version 2, or a bearer key) or the query string of a
    presigned address. Anything else is unsigned. Signatures are not checked here.
    """
    for name, value in headers:
        if name == b"authorization":
            return _from_header(value, headers, account_of)
    if b"X-Amz-Credential" in query or b"AWSAccessKeyId" in query:
        return _from_query(query, account_of)
    return UNSIGNED


def account_of_key(access_key: str, token: str = "") -> str:
    """Without a keys file: an access key of twelve digits is that account, every other key the anonymous one."""
    return access_key if _ACCOUNT.fullmatch(access_key) else ANONYMOUS_ACCOUNT


def _from_header(value: bytes, headers: Headers, account_of: AccountOf) -> Identity:
    start = value.find(b"Credential=")
    if start >= 0 and value.startswith(b"AWS4-"):
        credential = value[start + 11 : start + 11 + _LONGEST].partition(b",")[0].strip()
        identity = _from_credential(credential)
    elif older := _VERSION_2.fullmatch(value):
        identity = _from_older_key(older[1])
    elif bearer := _BEARER.fullmatch(value):
        identity = Identity(access_key=bearer[1].decode("latin-1"))
        identity = replace(identity, account=account_of_key(identity.access_key))
    else:
        return UNSIGNED
    if identity.account != ANONYMOUS_ACCOUNT or identity.access_key == ANONYMOUS_ACCOUNT:
        return identity
    token = next((token for name, token in headers if name == b"x-amz-security-token"), b"")
    return _looked_up(identity, token.decode("latin-1"), account_of)


def _from_query(query: bytes, account_of: AccountOf) -> Identity:
    try:
        fields = dict(parse_qsl(query, max_num_fields=1000))
    except ValueError:
        return UNSIGNED
    if b"X-Amz-Credential" in fields:
        identity = _from_credential(fields[b"X-Amz-Credential"][:_LONGEST])
    else:
        identity = _from_older_key(fields.get(b"AWSAccessKeyId", b"")[:_LONGEST])
    token = fields.get(b"X-Amz-Security-Token") or fields.get(b"x-amz-security-token") or b""
    return _looked_up(identity, token.decode("latin-1"), account_of)


@lru_cache(maxsize=1024)
def _from_credential(credential: bytes) -> Identity:
    """The caller that a credential names; a client repeats its credential in every request of a day."""
    scope = _SCOPE.fullmatch(credential)
    if scope is None:
        return UNSIGNED
    key, region, name = (part.decode("latin-1") for part in scope.groups())
    return Identity(account_of_key(key), region, name, key)


def _from_older_key(key: bytes) -> Identity:
    text = key.decode("latin-1")
    return Identity(account_of_key(text), DEFAULT_REGION, "s3", text)


def _looked_up(identity: Identity, token: str, account_of: AccountOf) -> Identity:
    """With the account of a key that does not say its own."""
    if identity.account != ANONYMOUS_ACCOUNT or not identity.access_key:
        return identity
    try:
        account = account_of(identity.access_key, token)
    except BadToken as bad:
        bad.signing_name = identity.signing_name
        raise
    return identity if account == identity.account else replace(identity, account=account)

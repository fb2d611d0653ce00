"""Signatures, version 4: whether a request was signed with the secret of the key that it names, as it is and just now.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html. Those of single chunks, and
what a request says that its hash does not cover (`UNSIGNED-PAYLOAD`, `STREAMING-…`), are not checked.
"""

import hmac
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from urllib.parse import quote, unquote_to_bytes

from .identity import Identity
from .streams import Headers, Scope

ALGORITHM = "AWS4-HMAC-SHA256"
SKEW_SECONDS = 15 * 60
"""So far may the clocks of client and server be apart."""
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
MISSING, KEY, WRONG, SKEWED, MECHANISM = "missing", "key", "wrong", "skewed", "mechanism"

_HASH = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_SCOPE = re.compile(r"([^/]{1,256})/([0-9]{8})/([a-z0-9-]{1,64})/([a-z0-9.-]{1,64})/aws4_request")
_MOST = 1000
"""Parameters of a query string, or names of signed headers."""

SecretOf = Callable[[str], str | None]
"""The secret of an access key; None if nobody has that key."""


class BadSignature(Exception):
    """A request that nobody is known to have signed; `kind` is one of the five words above."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class _Signed:
    """What a request says of its signature. `headers` are the names of those that it covers."""

    credential: str
    headers: Sequence[str]
    signature: str
    time: str


class Signatures:
    """Checks signatures; `clock` gives seconds since 1970."""

    def __init__(self, secret_of: SecretOf, clock: Callable[[], float] = time.time) -> None:
        self._secret_of = secret_of
        self._clock = clock

    def check(self, scope: Scope, caller: Identity, payload: str | None = None) -> None:
        """Raises `BadSignature` unless `caller`, as `identify` found it, signed the request.

        payload: the hash of the body in hex; None for S3, whose requests tell it themselves (`payload_hash`).
        """
        headers, query = _texts(scope["headers"]), _pairs(scope["query_string"])
        if "authorization" in headers:
            signed = _from_header(headers, self._clock())
        elif payload is None:
            signed = _from_query(query)
            query = [pair for pair in query if pair[0] != "X-Amz-Signature"]
        else:
            raise _missing()
        found = _SCOPE.fullmatch(signed.credential)
        if found is None or found.group(1, 3, 4) != (caller.access_key, caller.region, caller.signing_name):
            raise BadSignature(WRONG, "The credential is not <key>/<yyyymmdd>/<region>/<service>/aws4_request")
        key, day, region, service = found.groups()
        if not (_TIME.fullmatch(signed.time) and signed.time.startswith(day)):
            raise BadSignature(WRONG, "The time of the request is not yyyymmddThhmmssZ on the day of its credential")
        _check_covered(signed, headers)
        secret = self._secret_of(key)
        if secret is None:
            raise BadSignature(KEY, "The access key of the request is none that this server knows")
        if payload is None:
            payload = payload_hash(scope["headers"]) or _presigned_hash(query)
        covered = [f"{name}:{headers[name]}" for name in signed.headers]
        parts = (scope["method"], _path(scope, service), _query(query), *covered, "", ";".join(signed.headers), payload)
        canonical = sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()
        text = f"{ALGORITHM}\n{signed.time}\n{day}/{region}/{service}/aws4_request\n{canonical}"
        ours = hmac.new(_signing_key(secret, day, region, service), text.encode(), "sha256").hexdigest()
        if not hmac.compare_digest(ours.encode(), signed.signature.encode("utf-8", "replace")):
            reason = "The signature is not the one that this server makes of the request; look at the secret key"
            raise BadSignature(WRONG, f"{reason}, and at whatever changes requests on their way")


def payload_hash(headers: Headers) -> str:
    """What a request says of its body: a hash in hex, a word for none, or nothing."""
    return next((value.decode("latin-1") for name, value in headers if name == b"x-amz-content-sha256"), "")


def body_hash(headers: Headers) -> str | None:
    """The hash that the body must have, in hex, where a request tells one."""
    found = payload_hash(headers)
    return found if _HASH.fullmatch(found) else None


def _from_header(headers: Mapping[str, str], now: float) -> _Signed:
    words, moment = headers["authorization"].partition(" "), headers.get("x-amz-date", "")
    if words[0] != ALGORITHM:
        raise BadSignature(MECHANISM, f"This server checks signatures, and knows {ALGORITHM} alone")
    fields = dict(field.strip().partition("=")[::2] for field in words[2].split(","))
    if fields.keys() != {"Credential", "SignedHeaders", "Signature"}:
        raise BadSignature(WRONG, "The Authorization header has not Credential, SignedHeaders and Signature, each once")
    if not moment:
        raise _missing()
    if not _TIME.fullmatch(moment) or abs(_seconds(moment) - now) > SKEW_SECONDS:
        clocks = (
            f"it is {datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ} here, and {SKEW_SECONDS // 60} minutes matter"
        )
        raise BadSignature(SKEWED, f"The request was signed at {moment[:20]}: {clocks}")
    return _Signed(fields["Credential"], fields["SignedHeaders"].split(";"), fields["Signature"], moment)


def _missing() -> BadSignature:
    return BadSignature(MISSING, "The request is not signed, and this server checks signatures")


def _from_query(pairs: Sequence[tuple[str, str]]) -> _Signed:
    """Of a presigned address, whose end is checked elsewhere."""
    fields = dict(pairs)
    if "X-Amz-Signature" not in fields:
        if "Signature" in fields:
            how = "boto3 makes them with Config(signature_version='s3v4')"
            raise BadSignature(MECHANISM, f"This server checks signatures, and knows {ALGORITHM} alone: {how}")
        raise _missing()
    if len(fields) != len(pairs) or fields.get("X-Amz-Algorithm") != ALGORITHM:
        raise BadSignature(MECHANISM, f"A presigned address names each parameter once, and {ALGORITHM}")
    names = ("X-Amz-Credential", "X-Amz-SignedHeaders", "X-Amz-Signature", "X-Amz-Date")
    credential, signed, signature, moment = (fields.get(name, "") for name in names)
    return _Signed(credential, signed.split(";"), signature, moment)


def _check_covered(signed: _Signed, headers: Mapping[str, str]) -> None:
    """Raises `BadSignature` unless the signature covers the host, and whatever has a meaning of AWS's."""
    names = set(signed.headers)
    if len(names) != len(signed.headers) or len(names) > _MOST or not names <= headers.keys():
        raise BadSignature(WRONG, "A header that is said to be signed did not come, or is named twice")
    if bare := {"host", *(name for name in headers if name.startswith("x-amz-"))} - names:
        raise BadSignature(WRONG, f"There were headers present that were not signed: {', '.join(sorted(bare))[:200]}")


@lru_cache(maxsize=1024)
def _signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    key = b"AWS4" + secret.encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _texts(headers: Headers) -> dict[str, str]:
    """Headers as they are signed: by name, values of one name in order, white space as one space."""
    found: dict[str, str] = {}
    for raw, value in headers:
        name, text = raw.decode("latin-1"), " ".join(value.decode("utf-8", "surrogateescape").split())
        if name == "authorization" and name in found:
            raise BadSignature(MECHANISM, "The request has two Authorization headers")
        found[name] = f"{found[name]},{text}" if name in found else text
    return found


def _pairs(query: bytes) -> list[tuple[str, str]]:
    """The parameters of a query string, decoded once; a plus sign is a space, as clients write forms."""
    pieces = query.replace(b"+", b" ").split(b"&") if query else []
    if len(pieces) > _MOST:
        raise BadSignature(WRONG, f"The query string has more than {_MOST} parameters")
    split = (piece.partition(b"=") for piece in pieces if piece)
    return [(_decoded(name), _decoded(value)) for name, _, value in split]


def _decoded(piece: bytes) -> str:
    return unquote_to_bytes(piece).decode("utf-8", "surrogateescape")


def _encoded(text: str) -> str:
    return quote(text.encode("utf-8", "surrogateescape"), "")


def _query(pairs: Sequence[tuple[str, str]]) -> str:
    encoded = sorted((_encoded(name), _encoded(value)) for name, value in pairs)
    return "&".join(f"{name}={value}" for name, value in encoded)


def _presigned_hash(pairs: Sequence[tuple[str, str]]) -> str:
    """Of a presigned address: whoever it is for brings any body, unless it says which."""
    return dict(pairs).get("X-Amz-Content-Sha256", UNSIGNED_PAYLOAD)


def _path(scope: Scope, service: str) -> str:
    """The path as it is signed: S3's as its bytes are, all others' without dots, and encoded once more."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    if service == "s3":
        return quote(unquote_to_bytes(raw), "/")
    kept: list[bytes] = []
    for part in raw.split(b"/"):
        if part == b"..":
            del kept[-1:]
        elif part not in (b"", b"."):
            kept.append(part)
    path = b"/" + b"/".join(kept) + (b"/" if kept and raw.endswith(b"/") else b"")
    return quote(path, "/")


def _seconds(moment: str) -> float:
    try:
        return datetime.fromisoformat(moment).timestamp()
    except ValueError:
        raise BadSignature(WRONG, f"{moment[:20]} is no time") from None

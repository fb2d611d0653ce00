"""Whether what arrived is what the client announced: its MD5, its checksums, and the hash that it signed.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
"""

import re
from collections.abc import Mapping
from typing import Any

from modelyard.storage.digests import ALGORITHMS, Digests, decode, encode
from modelyard.wire.errors import Fault
from modelyard.wire.streams import Body, Headers

_HASH = re.compile(r"[0-9a-f]{64}")
_PREFIX = "x-amz-checksum-"
_MEMBERS = {f"Checksum{name}": name for name in ALGORITHMS}
_HEADERS = {b"content-md5": "ContentMD5"} | {
    (_PREFIX + name).lower().encode(): f"Checksum{name}" for name in ALGORITHMS
}
_READ = frozenset({b"x-amz-trailer", b"x-amz-content-sha256"})


class Integrity:
    """What a request announces of its body, in headers or in trailers. A Fault if that cannot be.

    `algorithms` are those whose digests `check` wants to see.
    """

    def __init__(self, request: Mapping[str, Any], body: Body) -> None:
        self._body = body
        headers = {name.decode(): value.decode("latin-1") for name, value in body.headers if name in _READ}
        self._md5 = _md5(request)
        self._sums = announced(request)
        self._trailing = _trailing(headers.get("x-amz-trailer", ""))
        signed = headers.get("x-amz-content-sha256", "")
        told = self._md5 is not None or self._sums or self._trailing
        # Whoever tells a checksum needs no second one, the dearest of all, while nothing depends on signatures.
        self._signed = signed if _HASH.fullmatch(signed) and not told else None
        self._wanted = {*self._sums, *self._trailing, *_asked(request)}
        self.algorithms = self._wanted | ({"SHA256"} if self._signed else set())

    def check(self, digests: Mapping[str, bytes]) -> dict[str, str]:
        """The checksums of what arrived, in base64. A Fault if it is not what was announced."""
        if self._signed is not None and digests["SHA256"].hex() != self._signed:
            message = "The provided 'x-amz-content-sha256' header does not match what was computed."
            members = {"ClientComputedContentSHA256": self._signed, "S3ComputedContentSHA256": digests["SHA256"].hex()}
            raise Fault("XAmzContentSHA256Mismatch", message, members)
        _check(digests, self._md5, {**self._sums, **self._trailers()})
        return {algorithm: encode(digests[algorithm]) for algorithm in self._wanted}

    def _trailers(self) -> dict[str, str]:
        sums = {}
        for algorithm in self._trailing:
            sum = self._body.trailers.get(_PREFIX + algorithm.lower())
            if sum is None:
                raise Fault("MalformedTrailerError", f"The trailer {_PREFIX}{algorithm.lower()} did not come")
            sums[algorithm] = _valid(algorithm, sum)
        return sums


def check_document(headers: Headers, body: bytes) -> None:
    """A Fault for a document that has another MD5 or another checksum than its headers say."""
    request = {_HEADERS[name]: value.decode("latin-1") for name, value in headers if name in _HEADERS}
    md5, sums = _md5(request), announced(request)
    if md5 is not None or sums:
        digests = Digests(sums)
        digests.update(body)
        _check(digests.digests(), md5, sums)


def _check(digests: Mapping[str, bytes], md5: bytes | None, sums: Mapping[str, str]) -> None:
    if md5 is not None and digests["MD5"] != md5:
        message = "The Content-MD5 you specified did not match what we received."
        members = {"ExpectedDigest": encode(md5), "CalculatedDigest": encode(digests["MD5"])}
        raise Fault("BadDigest", message, members)
    for algorithm, sum in sums.items():
        if (calculated := encode(digests[algorithm])) != sum:
            raise mismatch(algorithm, sum, calculated)


def announced(request: Mapping[str, Any]) -> dict[str, str]:
    """The checksums in a request's headers, by algorithm; a Fault for what can be none, and for more than one."""
    sums = {_MEMBERS[member]: request[member] for member in _MEMBERS.keys() & request.keys()}
    for name, sum in sums.items():
        _valid(name, sum)
    if len(sums) > 1:
        message = "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        raise Fault("InvalidRequest", message)
    return sums


def mismatch(algorithm: str, expected: str, calculated: str) -> Fault:
    """For a checksum that is another one than was announced."""
    message = f"The {algorithm} you specified did not match the calculated checksum."
    return Fault("BadDigest", message, {"ExpectedDigest": expected, "CalculatedDigest": calculated})


def _valid(algorithm: str, sum: str) -> str:
    try:
        decode(sum, algorithm)
    except ValueError:
        raise Fault("InvalidRequest", f"Value for {_PREFIX}{algorithm.lower()} header is invalid.") from None
    return sum


def _md5(request: Mapping[str, Any]) -> bytes | None:
    text = request.get("ContentMD5")
    try:
        return decode(text, "MD5") if text is not None else None
    except ValueError:
        raise Fault("InvalidDigest", "The Content-MD5 you specified was invalid.") from None


def _asked(request: Mapping[str, Any]) -> set[str]:
    """The algorithm that the client says that it uses."""
    algorithm = str(request.get("ChecksumAlgorithm", "")).upper()
    return {algorithm} & ALGORITHMS


def _trailing(names: str) -> set[str]:
    """The algorithms of the trailers that a header announces."""
    found = {name.strip().lower().removeprefix(_PREFIX).upper() for name in names.split(",") if name.strip()}
    if not found <= ALGORITHMS:
        raise Fault("InvalidRequest", "The value specified in the x-amz-trailer header is not supported")
    return found

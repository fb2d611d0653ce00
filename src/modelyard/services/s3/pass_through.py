"""S3 where another S3 service keeps the objects: requests pass through to it, signed again as the server's own.

Whose a bucket is stays our matter: the service knows the server alone. Needs aiohttp (`modelyard[s3]`).
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode
from xml.etree import ElementTree

import aiohttp
import yarl
from botocore.auth import UNSIGNED_PAYLOAD, S3SigV4Auth
from botocore.awsrequest import AWSRequest

from modelyard.storage.buckets import AccessDenied, Buckets
from modelyard.storage.endpoint import S3Endpoint
from modelyard.storage.names import is_bucket
from modelyard.wire.chunked import is_chunked
from modelyard.wire.errors import Fault
from modelyard.wire.rest import Answer
from modelyard.wire.service import Call, Request, Service, raw
from modelyard.wire.streams import Body, Cut

TRAILERS = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
CHUNK_BYTES = 64 * 1024
"""S3 takes no chunks below 8 KB, but for the last one."""
CONNECT_SECONDS, SILENCE_SECONDS = 10, 300
OWN = "authorization host connection keep-alive proxy-connection te upgrade expect content-length transfer-encoding"
AMZ = "date security-token content-sha256 expected-bucket-owner source-expected-bucket-owner"
OURS = frozenset([*OWN.split(), "date", *(f"x-amz-{name}" for name in AMZ.split())])
"""Headers of a request that are between a client and us."""
THEIRS = frozenset(("connection", "keep-alive", "transfer-encoding", "date", "server"))
"""Headers of an answer that are between us and the service."""
PRESIGNED = "Algorithm Credential Date Expires SignedHeaders Signature Security-Token Content-Sha256"
SIGNATURE = frozenset((*(f"X-Amz-{name}" for name in PRESIGNED.split()), "AWSAccessKeyId", "Signature", "Expires"))
"""What presigned addresses have in their queries, of this form or of the older one."""


OPERATIONS = (
    "abort_multipart_upload",
    "complete_multipart_upload",
    "copy_object",
    "create_bucket",
    "create_multipart_upload",
    "delete_bucket",
    "delete_object",
    "delete_objects",
    "get_bucket_location",
    "get_bucket_versioning",
    "get_object",
    "get_object_attributes",
    "get_object_tagging",
    "head_bucket",
    "head_object",
    "list_buckets",
    "list_multipart_uploads",
    "list_objects",
    "list_objects_v2",
    "list_parts",
    "put_object",
    "upload_part",
    "upload_part_copy",
)
"""Those that are served over folders too: what else the service can do could reach beyond a bucket's owner."""


class PassThrough:
    """The operations of S3, by the names of the boto3 methods, over the service behind."""

    def __init__(self, endpoint: S3Endpoint, buckets: Buckets) -> None:
        self._endpoint = endpoint
        self._buckets = buckets
        self._session: aiohttp.ClientSession | None = None

    def service(self) -> Service:
        """S3, ready to pass on."""
        special = {
            "create_bucket": self.create_bucket,
            "delete_bucket": self.delete_bucket,
            "list_buckets": self.list_buckets,
        }
        handlers = {operation: special.get(operation, self.forward) for operation in OPERATIONS}
        return Service("s3", handlers, faults=_fault)

    async def close(self) -> None:
        """Ends the connections to the service."""
        if self._session is not None:
            await self._session.close()

    @raw
    async def forward(self, call: Call, request: Request) -> Answer:
        """What the service answers, if the buckets that the request names are not another account's."""
        expected = dict(request.headers).get(b"x-amz-expected-bucket-owner")
        for bucket in _buckets(request):
            self._buckets.check(bucket, call.account)
        if expected is not None and expected.decode("latin-1") != self._buckets.owner(request.labels["Bucket"]):
            raise AccessDenied("the bucket has not the expected owner")
        return await self._exchange(request)

    @raw
    async def create_bucket(self, call: Call, request: Request) -> Answer:
        """The bucket is the caller's from then on."""
        [bucket] = _buckets(request)
        if self._buckets.owner(bucket) not in (None, call.account):
            raise Fault("BucketAlreadyExists", f"The bucket {bucket} is another account's", {"BucketName": bucket})
        answer = await self._exchange(request)
        if answer[0] == 200:
            await self._buckets.own(bucket, call.account)
        return answer

    @raw
    async def delete_bucket(self, call: Call, request: Request) -> Answer:
        """The bucket is nobody's from then on."""
        answer = await self.forward(call, request)
        if answer[0] == 204:
            await self._buckets.disown(request.labels["Bucket"])
        return answer

    @raw
    async def list_buckets(self, call: Call, request: Request) -> Answer:
        """The buckets that the caller may use."""
        status, headers, content = await self._exchange(request)
        body = b"".join([piece async for piece in content]) if not isinstance(content, bytes) else content
        if status == 200:
            owned = self._buckets.owned()
            body = _without(body, {bucket for bucket, owner in owned.items() if owner != call.account})
        return status, [(name, value) for name, value in headers if name != b"content-length"], body

    async def _exchange(self, request: Request) -> Answer:
        """Sends a request on, and answers with the service's status, headers and pieces of the body."""
        url, headers, body = self._signed(request)
        if self._session is None:
            limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), timeout=limits, auto_decompress=False
            )
        try:
            response = await self._session.request(
                request.method,
                yarl.URL(url, encoded=True),
                headers=headers,
                data=body,
                allow_redirects=False,
                skip_auto_headers=("accept", "accept-encoding", "content-type", "user-agent"),
            )
        except (aiohttp.ClientError, TimeoutError) as error:
            if isinstance(error.__cause__, Cut):
                raise error.__cause__ from None
            raise Fault("ServiceUnavailable", f"{self._endpoint.url} does not answer: {error}", status=503) from error
        answered = [(name.lower(), value) for name, value in response.raw_headers]
        kept = [(name, value) for name, value in answered if name.decode("latin-1") not in THEIRS]
        return response.status, kept, _Content(response)

    def _signed(self, request: Request) -> tuple[str, dict[str, str], AsyncIterator[bytes] | None]:
        """Where a request goes, with which headers, and its body; None if it has none."""
        body, hash = request.body, UNSIGNED_PAYLOAD
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in body.headers}
        chunked = is_chunked(request.headers)
        if not chunked and "x-amz-content-sha256" in headers:
            hash = headers["x-amz-content-sha256"]
        streamed = "transfer-encoding" in headers
        headers = {name: value for name, value in headers.items() if name not in OURS}
        pieces: AsyncIterator[bytes] | None = body.__aiter__() if body.length or streamed else None
        if chunked and "x-amz-trailer" in headers:
            hash, pieces = TRAILERS, _in_chunks(body, headers["x-amz-trailer"])
            headers["content-encoding"] = ",".join(["aws-chunked", *filter(None, [headers.get("content-encoding")])])
            headers["x-amz-decoded-content-length"] = str(body.length or 0)
        elif body.length is not None or (request.method in ("PUT", "POST") and not streamed):
            headers["content-length"] = str(body.length or 0)
        url = self._endpoint.url + _path(request.labels) + _query(request.query)
        signed = AWSRequest(request.method, url, headers)
        _Signer(self._endpoint, hash).add_auth(signed)
        return url, dict(signed.headers.items()), pieces


class _Signer(S3SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """Signs for a body that is not at hand."""

    def __init__(self, endpoint: S3Endpoint, hash: str) -> None:
        credentials = endpoint.session.get_credentials().get_frozen_credentials()
        super().__init__(credentials, "s3", endpoint.region)
        self._hash = hash

    def payload(self, request: Any) -> str:
        """The hash of the body, or the word that stands for none."""
        return self._hash


class _Content(AsyncIterator[bytes]):
    """The body of an answer, as it comes. Closed before its end, it gives up the connection."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __anext__(self) -> bytes:
        if piece := await self._response.content.readany():
            return piece
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Gives up what has not come."""
        self._response.close()


async def _in_chunks(body: Body, promised: str) -> AsyncIterator[bytes]:
    """A body in AWS's chunks again, without signatures: after the last one come the trailers that were promised."""
    held = bytearray()
    async for piece in body:
        held += piece
        if len(held) >= CHUNK_BYTES:
            yield b"%x\r\n%b\r\n" % (len(held), bytes(held))
            held.clear()
    if held:
        yield b"%x\r\n%b\r\n" % (len(held), bytes(held))
    names = [name.strip().lower() for name in promised.split(",") if name.strip()]
    trailers = "".join(f"{name}:{body.trailers[name]}\r\n" for name in names)
    yield b"0\r\n" + trailers.encode("latin-1") + b"\r\n"


def _buckets(request: Request) -> list[str]:
    """The buckets that a request names: its own, and that of what it copies.

    A Fault for names that a proxy or a service might read as another bucket's.
    """
    named = [(request.labels["Bucket"], request.labels.get("Key", ""))] if "Bucket" in request.labels else []
    if source := dict(request.headers).get(b"x-amz-copy-source"):
        bucket, _, key = unquote(source.decode("latin-1")).removeprefix("/").partition("/")
        named.append((bucket, key))
    for bucket, key in named:
        if not is_bucket(bucket):
            raise Fault("InvalidBucketName", f"{bucket[:80]!r} is no name of a bucket", {"BucketName": bucket})
        if {".", ".."} & set(key.split("/")):
            raise Fault("InvalidArgument", f"the key {key!r} has a part that is . or ..: it could lead elsewhere")
    return [bucket for bucket, _ in named]


def _path(labels: Mapping[str, str]) -> str:
    return "/" + "/".join(quote(labels[label], safe="/~") for label in ("Bucket", "Key") if label in labels)


def _query(query: bytes) -> str:
    """The query string without a signature, encoded as it will be signed."""
    fields = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    kept = [(name, value) for name, value in fields if name not in SIGNATURE]
    return "?" + urlencode(kept, quote_via=quote, safe="~") if kept else ""


def _without(listing: bytes, hidden: set[str]) -> bytes:
    """A list of buckets as XML without some of them."""
    root = ElementTree.fromstring(listing)
    space = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
    ElementTree.register_namespace("", space[1:-1])
    for buckets in root.iter(f"{space}Buckets"):
        for bucket in buckets.findall(f"{space}Bucket"):
            if bucket.findtext(f"{space}Name") in hidden:
                buckets.remove(bucket)
    return bytes(ElementTree.tostring(root, "utf-8", xml_declaration=True))


def _fault(error: Exception) -> Fault | None:
    return Fault("AccessDenied", str(error), status=403) if isinstance(error, AccessDenied) else None

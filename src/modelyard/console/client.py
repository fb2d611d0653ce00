"""A client of the server's own pages."""

import http.client
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import click

TIMEOUT_SECONDS = 30.0
UNSIGNED = 401
"""The status of a page's answer to a request that is not signed as the server wants it."""


class ServerError(click.ClickException):
    """The server refused; the message is its own."""


class NoAnswer(ServerError):
    """Nobody answers at the address, or somebody who is no Modelyard server."""


Credentials = tuple[str, str, str | None]
"""An access key, its secret, and the token of a session."""


def own_credentials() -> Credentials | None:
    """Those of the environment, under the names that AWS's clients read."""
    key, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    return (key, secret, os.environ.get("AWS_SESSION_TOKEN")) if key and secret else None


class Client:
    """Asks one server, as one account in one region; with `credentials` if the server wants signatures."""

    def __init__(self, url: str, account: str, region: str, credentials: Credentials | None = None) -> None:
        try:
            parts = urlsplit(url)
            self._kind = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}[parts.scheme]
            self._host, self._port = parts.hostname or "", parts.port
        except (ValueError, KeyError):
            raise click.UsageError(f"{url!r} is no address of a server, such as http://127.0.0.1:8080") from None
        self.url = f"{parts.scheme}://{parts.netloc}"
        self._region = region
        self._credentials = credentials
        self._signs = False
        scope = f"{account}/20260101/{region}/modelyard/aws4_request"
        self._headers = {"Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"}

    def get(self, page: str, **query: str | int | None) -> Any:
        """What a page answers; ServerError with its message if that is no success."""
        return self._json("GET", page, query)

    def post(self, page: str, timeout: float | None = TIMEOUT_SECONDS, **query: str | int | None) -> Any:
        """As `get`, for what changes something, and may take `timeout` seconds."""
        return self._json("POST", page, query, timeout)

    def stream(self, path: str) -> Iterator[str]:
        """The text at a path, in pieces as they come."""
        with self._ask("GET", path, timeout=None) as answer:
            if answer.status != 200:
                raise ServerError(answer.read(2000).decode("utf-8", "replace").strip())
            while piece := answer.read1(65536):
                yield piece.decode("utf-8", "replace")

    def _json(
        self, method: str, page: str, query: dict[str, str | int | None], timeout: float | None = TIMEOUT_SECONDS
    ) -> Any:
        given = {name: value for name, value in query.items() if value is not None}
        with self._ask(method, f"/-/{page}?{urlencode(given, quote_via=quote)}", timeout) as answer:
            try:
                content = json.loads(answer.read())
            except ValueError:
                raise NoAnswer(f"{self.url} is no Modelyard server: its answer is no JSON") from None
        if answer.status != 200:
            raise ServerError(content.get("message", f"{self.url} answers with status {answer.status}"))
        return content

    @contextmanager
    def _ask(self, method: str, path: str, timeout: float | None) -> Iterator[http.client.HTTPResponse]:
        connection = self._kind(self._host, self._port, timeout=timeout)
        try:
            connection.request(method, path, headers=self._signed(method, path) if self._signs else self._headers)
            answer = connection.getresponse()
            if answer.status == UNSIGNED and self._credentials is not None and not self._signs:
                self._signs = True
                answer.read()
                connection.request(method, path, headers=self._signed(method, path))
                answer = connection.getresponse()
            with answer:
                yield answer
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise NoAnswer(f"{self.url} does not answer ({reason}). Start a server with: modelyard serve") from None
        finally:
            connection.close()

    def _signed(self, method: str, path: str) -> dict[str, str]:
        """The headers of a request that a server gets that checks signatures."""
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        assert self._credentials is not None
        request = AWSRequest(method, self.url + path)
        SigV4Auth(Credentials(*self._credentials), "modelyard", self._region).add_auth(request)
        return {**dict(request.headers.items()), "Host": urlsplit(self.url).netloc}

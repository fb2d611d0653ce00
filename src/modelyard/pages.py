"""What the server answers beside AWS's operations: health, logs, and what the command line shows, as JSON.

All pages but `/` and `/health` lie under `/-/`; what each answers is a view's, in `views/`. Jobs, deployments and
buckets are the caller's own, who is whoever the wire takes a request's credential for, and must have signed where
signatures are checked. What is the operator's is asked from this machine, and then with the operator's key too. An
answer that is no success is `{"message": …}`.
"""

import functools
import hashlib
import importlib.metadata
import inspect
import logging
from collections.abc import Mapping
from typing import Any

import orjson

from modelyard.jobs.model import Owner
from modelyard.links import LOGS
from modelyard.views.answers import JSON, send_text, send_whole
from modelyard.views.ask import Ask, Refused, Views, query_of
from modelyard.wire.endpoint import Page, Receive, Scope, Send, from_another_site
from modelyard.wire.identity import AccountOf, BadToken, account_of_key, identify
from modelyard.wire.signature import BadSignature, Signatures

log = logging.getLogger(__name__)

_NO_BODY = hashlib.sha256(b"").hexdigest()
_ABOUT = """Modelyard answers AWS's own clients (boto3, AWS CLI, any SDK) for managed machine-learning jobs.

Point a client's endpoint URL at this address. Look at jobs with `modelyard jobs list`.
"""


class Pages:
    """The pages over one server's parts. `routes` is for the endpoint."""

    def __init__(
        self,
        views: Views,
        logs: Page,
        identify: AccountOf = account_of_key,
        signatures: Signatures | None = None,
    ) -> None:
        self._account_of = identify
        self._signatures = signatures
        self._views: Views = {"/health": ("GET", _health), **views}
        subpages = {path: self._json for path in self._views if path.endswith("/")}
        self.routes: Mapping[str, Page] = {"/": _about, "/health": self._json, LOGS: logs, **subpages}

    async def _json(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one of the views."""
        try:
            status, answer = 200, await self._view(scope)
        except Refused as refused:
            status, answer = refused.status, {"message": str(refused)}
        except Exception:  # whatever a view raises, the caller gets an answer, and the log the cause
            log.exception("%s %s failed", scope["method"], scope["path"])
            status, answer = 500, {"message": "The server failed; its log has the cause"}
        await send_whole(send, scope, status, JSON, orjson.dumps(answer))

    async def _view(self, scope: Scope) -> Any:
        method, view = self._views.get(scope["path"], ("", None))
        if view is None:
            raise Refused(404, "There is no such page")
        if scope["method"] != method and (method, scope["method"]) != ("GET", "HEAD"):
            raise Refused(405, f"This page answers {method} only")
        if method != "GET" and from_another_site(scope["headers"]):
            raise Refused(403, "Requests from web pages of other sites are refused")
        answer = view(self._ask(scope))
        return await answer if inspect.isawaitable(answer) else answer

    def _ask(self, scope: Scope) -> Ask:
        """What a page is asked; Refused unless it is signed, where that matters."""
        if scope["path"] == "/health":
            return Ask(Owner("", ""), {}, here=False)
        query, here = query_of(scope), (scope.get("client") or ("",))[0] in ("127.0.0.1", "::1")
        try:
            caller = identify(scope["headers"], scope["query_string"], self._account_of)
            if self._signatures is not None:
                self._signatures.check(scope, caller, _NO_BODY)
                here = here and caller.access_key == caller.account
        except BadToken as bad:
            raise Refused(403, f"The session token is not good: {bad}") from None
        except BadSignature as bad:
            how = "Use AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the data folder of the server as its operator"
            raise Refused(401, f"{bad}. {how}") from None
        return Ask(Owner(caller.account, caller.region), query, here)


async def _about(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["method"] in ("GET", "HEAD"):
        await send_text(send, scope, 200, _ABOUT)
    else:
        await send_text(send, scope, 405, "No operation that is served here has this path\n")


def _health(_: Ask) -> Any:
    return {"status": "ok", "version": _version()}


@functools.cache
def _version() -> str:
    return importlib.metadata.version("modelyard")

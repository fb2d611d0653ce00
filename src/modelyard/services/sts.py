"""STS: who calls, and credentials with which to call as a role of another account.

https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html. There are no policies here: any caller may
assume any role, or, where signatures are checked, any of its own account. What would narrow a session (Policy,
PolicyArns, Tags, ExternalId and the like) is checked and has no effect.
"""

import hashlib
import hmac
import re
import time
from base64 import b32encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from modelyard.keys import Key
from modelyard.sessions import CHECKED_PREFIX, PREFIX, Session, Sessions
from modelyard.wire.errors import Fault
from modelyard.wire.identity import ANONYMOUS_ACCOUNT, AccountOf, BadToken
from modelyard.wire.service import Call, Service, quick
from modelyard.wire.signature import SecretOf

DEFAULT_SECONDS = 3600
CHAINED_SECONDS = 3600
"""The longest session that a session may open."""

_ROLE = re.compile(r"arn:(aws[a-z-]*):iam::([0-9]{12}):role/(?:[\x21-\x7e]{1,510}/)?([A-Za-z0-9_+=,.@-]{1,64})")


def sts(sessions: Sessions, clock: Callable[[], float] = time.time, checked: bool = False) -> Service:
    """The service, ready to answer; `clock` gives seconds since 1970, `checked` says whether signatures are checked."""

    @quick
    def get_caller_identity(call: Call, request: dict[str, Any]) -> dict[str, Any]:
        session = sessions.find(call.access_key)
        if session is not None:
            return {"UserId": session.user_id, "Account": session.account, "Arn": session.arn}
        return {"UserId": call.account, "Account": call.account, "Arn": f"arn:aws:iam::{call.account}:root"}

    async def assume_role(call: Call, request: dict[str, Any]) -> dict[str, Any]:
        seconds = request.get("DurationSeconds", DEFAULT_SECONDS)
        if seconds > CHAINED_SECONDS and sessions.find(call.access_key) is not None:
            limit = "the 1 hour session limit for roles assumed by role chaining"
            raise Fault("ValidationError", f"The requested DurationSeconds exceeds {limit}")
        now = clock()
        session = _session(request["RoleArn"], request["RoleSessionName"], int(now) + seconds, checked)
        if checked and session.account != call.account:
            who = f"User: arn:aws:iam::{call.account}:root is not authorized to perform: sts:AssumeRole"
            reason = "signatures are checked here, and an account assumes its own roles only"
            raise Fault("AccessDenied", f"{who} on resource: {request['RoleArn']}; {reason}", status=403)
        await sessions.add(session, now)
        return {
            "Credentials": {
                "AccessKeyId": session.access_key,
                "SecretAccessKey": session.secret_key,
                "SessionToken": session.token,
                "Expiration": datetime.fromtimestamp(session.expires, UTC),
            },
            "AssumedRoleUser": {"AssumedRoleId": session.user_id, "Arn": session.arn},
            "SourceIdentity": request.get("SourceIdentity"),
        }

    return Service("sts", {"get_caller_identity": get_caller_identity, "assume_role": assume_role})


def _session(role_arn: str, name: str, expires: int, checked: bool) -> Session:
    role = _ROLE.fullmatch(role_arn)
    if role is None:
        raise Fault("ValidationError", f"{role_arn} is invalid: a role is arn:aws:iam::<account>:role/<name>")
    partition, account, role_name = role.groups()
    arn = f"arn:{partition}:sts::{account}:assumed-role/{role_name}/{name}"
    # A role has the same id in all its sessions.
    id = "AROA" + b32encode(hashlib.sha256(role_arn.encode()).digest())[:17].decode()
    return Session.new(account, arn, f"{id}:{name}", expires, CHECKED_PREFIX if checked else PREFIX)


def account_of(
    sessions: Sessions, clock: Callable[[], float] = time.time, keys: Mapping[str, Key] | None = None
) -> AccountOf:
    """What finds the accounts of temporary credentials, and of `keys`, by their ids, where signatures are checked.

    Keys that are neither are the anonymous account's.
    """
    prefixes = (PREFIX, CHECKED_PREFIX) if keys is None else (CHECKED_PREFIX,)

    def find(access_key: str, token: str) -> str:
        if keys and access_key in keys:
            return keys[access_key].account
        if not access_key.startswith(prefixes):
            return ANONYMOUS_ACCOUNT
        session = sessions.find(access_key)
        if session is None or not hmac.compare_digest(session.token.encode(), token.encode()):
            raise BadToken(expired=False)
        if session.expires <= clock():
            raise BadToken(expired=True)
        return session.account

    return find


def secret_of(sessions: Sessions, keys: Mapping[str, Key]) -> SecretOf:
    """What finds the secrets of keys, and of the temporary credentials that were made with one."""

    def find(access_key: str) -> str | None:
        if access_key in keys:
            return keys[access_key].secret
        session = sessions.find(access_key) if access_key.startswith(CHECKED_PREFIX) else None
        return session.secret_key if session else None

    return find

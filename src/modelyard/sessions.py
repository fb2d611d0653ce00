"""Sessions: temporary credentials, with which a caller is somebody else until they expire. They outlive the server."""

import base64
import secrets
from dataclasses import astuple, dataclass, fields
from typing import Self

from sqlalchemy import Connection, bindparam, delete, insert, select

from modelyard.database import Database, Query
from modelyard.tables import sessions

PREFIX = "ASIAYARD"
"""Of the access keys that are made here; AWS's own temporary keys begin with ASIA too."""
CHECKED_PREFIX = "ASIASIGN"
"""Of those that were made while signatures were checked: only these are good then, the others anybody could have."""

_KEPT_SECONDS = 24 * 60 * 60
"""For so long after its end a session is told from one that never was."""


@dataclass(frozen=True, slots=True)
class Session:
    """Credentials, and whom they make of the caller: `arn` and `user_id`. `expires` in seconds since 1970."""

    access_key: str
    secret_key: str
    token: str
    account: str
    arn: str
    user_id: str
    expires: int

    @classmethod
    def new(cls, account: str, arn: str, user_id: str, expires: int, prefix: str = PREFIX) -> Self:
        """With credentials that nobody can guess."""
        key = prefix + base64.b32encode(secrets.token_bytes(8))[:12].decode()
        return cls(key, secrets.token_urlsafe(30), secrets.token_urlsafe(96), account, arn, user_id, expires)


class Sessions:
    """All sessions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, access_key: str) -> Session | None:
        """The session of an access key, expired or not."""
        rows = self._database.read(_FIND, access_key=access_key)
        return Session(*rows[0]) if rows else None

    async def add(self, session: Session, now: float) -> None:
        """Keeps a session, and forgets those that ended long ago; `now` in seconds since 1970."""

        def work(connection: Connection) -> None:
            connection.execute(delete(sessions).where(sessions.c.expires < now - _KEPT_SECONDS))
            connection.execute(insert(sessions).values(astuple(session)))

        await self._database.write(work)


_FIND = Query(
    select(*(sessions.c[field.name] for field in fields(Session))).where(
        sessions.c.access_key == bindparam("access_key")
    )
)

"""Who may call as whom: the keys of the keys file, temporary credentials, and the operator on our own pages."""

import logging
import secrets
from pathlib import Path

from modelyard import keys
from modelyard.services.sts import account_of, secret_of
from modelyard.sessions import Sessions
from modelyard.wire.signature import Signatures

log = logging.getLogger(__name__)


class Access:
    """What one server checks of its callers; BadKeys if its keys file cannot be used.

    account_of: the account of an access key. signatures: what checks requests, None without a keys file.
    of_pages: the same for our own pages, where the operator may be any account: the key is the account, and the secret
    is `operator`, which the data folder tells to those who can read it.
    """

    def __init__(self, folder: Path, sessions: Sessions) -> None:
        found = keys.read(folder)
        if found is not None and (folder / keys.NAME).stat().st_mode & 0o077:
            log.warning("%s can be read by others: chmod 600 it, and make new keys", folder / keys.NAME)
        by_id = None if found is None else {key.id: key for key in found}
        self.account_of = account_of(sessions, keys=by_id)
        self.signatures: Signatures | None = None
        self.of_pages: Signatures | None = None
        self.operator: str | None = None
        if by_id is not None:
            self.operator = secrets.token_hex(32)
            secret = secret_of(sessions, by_id)
            self.signatures = Signatures(secret)
            self.of_pages = Signatures(lambda key: self.operator if _is_account(key) else secret(key))

    @property
    def checked(self) -> bool:
        """Whether callers have to sign."""
        return self.signatures is not None


def _is_account(key: str) -> bool:
    return len(key) == 12 and key.isascii() and key.isdigit()

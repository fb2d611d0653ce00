"""Links that open one task's log until they expire: whoever holds one needs no other credential."""

import hmac
import time
from functools import lru_cache

LOGS = "/-/logs/"

CHANGE_SECONDS = 3600
"""How long the same link is given out."""
_VALID_HOURS = 12


class Links:
    """Makes and checks links, each signed with the data folder's secret."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._of_now = lru_cache(maxsize=4096)(self._make)

    def path(self, task: str) -> str:
        """The path and query of a task's log: the same for an hour, valid for 12 to 13 from now."""
        return self._of_now(task, int(time.time()) // CHANGE_SECONDS)

    def url(self, base_url: str, task: str) -> str:
        """The address of a task's log: for the owner alone to hand on."""
        return base_url + self.path(task)

    def valid(self, task: str, expires: str, signature: str) -> bool:
        """Whether a link was made here for this task, and its end (seconds since the epoch) has not come."""
        ours = self._signature(task, expires).encode()
        if not hmac.compare_digest(ours, signature.encode(errors="replace")):
            return False
        return time.time() < int(expires)

    def _make(self, task: str, hour: int) -> str:
        expires = str((hour + 1 + _VALID_HOURS) * CHANGE_SECONDS)
        return f"{LOGS}{task}?expires={expires}&signature={self._signature(task, expires)}"

    def _signature(self, task: str, expires: str) -> str:
        return hmac.new(self._secret, f"{task}\n{expires}".encode(errors="replace"), "sha256").hexdigest()

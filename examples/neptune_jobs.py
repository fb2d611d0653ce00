"""Jobs and endpoints of Neptune ML, waited for as by any client."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from local_server import DemoFailed

POLL_SECONDS = 0.5
GOOD = ("Completed", "InService")
FINAL = (*GOOD, "Failed", "Stopped")


def wait(get: Callable[..., dict[str, Any]], id: str) -> dict[str, Any]:
    """What `get` answers when a job is over, or an endpoint there; DemoFailed with its own reason if it is not well."""
    while (answer := get(id=id))["status"] not in FINAL:
        time.sleep(POLL_SECONDS)
    if answer["status"] in GOOD:
        return answer
    parts = [part for part in answer.values() if isinstance(part, Mapping)]
    reason = next((part["failureReason"] for part in parts if "failureReason" in part), "no reason was given")
    raise DemoFailed(f"{id} is {answer['status']}: {reason}")

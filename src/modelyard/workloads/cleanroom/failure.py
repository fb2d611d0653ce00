"""What a party's container did wrong. It ends the job, and neither its logs nor what was finished before."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from modelyard.runner.sandbox import Container


class Failure(Exception):
    """A container's failure.

    code: stable, for programs. message: our own words, of which the container said none: everyone may read it.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def told(self) -> dict[str, Any]:
        """As the task's result tells it."""
        return {"code": self.code, "message": self.message}


@contextmanager
def usable() -> Iterator[None]:
    """Making a container in it is a Failure where nothing could start with what image and request say."""
    try:
        yield
    except ValueError as error:
        raise Failure("IMAGE_NOT_USABLE", f"The container cannot start: {error}.") from None


def check(containers: Mapping[str, Container]) -> bool:
    """Whether all containers have ended well; False while one runs, Failure once one of them has ended otherwise."""
    statuses = {name: container.poll() for name, container in containers.items()}
    for name, status in statuses.items():
        if status:
            raise ended(name, containers[name], status)
    return all(status == 0 for status in statuses.values())


def ended(name: str, container: Container, status: int) -> Failure:
    """Why a container has ended, with whatever exit status."""
    if container.memory_exceeded:
        return Failure("MEMORY_EXCEEDED", f"The container {name} needed more memory than its instance has.")
    if container.disk_exceeded:
        return Failure("VOLUME_FULL", f"The container {name} wrote more than its volume holds.")
    said = f"by signal {status - 128}" if status > 128 else f"with exit status {status}"
    return Failure("CONTAINER_EXITED_NON_ZERO" if status else "CONTAINER_EXITED", f"The container {name} ended {said}.")

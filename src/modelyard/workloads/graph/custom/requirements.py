"""What the user's `requirements.txt` names: found installed, or fetched by pip where scripts may reach the network."""

import logging
from dataclasses import replace

from modelyard.removal import remove
from modelyard.runner.context import Context, InputError, Stopped
from modelyard.workloads.graph.custom import code
from modelyard.workloads.graph.custom.script import ROOT, Room, Sandbox, Script

_LOG = logging.getLogger(__name__)
_POLL_SECONDS = 0.25
_FOLDER = f"{ROOT}/checkpoints"


def installed(sandbox: Sandbox, context: Context) -> Sandbox:
    """The sandbox with all that the scripts need. InputError where that cannot be."""
    packages = context.state / "packages"
    if packages.exists():
        return replace(sandbox, packages=packages)
    absent = code.missing(sandbox.code)
    if not absent:
        return sandbox
    if not sandbox.network:
        raise code.refusal(absent)
    _LOG.info("installing %s", ", ".join(absent))
    context.report(0, phase="installing packages")
    folder = context.state / "installing"
    remove(folder)
    room = Room(folder).make()
    pip = ["-m", "pip", "install", "--target", _FOLDER, "--no-cache-dir", "--disable-pip-version-check", *absent]
    with Script(sandbox, room, pip, {}, f"{context.state.parent.name}-pip", "pip:") as script:
        while script.wait(_POLL_SECONDS) is None:
            if context.should_stop():
                script.stop()
                raise Stopped
        if reason := script.failure():
            raise InputError(f"{code.REQUIREMENTS}: {reason}")
    room.checkpoints.rename(packages)
    remove(folder)
    return replace(sandbox, packages=packages)

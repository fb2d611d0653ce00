"""Says what isolates containers on this machine: `python -m modelyard.runner.sandbox [--first]` prints JSON.

`{"bubblewrap": …, "podman": …, "kernel": …}`: why each cannot run one, null if it can; and whether the kernel holds a
container to its memory, where else a look at it, 20 times a second, has to. With `--first` none is tried after one that
can.
"""

import json
import subprocess
import sys

from modelyard.runner.sandbox.cgroup import Cgroup
from modelyard.runner.sandbox.isolation import RUNTIMES, Isolation, attempt
from modelyard.runner.sandbox.limits import Limits
from modelyard.runner.sandbox.program import NoSandbox
from modelyard.runner.sandbox.view import MIB


def reason(name: Isolation) -> str | None:
    """Why it cannot run a container here; None if it can."""
    try:
        attempt(name)
    except NoSandbox as error:
        return str(error)
    return None


def held() -> bool:
    """Whether we may make control groups that hold a process to its memory."""
    waits = [sys.executable, "-S", "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(waits, stdin=subprocess.PIPE) as process:
        groups = Cgroup.make(f"probe-{process.pid}", Limits(memory=64 * MIB, cores=1), process.pid)
    if groups is not None:
        groups.remove()
    return groups is not None


def main() -> None:
    """Prints what is found."""
    found: dict[str, str | bool | None] = {}
    for name in RUNTIMES:
        found[name] = reason(name)
        if found[name] is None and "--first" in sys.argv[1:]:
            break
    print(json.dumps({**found, "kernel": held()}))


if __name__ == "__main__":
    main()

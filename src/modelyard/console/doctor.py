"""Looks at the machine: has it what Modelyard needs, and what it may make use of?"""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from modelyard.sandboxes import TITLES, TRIAL

GIB = 2**30
LIBRARIES = {
    "graph": (
        "graph jobs",
        ("torch", "torch_geometric", "optuna", "polars", "pyarrow", "scipy", "sklearn", "safetensors"),
    ),
    "language": (
        "language models",
        ("torch", "transformers", "peft", "accelerate", "tokenizers", "jinja2", "huggingface_hub", "safetensors"),
    ),
    "cleanroom": ("clean rooms", ("duckdb",)),
    "s3": ("another S3 service", ("aiohttp", "obstore")),
}
"""Each extra of the package: what it is for, and the modules that it brings."""
_TRIAL_SECONDS = 120


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `fine` is None where it is no more than good to know."""

    subject: str
    fine: bool | None
    told: str

    @property
    def missing(self) -> bool:
        """Whether Modelyard cannot do without it."""
        return self.fine is False


def examine(data_dir: Path) -> list[Finding]:
    """All findings about this machine, and the place where a data folder lies or would lie."""
    return [*_python(), *_system(), *_resources(data_dir), *_libraries(), *_sandboxes()]


def report(findings: list[Finding]) -> RenderableType:
    """The findings as a table."""
    marks = {True: Text("ok", style="green"), False: Text("missing", style="bold red"), None: Text("-", style="dim")}
    table = Table.grid(padding=(0, 2, 0, 0))
    for finding in findings:
        table.add_row(marks[finding.fine], Text(finding.subject), Text(finding.told))
    return table


def _python() -> Iterator[Finding]:
    yield Finding("Python", sys.version_info >= (3, 11), f"{platform.python_version()}; 3.11 or newer is needed")


def _system() -> Iterator[Finding]:
    yield Finding("Linux", sys.platform == "linux", f"{platform.system()} {platform.release()}")
    yield Finding("/proc", Path("/proc/self/stat").exists(), "processes are told apart by their start time")
    yield Finding("pidfd", _has_pidfd(), "workers end with the task that they work for; Linux 5.3 or newer")
    autogroup = Path("/proc/self/autogroup").exists()
    told = "training yields to everything else" if autogroup else "not there; nice alone makes training yield"
    yield Finding("autogroup", None, told)


def _has_pidfd() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


def _resources(data_dir: Path) -> Iterator[Finding]:
    yield Finding("cores", None, str(len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield Finding("memory", None, f"{memory / GIB:.1f} GiB")
    place = data_dir.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    writable = os.access(place, os.W_OK)
    yield Finding(
        "data folder", writable, f"{place}: {free / GIB:.1f} GiB free" + ("" if writable else ", not writable")
    )


def _libraries() -> Iterator[Finding]:
    for extra, (wanted, modules) in LIBRARIES.items():
        absent = [module for module in modules if find_spec(module) is None]
        told = f'missing {", ".join(absent)}; pip install "modelyard[{extra}]"' if absent else ", ".join(modules)
        yield Finding(f"libraries for {wanted}", not absent, told)


def _sandboxes() -> Iterator[Finding]:
    """What a container was really run by: a process of its own tries, since that belongs to tasks."""
    tried = subprocess.run(TRIAL, capture_output=True, text=True, timeout=_TRIAL_SECONDS)
    found = json.loads(tried.stdout) if tried.returncode == 0 else {}
    runs = "runs containers and custom models' scripts: no network, no file but their own"
    for name, title in TITLES.items():
        reason = found.get(name, "the trial failed")
        yield Finding(title, None if reason else True, reason or runs)
    memory = (
        "the kernel holds them to it" if found.get("kernel") else "is looked at, since we may make no control group"
    )
    yield Finding("memory of containers", None, memory)

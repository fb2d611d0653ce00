"""Instance types: how many cores and how much memory a container gets that asks for one of AWS's machines.

https://aws.amazon.com/ec2/instance-types/ tells them; types are families and sizes, so rules say it all.
"""

import os
import re
from dataclasses import dataclass

GIB = 2**30
SHARE = 0.8
"""Of this machine's memory that containers may have."""

_TYPE = re.compile(r"ml\.([a-z]+[0-9]+[a-z]*)\.([0-9]*)(medium|large|xlarge)")
_GIB_PER_CORE = {
    "c": 2.0,
    "m": 4.0,
    "r": 8.0,
    "t": 4.0,
    "c5n": 2.625,
    "g": 4.0,
    "g6e": 8.0,
    "p": 8.0,
    "p2": 15.25,
    "p4d": 12.0,
    "p4de": 12.0,
    "p5": 10.667,
    "p5en": 10.667,
    "trn": 4.0,
}


@dataclass(frozen=True)
class Instance:
    """What one container gets. cores: whole ones. memory: bytes."""

    cores: int
    memory: int


def instance(type: str, count: int, slots: int) -> Instance:
    """The cores and the memory of a type, less where `count` containers would not fit into this machine."""
    found = _TYPE.fullmatch(type)
    assert found, type  # the model has an enum of them
    family, number, size = found.groups()
    cores = 2 if size != "xlarge" else 4 * int(number or 1)
    per_core = _GIB_PER_CORE.get(family) or _GIB_PER_CORE[re.sub(r"[0-9].*", "", family)]
    memory = int(cores * per_core * GIB) // (2 if type == "ml.t3.medium" else 1)
    here = int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * SHARE)
    return Instance(max(1, min(cores, slots // count)), min(memory, here // count))

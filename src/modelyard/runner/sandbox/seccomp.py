"""System calls that a container is refused: what reaches past its namespaces, or takes memory that nobody counts.

A program of the kernel's packet filter, as bubblewrap takes it: https://docs.kernel.org/userspace-api/seccomp_filter.html
"""

import errno
import platform
import struct
from collections.abc import Mapping, Sequence
from typing import Any

_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1), "riscv64": (0xC00000F3, 1)}
"""The kernel's name for each, and its column in the table of numbers."""
_REFUSED = {
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "fsmount": (432, 432), "mount_setattr": (442, 442),
    "unshare": (272, 97), "setns": (308, 268),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),  # keys have no namespace of their own
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "shmget": (29, 194), "memfd_secret": (447, 447),  # no process need hold these for their memory to stay
}  # fmt: skip
_SOCKET = (41, 198)
_FAMILIES = (1, 2, 10, 16)
"""AF_UNIX, AF_INET, AF_INET6, AF_NETLINK. Others, such as a virtual machine's AF_VSOCK, know no private network."""

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_KILL, _REFUSE, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_NUMBER, _ARCHITECTURE, _ARGUMENT = 0, 4, 16
_X32 = 0x40000000
_CLONE_NEWUSER = 0x10000000


def supported() -> bool:
    """Whether the filter is known for this machine's processor."""
    return platform.machine() in _ARCHITECTURES


def program() -> bytes:
    """The filter for this machine's processor."""
    architecture, column = _ARCHITECTURES[platform.machine()]
    calls = [numbers[column] for numbers in _REFUSED.values()]
    code = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
        *_if_any(calls, _REFUSE | errno.EPERM),
        (_EQUAL, 1, 0, _SOCKET[column]),
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, _ARGUMENT),
        *_if_any(_FAMILIES, _ALLOW),
        (_RETURN, 0, 0, _REFUSE | errno.EAFNOSUPPORT),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def profile(usual: Mapping[str, Any]) -> dict[str, Any]:
    """The usual profile of Podman and its kin, without what is refused here too."""
    gone = {*_REFUSED, "socket", "clone", "clone3"}
    kept = [{**rule, "names": [name for name in rule["names"] if name not in gone]} for rule in usual["syscalls"]]
    without_users = {"index": 0, "value": _CLONE_NEWUSER, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
    rules: list[dict[str, Any]] = [
        {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [without_users]},
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS},  # its flags cannot be seen
        {"names": list(_REFUSED), "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EPERM},
    ]
    for family in _FAMILIES:
        wanted = {"index": 0, "value": family, "valueTwo": 0, "op": "SCMP_CMP_EQ"}
        rules.append({"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [wanted]})
    return {**usual, "syscalls": [*(rule for rule in kept if rule["names"]), *rules]}


def _if_any(values: Sequence[int], answer: int) -> list[tuple[int, int, int, int]]:
    """Gives the answer where what was loaded is one of the values, and goes on otherwise."""
    return [step for value in values for step in ((_EQUAL, 0, 1, value), (_RETURN, 0, 0, answer))]

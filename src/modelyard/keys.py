"""The keys file: which access keys there are, with their secrets, and whose they are.

`keys.json` in the data folder holds `{"keys": [{"accessKeyId": …, "secretAccessKey": …, "account": …}]}`. Where there
is one, requests must be signed with one of its keys; without it, whoever reaches the port can be any account.
"""

import base64
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from modelyard import atomic

NAME = "keys.json"
PREFIX = "AKIAYARD"
"""Of the access keys that are made here; AWS's own begin with AKIA too."""

_ID = re.compile(r"[A-Za-z0-9_]{16,128}")
_ACCOUNT = re.compile(r"[0-9]{12}")


class BadKeys(Exception):
    """The keys file cannot be used; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Key:
    """An access key of an account."""

    id: str
    secret: str
    account: str

    @classmethod
    def new(cls, account: str) -> Self:
        """One that nobody can guess."""
        return cls(PREFIX + base64.b32encode(secrets.token_bytes(8))[:12].decode(), secrets.token_urlsafe(30), account)


def read(folder: Path) -> Sequence[Key] | None:
    """The keys of a data folder, None if it has no keys file. Raises `BadKeys`."""
    path = folder / NAME
    try:
        found = json.loads(path.read_bytes())["keys"]
        keys = [Key(one["accessKeyId"], one["secretAccessKey"], one["account"]) for one in found]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        form = '{"keys": [{"accessKeyId": …, "secretAccessKey": …, "account": …}]}'
        raise BadKeys(f"{path} is no keys file ({error!r}); its form is {form}") from None
    for place, key in enumerate(keys):
        _check(path, place, key)
    if len({key.id for key in keys}) < len(keys):
        raise BadKeys(f"{path} has an accessKeyId twice")
    return keys


def add(folder: Path, account: str) -> Key:
    """A new key of an account, kept in the data folder's keys file, which is made if it is not there."""
    key = Key.new(account)
    _write(folder, [*(read(folder) or ()), key])
    return key


def remove(folder: Path, id: str) -> Key | None:
    """Takes a key out of the keys file; None if it was not there. The file stays, even without any key."""
    keys = read(folder) or ()
    gone = next((key for key in keys if key.id == id), None)
    if gone is not None:
        _write(folder, [key for key in keys if key is not gone])
    return gone


def _check(path: Path, place: int, key: Key) -> None:
    where = f"{path}: keys[{place}]"
    if not all(isinstance(text, str) for text in (key.id, key.secret, key.account)):
        raise BadKeys(f"{where} has something else than texts")
    if not _ID.fullmatch(key.id):
        raise BadKeys(f"{where}.accessKeyId: {key.id[:80]!r} is not 16 to 128 letters, digits and underscores")
    if not 16 <= len(key.secret) <= 256:
        raise BadKeys(f"{where}.secretAccessKey has not 16 to 256 characters")
    if not _ACCOUNT.fullmatch(key.account):
        raise BadKeys(f"{where}.account: {key.account[:40]!r} is not twelve digits")


def _write(folder: Path, keys: Sequence[Key]) -> None:
    document = [{"accessKeyId": key.id, "secretAccessKey": key.secret, "account": key.account} for key in keys]
    folder.mkdir(parents=True, exist_ok=True)
    atomic.write(folder / NAME, json.dumps({"keys": document}, indent=2).encode() + b"\n", private=True)

import json
import stat
from pathlib import Path

import pytest

from modelyard import keys


def test_keys_are_kept_for_the_owner_of_the_folder_alone(tmp_path: Path) -> None:
    assert keys.read(tmp_path) is None
    bank, shop = keys.add(tmp_path, "111122223333"), keys.add(tmp_path, "444455556666")
    assert keys.read(tmp_path) == [bank, shop]
    assert stat.S_IMODE((tmp_path / keys.NAME).stat().st_mode) == 0o600
    assert keys.remove(tmp_path, bank.id) == bank
    assert keys.remove(tmp_path, bank.id) is None
    assert keys.remove(tmp_path, shop.id) == shop
    assert keys.read(tmp_path) == [], "without any key nobody comes in, rather than everybody"


def entry(**changes: object) -> dict[str, object]:
    return {"accessKeyId": "AKIAYARDBANKBANKBANK", "secretAccessKey": "s" * 40, "account": "111122223333", **changes}


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("no JSON", "is no keys file"),
        ("[]", "is no keys file"),
        ('{"keys": [{}]}', "accessKeyId"),
        ('{"keys": 7}', "is no keys file"),
        (json.dumps({"keys": [entry(account="me")]}), "is not twelve digits"),
        (json.dumps({"keys": [entry(account=111122223333)]}), "something else than texts"),
        (json.dumps({"keys": [entry(secretAccessKey="short")]}), "secretAccessKey"),
        (json.dumps({"keys": [entry(accessKeyId="111122223333")]}), "accessKeyId"),
        (json.dumps({"keys": [entry(), entry(account="444455556666")]}), "twice"),
    ],
)
def test_a_broken_file_lets_nobody_in(tmp_path: Path, content: str, word: str) -> None:
    (tmp_path / keys.NAME).write_text(content)
    with pytest.raises(keys.BadKeys, match=word):
        keys.read(tmp_path)

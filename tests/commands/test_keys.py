import re
from pathlib import Path

from click.testing import Result
from tests.commands.terminal import cli


def test_keys_are_made_shown_and_taken_away(tmp_path: Path) -> None:
    def keys(*arguments: str) -> Result:
        return cli("keys", *arguments, "--data-dir", str(tmp_path / "data"))

    assert "has no keys file" in keys("list").output
    assert "'me' is not twelve digits" in keys("add", "--account", "me").output
    made = keys("add", "--account", "111122223333")
    id, secret = re.findall(r"export AWS_[A-Z_]+=(\S+)", made.stdout)
    assert "next start" in made.stderr
    shown = keys("list").output
    assert f"{id}  111122223333" in shown
    assert secret not in shown
    assert keys("remove", id).exit_code == 0
    assert f"has no key {id}" in keys("remove", id).output
    assert id not in keys("list").output
    (tmp_path / "data" / "keys.json").write_text("broken")
    for work in (
        keys("list"),
        keys("add", "--account", "111122223333"),
        cli("serve", "--data-dir", str(tmp_path / "data")),
    ):
        assert work.exit_code == 1
        assert "is no keys file" in work.output

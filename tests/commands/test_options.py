from pathlib import Path

import pytest
from tests.commands.terminal import cli


def test_jobs_say_how_to_start_one(tmp_path: Path) -> None:
    failed = cli("jobs", "list", "--data-dir", str(tmp_path))
    assert failed.exit_code == 1
    assert failed.output.startswith(f"Error: No server has run on {tmp_path}. Start one with: modelyard serve")


def test_an_address_where_nobody_listens_is_named() -> None:
    failed = cli("jobs", "list", MODELYARD_ENDPOINT_URL="http://127.0.0.1:9")
    assert failed.exit_code == 1
    assert "http://127.0.0.1:9 does not answer (Connection refused)" in failed.output


@pytest.mark.parametrize("url", ["nonsense", "ftp://x", "http://x:port", "http://[::"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    failed = cli("jobs", "list", "--endpoint-url", url)
    assert failed.exit_code == 2
    assert "is no address of a server" in failed.output


def test_an_account_has_twelve_digits() -> None:
    assert "'12' is not twelve digits" in cli("jobs", "list", "--account", "12").output

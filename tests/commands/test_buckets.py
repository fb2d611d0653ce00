import pytest
from tests.commands.terminal import Side


@pytest.mark.system
def test_buckets_are_given_to_an_account(side: Side) -> None:
    (side.server.folder / "objects" / "bucket").mkdir()
    assert "shared by all accounts" in side.cli("buckets", "list").output
    assert side.cli("buckets", "own", "bucket", "111122223333").output == "bucket belongs to 111122223333.\n"
    assert "bucket" not in side.cli("buckets", "list").output
    assert "bucket  111122223333" in side.cli("buckets", "list", "--account", "111122223333").output
    refused = side.cli("buckets", "own", "bucket", "me")
    assert (refused.exit_code, refused.output) == (1, "Error: account: 'me' is not twelve digits\n")

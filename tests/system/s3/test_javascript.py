"""AWS's SDK for JavaScript, version 3: its own tests stand in `sdk.test.mjs`, which Node.js runs."""

import shutil
from pathlib import Path

import pytest

from tests.system.s3.conftest import Bucket, run

pytestmark = [pytest.mark.system, pytest.mark.slow]


def test_the_sdk(javascript: Path, bucket: Bucket) -> None:
    script = shutil.copy(Path(__file__).with_name("sdk.test.mjs"), javascript)
    said = run(["node", "--test", "--test-reporter=tap", script], bucket.door, BUCKET=bucket.name).decode()
    assert "# fail 0" in said
    assert "# pass 0" not in said

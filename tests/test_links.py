from collections.abc import Callable
from urllib.parse import parse_qsl, urlsplit

import pytest

from modelyard.links import Links

NOON = 1_800_000_000 // 3600 * 3600


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the clock that links are made and checked by."""
    return lambda seconds: monkeypatch.setattr("modelyard.links.time.time", lambda: seconds)


def parts(path: str) -> tuple[str, str, str]:
    query = dict(parse_qsl(urlsplit(path).query))
    return urlsplit(path).path.rpartition("/")[2], query["expires"], query["signature"]


def test_a_link_is_the_same_for_an_hour_and_good_for_at_least_twelve(at: Callable[[float], None]) -> None:
    links = Links(b"secret")
    at(NOON)
    made = links.path("task")
    at(NOON + 3599)
    assert links.path("task") == made
    at(NOON + 3600)
    assert links.path("task") != made
    at(NOON + 12 * 3600 + 3599)
    assert links.valid(*parts(made))
    at(NOON + 13 * 3600)
    assert not links.valid(*parts(made))


def test_a_link_opens_one_task_until_its_own_end(at: Callable[[float], None]) -> None:
    links = Links(b"secret")
    at(NOON)
    task, expires, signature = parts(links.path("task"))
    assert links.valid(task, expires, signature)
    assert not links.valid("other", expires, signature)
    assert not links.valid(task, str(int(expires) + 3600), signature)
    assert not Links(b"another secret").valid(task, expires, signature)


@pytest.mark.parametrize("signature", ["", "0" * 64, "\udcff", "ä", "x" * 100_000])
@pytest.mark.parametrize("expires", ["", "never", "99999999999", "-1", "²"])
def test_nonsense_is_no_link(expires: str, signature: str) -> None:
    assert not Links(b"secret").valid("task", expires, signature)

import pytest

from modelyard.services.cleanroomsml.delivery import part


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("model-1", "model-1"),
        ("a b", "a b"),
        ("größer", "größer"),
        ("..", "%2E%2E"),
        (".", "%2E"),
        ("../../etc", "..%2F..%2Fetc"),
        ("a/b\\c", "a%2Fb%5Cc"),
        ("100%", "100%25"),
        ("a\tb", "a%09b"),
        ("\u202egnp", "%E2%80%AEgnp"),
    ],
)
def test_a_name_is_one_part_of_a_key(name: str, expected: str) -> None:
    assert part(name) == expected
    assert "/" not in part(name)
    assert part(name).strip(".")


def test_names_that_differ_stay_different() -> None:
    names = ["..", "%2E%2E", "a/b", "a%2Fb", "a%2fb", "a\\b"]
    assert len({part(name) for name in names}) == len(names)


def test_the_longest_name_fits_a_folder() -> None:
    assert max(len(part(character * 63).encode()) for character in "/a\U0001f600é漢") <= 255

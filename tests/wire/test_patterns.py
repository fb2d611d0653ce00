"""Patterns that no value can make slow."""

import random
import re
import time

import pytest
from botocore.loaders import Loader

from modelyard.wire.models import SERVICES
from modelyard.wire.patterns import Pattern


def patterns() -> list[str]:
    found = set()
    for service in SERVICES:
        shapes = Loader().load_service_model(service, "service-2")["shapes"]
        found |= {shape["pattern"] for shape in shapes.values() if "pattern" in shape}
    return sorted(found)


PATTERNS = patterns()


def hostile(pattern: str) -> list[str]:
    """Strings that make backtracking engines slow: long runs that match nearly, and fail at the end."""
    literal = re.split(r"[\[(\\.{*+?|^$]", pattern.lstrip("^(:?"), maxsplit=1)[0]
    bodies = ("a", "a-", "-", "a.", "1.", "aA0", " ", "\n", "a_", "a:", "/", "a/", "ä", "🙂", "\0", "..", "arn:aws:")
    return [literal + body * (20_000 // len(body)) + end for body in bodies for end in ("!", "a", "\n")]


@pytest.mark.parametrize("source", PATTERNS)
def test_no_string_makes_a_pattern_slow(source: str) -> None:
    pattern = Pattern(source)
    pattern.compile()
    slowest = max((fastest(pattern, text), text[:40]) for text in hostile(source))
    assert slowest[0] < 0.010, slowest


def fastest(pattern: Pattern, text: str) -> float:
    times = []
    for _ in range(7):
        start = time.perf_counter()
        pattern.matches(text)
        times.append(time.perf_counter() - start)
        if times[-1] < 0.002:
            break
    return min(times)


def in_python(source: str) -> "re.Pattern[str] | None":
    """The pattern in Python's engine, which knows look-aheads; None for what only Java spells so."""
    surrogates = r"\uD800\uDBFF-\uDC00\uDFFF"
    spelled = source.replace(surrogates, "\U00010000-\U0010ffff").replace(r"\z", r"\Z")
    spelled = spelled.replace(r"\p{ASCII}", r"[\x00-\x7f]").replace(r"[\p{Print}]", r"[\x20-\x7e]")
    try:
        return re.compile(spelled, re.ASCII)
    except (re.error, RecursionError):
        return None


@pytest.mark.parametrize("source", [p for p in PATTERNS if in_python(p) is not None])
def test_patterns_mean_what_they_mean_elsewhere(source: str) -> None:
    """Short strings are judged as Python's engine judges them, whole value to whole value."""
    theirs = in_python(source)
    assert theirs is not None
    ours, chance = Pattern(source), random.Random(source)
    literal = re.split(r"[\[(\\.{*+?|^$]", source.lstrip("^(:?"), maxsplit=1)[0]
    for _ in range(60):
        tail = "".join(chance.choices("ab1Z9.-_:/ \t!s3é🙂", k=chance.randint(0, 7)))
        for text in (tail, literal + tail, f"s3://buck{tail}", "1.2.3.4", "a.b.c", "https:x", " " + tail):
            assert ours.matches(text) == (theirs.fullmatch(text) is not None), text

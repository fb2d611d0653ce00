from modelyard.wire.violations import echo


def test_echoed_values_are_short_and_safe() -> None:
    assert echo("a\nb\x1b[31m\u202e") == "a\\nb\\x1b[31m\\u202e"
    assert echo("é" * 1000) == "é" * 200 + "..."

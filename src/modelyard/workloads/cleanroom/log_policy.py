"""Who may read what of a container's log: each line is filtered, and redacted, before anybody can read it.

A policy limits which lines leave and what is found in them; it cannot tell what a container hides in harmless words.
Personal data is found by its form: e-mail and IP addresses, telephone numbers, IBANs, payment cards, US social security
numbers. Names and postal addresses have no form, and are not found; NUMBERS and CUSTOM help there.
https://docs.aws.amazon.com/clean-rooms/latest/userguide/custom-model-logs.html
"""

import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from modelyard.workloads.cleanroom.error_summary import summarize
from modelyard.workloads.patterns import compiled

REDACTED = "***"
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
PERSONAL = (
    r"[\p{L}\p{N}._%+\-]+@[\p{L}\p{N}\-]+(?:\.[\p{L}\p{N}\-]+)+",  # e-mail
    r"\b[A-Za-z]{2}\d{2}(?: ?[A-Za-z0-9]{4}){2,7}(?: ?[A-Za-z0-9]{1,4})?\b",  # IBAN
    r"\b(?:\d[ \-]?){12,18}\d\b",  # payment card
    r"\b\d{3}-\d{2}-\d{4}\b",  # US social security number
    r"\b(?:\d{1,3}\.){3}\d{1,3}\b",  # IPv4
    r"(?:[0-9A-Fa-f]{1,4}:){3,7}[0-9A-Fa-f]{1,4}|(?:[0-9A-Fa-f]{1,4}:)*[0-9A-Fa-f]{1,4}::[0-9A-Fa-f:]*",  # IPv6
    r"(?:\+|\b00|\()\d[\d()/ .\-]{6,18}\d|\b\d{3,5}[ .\-/]\d{3,4}[ .\-]?\d{3,4}\b",  # telephone
)


class LogPolicy:
    """The `containerLogs` of a privacy configuration: none, or an account in none of them, means that nothing is shown.

    An account that several policies name sees a line as the first of them that lets it through shows it.
    Raises InputError where a regular expression is none of RE2's: what cannot be understood lets nobody run.
    """

    def __init__(self, policies: Sequence[Mapping[str, Any]] | None) -> None:
        self._rules = [_Rule(policy) for policy in policies or ()]

    def accounts(self, of: Iterable[str]) -> list[str]:
        """Those of some accounts that may be given a log."""
        return sorted(account for account in set(of) if any(account in rule.accounts for rule in self._rules))

    def show(self, account: str, line: str) -> str | None:
        """A line as the account may see it while the container runs, None for one that it may not see."""
        return self._first(account, line, summary=False)

    def summary(self, account: str, errors: Iterable[str]) -> list[str]:
        """Those lines of an error summary that the account may see; none for accounts that are shown all lines."""
        if any(account in rule.accounts and not rule.summary for rule in self._rules):
            return []
        shown = (self._first(account, error, summary=True) for error in errors)
        return [line for line in shown if line is not None]

    def tell(self, account: str, text: str) -> str:
        """What a container says of its own failure, as the account may see it."""
        lines = [shown for line in text.splitlines() if (shown := self.show(account, line)) is not None]
        return "\n".join(lines or self.summary(account, summarize(text.splitlines())))

    def _first(self, account: str, line: str, summary: bool) -> str | None:
        for rule in self._rules:
            if account in rule.accounts and rule.summary == summary and (shown := rule.show(line)) is not None:
                return shown
        return None


class _Rule:
    def __init__(self, policy: Mapping[str, Any]) -> None:
        self.accounts = frozenset(policy["allowedAccountIds"])
        self.summary = policy.get("logType", "ALL") == "ERROR_SUMMARY"
        self._filter = compiled(policy["filterPattern"], "filterPattern") if policy.get("filterPattern") else None
        self._redact = _redaction(policy.get("logRedactionConfiguration") or {})

    def show(self, line: str) -> str | None:
        """The line with what is to be redacted replaced, None if the filter does not match it as it was.

        What steers a terminal, or turns the direction of text, goes too: a log is read by others than its author.
        """
        line = _CONTROL.sub("", line)
        if self._filter and not self._filter.search(line):
            return None
        return self._redact(line)


def _redaction(configuration: Mapping[str, Any]) -> Callable[[str], str]:
    """What replaces all that is to be redacted, the more special before the more general."""
    entities = configuration.get("entitiesToRedact", ())
    custom = (configuration.get("customEntityConfig") or {}).get("customDataIdentifiers", ())
    patterns: list[str] = []
    for identifier in custom if "CUSTOM" in entities else ():
        compiled(identifier, "the custom data identifier")
        patterns.append(identifier)
    if "ALL_PERSONALLY_IDENTIFIABLE_INFORMATION" in entities:
        patterns += PERSONAL
    special = compiled("|".join(f"(?:{pattern})" for pattern in patterns), "the redaction") if patterns else None
    numbers = "NUMBERS" in entities

    def redact(line: str) -> str:
        if special:
            line = special.sub(REDACTED, line)
        return _number(line.isascii()).sub(REDACTED, line) if numbers else line

    return redact


@cache
def _number(ascii: bool) -> re.Pattern[str]:
    """Numbers, in lines of ASCII (forty times as fast) or in every script.

    It never goes back, so that Python's own engine takes linear time too, and less of it than RE2 through its binding.
    """
    codes = range(128 if ascii else sys.maxunicode + 1)
    digits = "".join(chr(code) for code in codes if unicodedata.category(chr(code))[0] == "N")
    return re.compile(f"[{digits}]+(?:[.,:][{digits}]+)*")

"""The models' patterns, in RE2, which takes time linear in the value: they are exponential in `re`."""

import logging
import re
from collections.abc import Mapping
from typing import Any

import re2

log = logging.getLogger(__name__)


class Pattern:
    """A model's pattern, matched against the whole value; compiled at first use."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._compiled: tuple[Any, Any] | None = None
        self._accepted = ""

    def compile(self) -> tuple[Any, Any]:
        """What must match and what must not (or None); raises `re2.error` where RE2 cannot express it."""
        accepted, refused = _TRANSLATIONS.get(self.source, (self.source, None))
        return _compiled(accepted), None if refused is None else _compiled(refused)

    def matches(self, value: str) -> bool:
        """Whether the pattern takes the whole of `value`; clients say the same names again and again."""
        if value and value == self._accepted:
            return True
        if self._compiled is None:
            try:
                self._compiled = self.compile()
            except re2.error as error:
                log.warning("pattern %r is not checked: %s", self.source, error)
                self._compiled = _compiled("(?s).*"), None
        accepted, refused = self._compiled
        if refused is not None and refused.fullmatch(value) is not None:
            return False
        if accepted.fullmatch(value) is None:
            return False
        self._accepted = value
        return True


def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 64 << 20
    for java, ours in _SPELLINGS:
        pattern = pattern.replace(java, ours)
    return re2.compile(re.sub(r"\\u([0-9A-Fa-f]{4})", r"\\x{\1}", pattern), options)


# Java's spellings of what RE2 spells in another way. Surrogates stand for all characters beyond U+FFFF.
_SPELLINGS = (
    (r"\uD800\uDBFF-\uDC00\uDFFF", r"\x{10000}-\x{10FFFF}"),
    (r"[\p{Print}]", "[[:print:]]"),
    (r"\p{ASCII}", "[[:ascii:]]"),
)

_TEXT = r"[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDBFF-\uDC00\uDFFF\t"

# Patterns with look-aheads become one that must match and one that must not. Repetitions beyond RE2's limit
# of 1000 become open ones: there the shape's own maximum length is the same bound, or a tighter one.
_TRANSLATIONS: Mapping[str, tuple[str, str | None]] = {
    r".*(?!^(\d+\.)+\d+$)(^(([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])$).*": (
        r"(([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])",
        r"(\d+\.)+\d+",
    ),
    r"(?!\s+$)" + _TEXT + r"\r\n]*": (_TEXT + r"\r\n]*", r"\s+"),
    r"(?!\s*$)" + _TEXT + r"]*": (_TEXT + r"]*", r"\s*"),
    r"^(?!.*\..*\.)[a-zA-Z0-9][a-zA-Z0-9-_\.]*$": (r"[a-zA-Z0-9][a-zA-Z0-9-_\.]*", r".*\..*\..*"),
    r"^(?!s3:|https:)[a-zA-Z0-9!_.*'()/-]+$": (r"[a-zA-Z0-9!_.*'()/-]+", r"(s3:|https:).*"),
    r"arn:aws[a-z\-]*:sagemaker:[a-z0-9\-]{9,16}:[0-9]{12}:model-package/[\S]{1,2048}": (
        r"arn:aws[a-z\-]*:sagemaker:[a-z0-9\-]{9,16}:[0-9]{12}:model-package/[\S]+",
        None,
    ),
    r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/.{1,1024}": (r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/.+", None),
}

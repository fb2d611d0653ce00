"""Regular expressions of users, in an engine that takes linear time, whatever it meets: RE2.

https://github.com/google/re2/wiki/Syntax
"""

from typing import Any

import re2

from modelyard.runner.context import InputError


def compiled(pattern: str, place: str) -> Any:
    """A regular expression; InputError names the place of one that is none of RE2's."""
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise InputError(f"{place} {pattern!r} is not a regular expression of RE2: {error}") from None

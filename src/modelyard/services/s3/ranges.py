"""Which bytes of an object a request wants: a range of them, or those of a part.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
"""

import re
from collections.abc import Mapping
from itertools import islice
from typing import Any

from modelyard.storage.attributes import Object
from modelyard.wire.errors import Fault

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")


def chosen(request: Mapping[str, Any], found: Object) -> tuple[int, int] | None:
    """From where to before where, None for the whole object; a Fault if it has no such bytes or part.

    As with S3, a header that is no single range is passed over.
    """
    if "PartNumber" in request:
        if "Range" in request:
            raise Fault("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
        return _part(request["PartNumber"], found)
    return span(request.get("Range", ""), found.size)


def span(header: str, size: int) -> tuple[int, int] | None:
    """The bytes of a `Range` header, from where to before where; None if it is no single range."""
    given = _RANGE.fullmatch(header.strip())
    if given is None or given[0] == "bytes=-":
        return None
    if not given[1]:
        start, end = max(size - int(given[2]), 0), size
    else:
        start, end = int(given[1]), min(int(given[2]) + 1 if given[2] else size, size)
        if given[2] and int(given[2]) < start:
            return None
    if start >= size:
        members = {"RangeRequested": header, "ActualObjectSize": size}
        headers = {"content-range": f"bytes */{size}"}
        raise Fault("InvalidRange", "The requested range is not satisfiable", members, 416, headers)
    return start, end


def _part(number: int, found: Object) -> tuple[int, int] | None:
    sizes = [size for count, size in found.attributes.parts for _ in range(count)] or [found.size]
    if found.attributes.part_count > len(sizes):
        raise Fault("NotImplemented", "The sizes of this object's parts are too various to be kept: ask for ranges")
    if number > len(sizes):
        members = {"PartNumberRequested": number, "ActualPartCount": len(sizes)}
        raise Fault("InvalidPartNumber", "The requested partnumber is not satisfiable", members, 416)
    start = sum(islice(sizes, number - 1))
    return (start, start + sizes[number - 1]) if found.size else None

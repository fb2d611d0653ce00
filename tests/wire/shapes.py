"""Values made from shapes, for round trips through botocore's own serializer and parser."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.model import OperationModel, Shape, StructureShape

from modelyard.wire.models import SERVICES, Model

JSON_SERVICES = tuple(name for name in SERVICES if Model(name).protocol == "rest-json")

TEXTS = ("a", "ä ö/ü", 'quote " \\ back', "a+b&c=d?e#f%20", "line\nbreak\ttab", "日本語🙂", "{}", "null", "1e5", "true")
HEADER_TEXTS = ("a", "application/json", "x y; z=1", "ml-1_2.3", "*/*")
DEEPEST = 4

EVENT_STREAMS = frozenset(
    {
        "ConverseStream",
        "InvokeModelWithBidirectionalStream",
        "InvokeModelWithResponseStream",
        "InvokeEndpointWithResponseStream",
        "SelectObjectContent",
    }
)
"""Operations whose input or output is an event stream; their messages have a format of their own."""


def has_event_stream(operation: OperationModel) -> bool:
    return bool(operation.has_event_stream_input or operation.has_event_stream_output)


class Maker:
    """Makes values of a shape; `fill` is the chance of each optional member."""

    def __init__(self, seed: str, fill: float, whole_seconds: bool) -> None:
        self._random = random.Random(seed)
        self._fill = fill
        self._whole_seconds = whole_seconds

    def structure(self, shape: StructureShape, depth: int = 0) -> dict[str, Any]:
        members = list(shape.members.items())
        if shape.is_tagged_union:
            members = [self._random.choice(members)] if members else []
        else:
            members = [(name, m) for name, m in members if self._takes(name, m, shape, depth)]
        return {name: self.value(member, depth + 1) for name, member in members}

    def _takes(self, name: str, member: Shape, shape: StructureShape, depth: int) -> bool:
        if name in shape.required_members or member.serialization.get("location") in ("uri", "statusCode"):
            return True
        return depth < DEEPEST and self._random.random() < self._fill

    def value(self, shape: Shape, depth: int) -> Any:
        if getattr(shape, "is_document_type", False):
            return {"text": self._random.choice(TEXTS), "numbers": [1, 2.5, None, True], "inner": {"": []}}
        kind = shape.type_name
        if kind == "structure":
            return self.structure(shape, depth)
        if kind == "list":
            return [self.value(shape.member, depth + 1) for _ in range(self._size(shape, depth))]
        if kind == "map":
            return {
                self.value(shape.key, depth + 1) + str(i): self.value(shape.value, depth + 1)
                for i in range(self._size(shape, depth))
            }
        return self._scalar(shape, kind)

    def _size(self, shape: Shape, depth: int) -> int:
        least = 1 if "location" in shape.serialization else 0
        return least if depth > DEEPEST else self._random.randint(least, 3)

    def _scalar(self, shape: Shape, kind: str) -> Any:
        pick = self._random.choice
        if kind == "string":
            in_header = shape.serialization.get("location") == "header"
            return pick(shape.enum) if shape.enum else pick(HEADER_TEXTS if in_header else TEXTS)
        if kind == "timestamp":
            moment = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC) + timedelta(days=self._random.randint(-9999, 9999))
            return moment if self._whole_seconds else moment.replace(microsecond=pick((0, 123000, 123456)))
        if kind == "integer":
            in_status = shape.serialization.get("location") == "statusCode"
            return pick((200, 201)) if in_status else pick((0, 1, -7, 2**31 - 1))
        return {
            "blob": lambda: pick((b"\x00\xff bytes", b"{}", b"x" * 100)),
            "boolean": lambda: pick((True, False)),
            "long": lambda: pick((0, 2**63 - 1, -(2**63))),
            "float": lambda: pick((0.0, 1.5, -2.25e-10, float("inf"))),
            "double": lambda: pick((0.0, 1.5, 1e300, float("-inf"))),
        }[kind]()

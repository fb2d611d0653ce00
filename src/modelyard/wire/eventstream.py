"""Event streams: answers that come as a sequence of framed messages, compiled from the shapes of their events.

The framing is https://smithy.io/2.0/aws/amazon-eventstream.html. (AWS's encoder for Python needs Python 3.12.)
"""

import struct
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from typing import Any
from zlib import crc32

from botocore.model import StructureShape

from .errors import Fault
from .rest import ResponseRenderer

_STRING = 7
_LONGEST_TEXT = 1000
_RAW = {"blob": "application/octet-stream", "string": "text/plain"}

EventHeaders = list[tuple[str, str]]
Events = AsyncGenerator[Mapping[str, Any], None]
"""What a handler answers: events as boto3 gives them, dicts with the one member that each is."""
_Render = Callable[[Mapping[str, Any]], tuple[EventHeaders, bytes]]


def message(headers: EventHeaders, payload: bytes = b"") -> bytes:
    """One framed message. All headers are strings, since our services have no others."""
    encoded = b"".join(_header(name.encode(), value.encode()) for name, value in headers)
    prelude = struct.pack("!II", 16 + len(encoded) + len(payload), len(encoded))
    checked = prelude + struct.pack("!I", crc32(prelude)) + encoded + payload
    return checked + struct.pack("!I", crc32(checked))


def _header(name: bytes, value: bytes) -> bytes:
    return struct.pack("!B", len(name)) + name + struct.pack("!BH", _STRING, len(value)) + value


class EventStream:
    """Frames the events of one operation's stream. `renderer` is that of the service's protocol."""

    def __init__(self, shape: StructureShape, renderer: type[ResponseRenderer]) -> None:
        self._name = shape.name
        self._events: dict[str, _Render] = {}
        self._exceptions: dict[str, tuple[str, str, _Render]] = {}
        for member, event in shape.members.items():
            render = _renderer(event, renderer)
            if event.metadata.get("exception"):
                text = "message" if "message" in event.members else "Message"
                self._exceptions[event.name] = (member, text, render)
            else:
                self._events[member] = render

    def event(self, event: Mapping[str, Any]) -> bytes:
        """The message of an event; ValueError for one that the stream does not have."""
        ((member, value),) = event.items()
        if member not in self._events:
            raise ValueError(f"{self._name} has no event {member!r}")
        headers, payload = self._events[member](value)
        return message([(":message-type", "event"), (":event-type", member), *headers], payload)

    def fault(self, fault: Fault) -> bytes:
        """The message that ends a stream which had begun well: an exception if the stream models it, else an error."""
        if fault.code not in self._exceptions:
            told = fault.message[:_LONGEST_TEXT]
            return message([(":message-type", "error"), (":error-code", fault.code), (":error-message", told)])
        member, text, render = self._exceptions[fault.code]
        headers, payload = render({text: fault.message, **fault.members})
        return message([(":message-type", "exception"), (":exception-type", member), *headers], payload)


def _renderer(event: StructureShape, protocol: type[ResponseRenderer]) -> _Render:
    """What makes an event's headers and payload: of the one member that is the payload, else of all."""
    members = event.members.items()
    assert not any(shape.serialization.get("eventheader") for _, shape in members), "none of our services has any"
    marked = next((name for name, shape in members if shape.serialization.get("eventpayload")), None)
    if marked and (raw := _RAW.get(event.members[marked].type_name)):
        return lambda value: ([(":content-type", raw)], _bytes(value.get(marked) or b""))
    renderer = protocol(event.members[marked] if marked else event, 200)

    def render(value: Mapping[str, Any]) -> tuple[EventHeaders, bytes]:
        _, _, payload = renderer.render(value.get(marked, {}) if marked else value)
        assert isinstance(payload, bytes)
        return [(":content-type", renderer.content_type.decode())], payload

    return render


def _bytes(value: bytes | str) -> bytes:
    return value.encode() if isinstance(value, str) else value


class Frames(AsyncIterator[bytes]):
    """The messages of a stream that has begun. Close it if it is not read to its end."""

    def __init__(
        self, codec: EventStream, first: bytes | None, events: Events, fault_of: Callable[[Exception], Fault]
    ) -> None:
        self._codec = codec
        self._first = first
        self._events = events
        self._fault_of = fault_of
        self._ended = first is None

    @classmethod
    async def begin(cls, codec: EventStream, events: Events, fault_of: Callable[[Exception], Fault]) -> "Frames":
        """Waits for the first event: what keeps a stream from beginning is raised, and becomes an ordinary error.

        What goes wrong later is told in the stream, as the fault that `fault_of` makes of it.
        """
        first = await anext(events, None)
        return cls(codec, codec.event(first) if first is not None else None, events, fault_of)

    async def __anext__(self) -> bytes:
        """The next message, as soon as there is one."""
        first, self._first = self._first, None
        if first is not None:
            return first
        if self._ended:
            raise StopAsyncIteration
        try:
            return self._codec.event(await anext(self._events))
        except StopAsyncIteration:
            raise
        except Exception as error:  # after the status line, only an event can tell
            self._ended = True
            return self._codec.fault(self._fault_of(error))

    async def aclose(self) -> None:
        """Ends the stream, and the work behind it."""
        await self._events.aclose()

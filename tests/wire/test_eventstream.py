"""Framed messages beside botocore's own parser, which is what reads them at boto3's end."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Any

import pytest
from botocore.eventstream import EventStream as Read
from botocore.eventstream import EventStreamBuffer
from botocore.exceptions import EventStreamError
from botocore.model import OperationModel
from botocore.parsers import create_parser
from tests.boto import Clients
from tests.wire.shapes import EVENT_STREAMS, Maker

from modelyard.wire import rest_json, rest_xml
from modelyard.wire.endpoint import Call, Endpoint, Service
from modelyard.wire.errors import Fault
from modelyard.wire.eventstream import EventStream, Frames, message
from modelyard.wire.models import SERVICES, Model

_RENDERERS: dict[str, Any] = {"rest-json": rest_json.ResponseRenderer, "rest-xml": rest_xml.ResponseRenderer}
FILLS = (0.0, 1.0, 0.5, 0.3)
STREAMS = [
    operation for name in SERVICES for operation in Model(name).operations.values() if operation.has_event_stream_output
]


def of(name: str) -> OperationModel:
    return next(operation for operation in STREAMS if operation.name == name)


def codec(operation: OperationModel) -> EventStream:
    return EventStream(operation.get_event_stream_output(), _RENDERERS[operation.service_model.protocol])


class Raw:
    """What botocore reads a stream from: pieces that end anywhere."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data, self._size = data, size

    def stream(self) -> Iterator[bytes]:
        for start in range(0, len(self._data), self._size):
            yield self._data[start : start + self._size]


def read(operation: OperationModel, data: bytes, size: int = 7) -> Read:
    parser = create_parser(operation.service_model.protocol)._event_stream_parser
    return Read(Raw(data, size), operation.get_event_stream_output(), parser, operation.name)


def test_the_services_streams_are_all_covered() -> None:
    assert {operation.name for operation in STREAMS} <= EVENT_STREAMS
    assert {operation.service_model.protocol for operation in STREAMS} == {"rest-json", "rest-xml"}


@pytest.mark.parametrize("operation", STREAMS, ids=lambda operation: operation.name)
def test_botocore_reads_every_event_of_every_stream(operation: OperationModel) -> None:
    written, events = codec(operation), []
    for member, shape in operation.get_event_stream_output().members.items():
        if not shape.metadata.get("exception"):
            events += [{member: Maker(f"{member}{i}", fill, False).structure(shape)} for i, fill in enumerate(FILLS)]
    data = b"".join(written.event(event) for event in events)
    for event in events:
        for name, shape in operation.get_event_stream_output().members[next(iter(event))].members.items():
            if shape.serialization.get("eventpayload"):
                event[next(iter(event))].setdefault(name, b"" if shape.type_name == "blob" else {})
    assert list(read(operation, data)) == events


@pytest.mark.parametrize("operation", STREAMS, ids=lambda operation: operation.name)
def test_botocore_raises_every_exception_of_every_stream(operation: OperationModel) -> None:
    for member, shape in operation.get_event_stream_output().members.items():
        if shape.metadata.get("exception"):
            with pytest.raises(EventStreamError) as caught:
                list(read(operation, codec(operation).fault(Fault(shape.name, "it broke: ä"))))
            assert caught.value.response["Error"] == {"Code": member, "Message": "it broke: ä"}


def test_what_a_stream_does_not_model_is_an_error_all_the_same() -> None:
    with pytest.raises(EventStreamError) as caught:
        list(read(of("ConverseStream"), codec(of("ConverseStream")).fault(Fault("Odd", "x" * 100_000))))
    assert caught.value.response["Error"] == {"Code": "Odd", "Message": "x" * 1000}
    with pytest.raises(ValueError, match="ConverseStreamOutput has no event 'chunk'"):
        codec(of("ConverseStream")).event({"chunk": {"bytes": b""}})


def test_a_message_without_payload_or_headers_has_sixteen_bytes() -> None:
    assert message([]).hex() == "000000100000000005c248eb7d98c8ff"  # from the test suite of AWS's own libraries
    buffer = EventStreamBuffer()
    buffer.add_data(message([("a", "b")], b"payload"))
    (event,) = buffer
    assert (event.headers, event.payload) == ({"a": "b"}, b"payload")


class Work:
    """A handler's events: `count` of them, then `error`, if there is one."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.closed = False
        self._count, self._error = count, error

    async def events(self) -> AsyncGenerator[Mapping[str, Any], None]:
        try:
            for n in range(self._count):
                yield {"contentBlockDelta": {"contentBlockIndex": n, "delta": {"text": str(n)}}}
            if self._error:
                raise self._error
        finally:
            self.closed = True


async def begun(work: Work) -> Frames:
    def fault_of(error: Exception) -> Fault:
        return error if isinstance(error, Fault) else Fault("InternalServerException", "hidden")

    return await Frames.begin(codec(of("ConverseStream")), work.events(), fault_of)


def test_frames_come_to_the_end_and_the_work_ends() -> None:
    async def check() -> bytes:
        work = Work(3)
        data = b"".join([frame async for frame in await begun(work)])
        assert work.closed
        assert [frame async for frame in await begun(Work(0))] == []
        return data

    events = list(read(of("ConverseStream"), asyncio.run(check())))
    assert [event["contentBlockDelta"]["delta"]["text"] for event in events] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (Fault("ThrottlingException", "slowly"), "throttlingException", "slowly"),
        (KeyError("secret"), "internalServerException", "hidden"),
    ],
)
def test_what_breaks_a_stream_is_told_in_it_but_what_keeps_it_from_beginning_is_raised(
    error: Exception, code: str, text: str
) -> None:
    async def check() -> bytes:
        with pytest.raises(type(error)):
            await begun(Work(0, error))
        return b"".join([frame async for frame in await begun(Work(2, error))])

    stream = read(of("ConverseStream"), asyncio.run(check()))
    got = iter(stream)
    assert [next(got) for _ in range(2)]
    with pytest.raises(EventStreamError) as caught:
        next(got)
    assert caught.value.response["Error"] == {"Code": code, "Message": text}


def test_a_closed_stream_ends_the_work_even_before_its_first_frame_was_taken() -> None:
    async def check() -> None:
        for taken in (0, 1, 2):
            work = Work(9)
            frames = await begun(work)
            for _ in range(taken):
                await anext(frames)
            await frames.aclose()
            assert work.closed

    asyncio.run(check())


@pytest.fixture
def runtime(client_for: Clients) -> Any:
    """A client of a service whose every stream and header tells what was asked."""

    async def stream(call: Call, request: dict[str, Any]) -> dict[str, Any]:
        count, _, error = request["modelId"].partition("-")
        return {"stream": Work(int(count), Fault(error, "it broke") if error else None).events()}

    async def invoke(call: Call, request: dict[str, Any]) -> dict[str, Any]:
        call.headers["x-amzn-bedrock-input-token-count"] = "5"
        return {"body": request["modelId"].encode(), "contentType": "text/plain"}

    handlers = {"converse_stream": stream, "invoke_model": invoke}
    return client_for(
        Endpoint([Service("bedrock-runtime", handlers, any_text=["InvokeModelIdentifier"])]), "bedrock-runtime"
    )


def test_a_handlers_events_reach_boto3(runtime: Any) -> None:
    answer = runtime.converse_stream(modelId="3")
    assert answer["ResponseMetadata"]["HTTPHeaders"]["content-type"] == "application/vnd.amazon.eventstream"
    assert len(list(answer["stream"])) == 3
    assert list(runtime.converse_stream(modelId="0")["stream"]) == []


def test_a_stream_that_does_not_begin_is_an_ordinary_error(runtime: Any) -> None:
    with pytest.raises(runtime.exceptions.ThrottlingException, match="it broke"):
        runtime.converse_stream(modelId="0-ThrottlingException")
    with pytest.raises(EventStreamError, match="throttlingException"):
        list(runtime.converse_stream(modelId="1-ThrottlingException")["stream"])


def test_a_handler_may_add_headers_and_a_service_forgo_a_pattern(runtime: Any) -> None:
    answer = runtime.invoke_model(modelId="no such/model", body=b"")
    assert answer["body"].read() == b"no such/model"
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-bedrock-input-token-count"] == "5"
    with pytest.raises(runtime.exceptions.ValidationException, match="pattern"):
        runtime.converse_stream(modelId="no such/model")

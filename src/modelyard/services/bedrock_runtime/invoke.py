"""InvokeModel and InvokeModelWithResponseStream: bodies of the model's own family.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import orjson

from modelyard import families
from modelyard.families import BodyError, Form, Request
from modelyard.jobs.on_demand import ServedModel
from modelyard.services.bedrock_runtime.generation import Generation
from modelyard.services.bedrock_runtime.models import Resolve
from modelyard.wire.endpoint import Call
from modelyard.wire.errors import Fault
from modelyard.wire.rest import Malformed
from modelyard.wire.rest_json import load_json

JSON = "application/json"


class Invoke:
    """The operations that take a family's body."""

    def __init__(self, resolve: Resolve, generation: Generation) -> None:
        self._resolve = resolve
        self._generation = generation

    async def invoke_model(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """The whole answer, with the counts of tokens in headers."""
        model, form, asked = self._read(call, request)
        answer = await self._generation.answer(call, request["modelId"], model, asked)
        call.headers["x-amzn-bedrock-input-token-count"] = str(answer.input_tokens)
        call.headers["x-amzn-bedrock-output-token-count"] = str(answer.output_tokens)
        call.headers["x-amzn-bedrock-invocation-latency"] = str(round(answer.latency))
        return {"body": orjson.dumps(form.write(answer)), "contentType": JSON, **_served_as(request)}

    async def invoke_model_with_response_stream(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """The answer in chunks, as it comes."""
        model, form, asked = self._read(call, request)
        chunks = self._chunks(call, request["modelId"], model, form, asked)
        return {"body": chunks, "contentType": JSON, **_served_as(request)}

    async def _chunks(
        self, call: Call, model_id: str, model: ServedModel, form: Form, asked: Request
    ) -> AsyncGenerator[dict[str, Any], None]:
        first = True
        async with aclosing(self._generation.pieces(call, model_id, model, asked)) as pieces:
            async for piece in pieces:
                for chunk in families.chunks(form, piece, first):
                    yield {"chunk": {"bytes": orjson.dumps(chunk)}}
                first = False

    def _read(self, call: Call, request: Mapping[str, Any]) -> tuple[ServedModel, Form, Request]:
        """The model, and what it is asked in its family's form."""
        for member in ("guardrailIdentifier", "guardrailVersion"):
            if request.get(member):
                raise Fault(
                    "ValidationException", f"{member}: guardrails are not served here. Remove it and try again."
                )
        _check_type("contentType", request.get("contentType"))
        _check_type("accept", request.get("accept"))
        model = self._resolve(call.account, call.region, request["modelId"])
        return model, *families.read(model.family, model.imported, body(request.get("body") or b""))


def body(raw: bytes) -> Any:
    """The JSON of a body; BodyError if it is none."""
    try:
        raw.decode()
        return load_json(raw)
    except UnicodeDecodeError as error:
        found = f"The body is not UTF-8: byte {error.start} is 0x{raw[error.start]:02x}."
    except Malformed as error:
        found = f"{error}."
    raise BodyError(f"Malformed input request, please reformat your input and try again. {found}")


def _check_type(member: str, value: str | None) -> None:
    kinds = [kind.partition(";")[0].strip().lower() for kind in (value or JSON).split(",")]
    if not {JSON, "application/*", "*/*", ""} & set(kinds):
        raise Fault("ValidationException", f"{member}: {value!r} is not served; bodies are {JSON}, in and out.")


def _served_as(request: Mapping[str, Any]) -> dict[str, str]:
    """How the request was served, for those who asked for something special: there is one way."""
    served = {"performanceConfigLatency": "standard", "serviceTier": "default"}
    return {member: value for member, value in served.items() if request.get(member)}

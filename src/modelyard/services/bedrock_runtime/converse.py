"""Converse and ConverseStream: one form for all models.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from modelyard.families import FORMS, Answer, Request, converse
from modelyard.jobs.on_demand import ServedModel
from modelyard.services.bedrock_runtime.generation import Generation, no_conversation
from modelyard.services.bedrock_runtime.models import Resolve
from modelyard.wire.endpoint import Call


class Converse:
    """The operations on conversations."""

    def __init__(self, resolve: Resolve, generation: Generation) -> None:
        self._resolve = resolve
        self._generation = generation

    async def converse(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """The whole answer."""
        model, asked = self._read(call, request)
        answer = await self._generation.answer(call, request["modelId"], model, asked)
        fields = _fields(request, model, answer)
        return {**converse.write(answer), "additionalModelResponseFields": fields, **_served_as(request)}

    async def converse_stream(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """The answer as it comes."""
        model, asked = self._read(call, request)
        return {"stream": self._events(call, request, model, asked)}

    async def _events(
        self, call: Call, request: Mapping[str, Any], model: ServedModel, asked: Request
    ) -> AsyncGenerator[dict[str, Any], None]:
        first = True
        async with aclosing(self._generation.pieces(call, request["modelId"], model, asked)) as pieces:
            async for piece in pieces:
                for event in converse.events(piece, first):
                    if stop := event.get("messageStop"):
                        stop["additionalModelResponseFields"] = _fields(request, model, piece)
                    if metadata := event.get("metadata"):
                        metadata.update(_served_as(request))
                    yield event
                first = False

    def _read(self, call: Call, request: Mapping[str, Any]) -> tuple[ServedModel, Request]:
        """The model, and what it is asked."""
        model = self._resolve(call.account, call.region, request["modelId"])
        if not model.instruct:
            raise no_conversation(f"{request['modelId']} has no chat template; InvokeModel takes a prompt.")
        converse.picked({}, request.get("additionalModelResponseFieldPaths", ()))
        return model, converse.read(request, model.family)


def _fields(request: Mapping[str, Any], model: ServedModel, answer: Answer) -> dict[str, Any] | None:
    """What the request picks of the family's own answer."""
    paths = request.get("additionalModelResponseFieldPaths")
    return converse.picked(FORMS[model.family].write(answer), paths) if paths else None


def _served_as(request: Mapping[str, Any]) -> dict[str, Any]:
    """How the request was served, for those who asked for something special: there is one way."""
    served = {"performanceConfig": {"latency": "standard"}, "serviceTier": {"type": "default"}}
    return {member: value for member, value in served.items() if request.get(member)}

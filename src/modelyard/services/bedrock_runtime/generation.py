"""How a model is asked, piece by piece, and what keeps it from answering, in Bedrock's words."""

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import orjson

from modelyard.engines.base import TaskSpec
from modelyard.families import Answer, Request
from modelyard.jobs.on_demand import CannotLoad, NotReady, OnDemand, ServedModel
from modelyard.jobs.serving import ServingLost
from modelyard.wire.endpoint import Call
from modelyard.wire.errors import Fault

FRAME_SECONDS = 300.0
"""How long a model may take to its next token; AWS gives an imported model as long."""
RETRY_SECONDS = 5
"""When to come back for a model that is being loaded."""


def serving_task(base: str, cores: int, engine: str = "auto") -> TaskSpec:
    """The task that serves the base model in a folder; `engine` is what generates, see `Settings.language_engine`."""
    return TaskSpec(
        "modelyard.workloads.language.serve:run",
        parameters={"base": base, "engine": engine},
        cores=cores,
        family="language",
        gentle=False,
    )


class Generation:
    """Asks models for text. All that goes wrong is raised as a Fault."""

    def __init__(self, on_demand: OnDemand, timeout: float = FRAME_SECONDS) -> None:
        self._on_demand = on_demand
        self._timeout = timeout

    async def answer(self, call: Call, model_id: str, model: ServedModel, request: Request) -> Answer:
        """The whole answer."""
        texts = []
        async with aclosing(self.pieces(call, model_id, model, request, "ModelErrorException")) as pieces:
            async for piece in pieces:
                texts.append(piece.text)
        return replace(piece, text="".join(texts))

    async def pieces(
        self, call: Call, model_id: str, model: ServedModel, request: Request, broken: str = "ModelStreamErrorException"
    ) -> AsyncGenerator[Answer, None]:
        """The answer as it comes: pieces with text, and a last one. Close it early to let the model stop.

        A model that goes away when it had begun is a fault with the code `broken`.
        """
        began, first = time.monotonic(), 0.0
        id, created = call.request_id.replace("-", ""), int(time.time())
        try:
            async with aclosing(self._ask("generate", model, request, call.account)) as replies:
                async for header, body in replies:
                    now = 1000 * (time.monotonic() - began)
                    last = not header.get("more")
                    if not (body or last):
                        continue
                    first = first or now
                    yield Answer(
                        text=body.decode(),
                        stop_reason=header["stop_reason"] if last else None,
                        stop_sequence=header.get("stop_sequence"),
                        input_tokens=header["input_tokens"],
                        output_tokens=header["output_tokens"],
                        latency=now,
                        first_latency=first,
                        model=model_id,
                        id=id,
                        created=created,
                    )
        except (ServingLost, TimeoutError) as error:
            raise _lost(error, model, self._timeout, broken if first else None) from None

    async def count(self, model: ServedModel, request: Request) -> int:
        """The tokens of a request."""
        try:
            async with aclosing(self._ask("count", model, request)) as replies:
                header, _ = await anext(replies)
        except (ServingLost, TimeoutError) as error:
            raise _lost(error, model, self._timeout, None) from None
        return int(header["tokens"])

    async def _ask(
        self, operation: str, model: ServedModel, request: Request, account: str | None = None
    ) -> AsyncGenerator[tuple[Mapping[str, Any], bytes], None]:
        """The frames that answer; a Fault instead of a frame that says what is wrong."""
        header, body = _frame(operation, model, request)
        header["account"] = account
        try:
            async with aclosing(self._on_demand.stream(str(model.base), header, body, self._timeout)) as replies:
                async for reply, text in replies:
                    if reply["status"] != 200:
                        raise _refused(reply, model)
                    yield reply, text
        except NotReady as error:
            headers = {"retry-after": str(RETRY_SECONDS)}
            message = f"Model is not ready for inference: {error}. Wait and try your request again."
            raise Fault("ModelNotReadyException", message, headers=headers) from None
        except CannotLoad as error:
            raise _failed(model, f"The model cannot be loaded: {error}") from None


def _frame(operation: str, model: ServedModel, request: Request) -> tuple[dict[str, Any], bytes]:
    sampling = request.sampling
    header = {
        "op": operation,
        "adapter": str(model.adapter) if model.adapter else None,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "seed": request.seed,
    }
    asked = {"prompt": request.prompt} if request.messages is None else {"messages": request.messages}
    return header, orjson.dumps({**asked, "stop": request.stop})


def _refused(reply: Mapping[str, Any], model: ServedModel) -> Fault:
    """What a serving task's error is to the client."""
    status, message = reply["status"], reply["message"]
    if reply.get("reason") == "context":
        sentence = message[:1].upper() + message[1:]
        return Fault("ValidationException", f"Input is too long for requested model. {sentence}")
    if reply.get("reason") == "template":
        return no_conversation(message)
    if status in (429, 503):
        return Fault("ThrottlingException", f"Too many requests, please wait before trying again. {message}")
    return Fault("ValidationException", message) if status < 500 else _failed(model, message, status)


def no_conversation(why: str) -> Fault:
    """What a model without a chat template answers to messages."""
    said = "This action doesn't support the model that you provided. Try again with a supported text or chat model."
    return Fault("ValidationException", f"{said} {why}")


def _failed(model: ServedModel, message: str, status: int = 500) -> Fault:
    members = {"originalStatusCode": status, "resourceName": model.arn}
    return Fault("ModelErrorException", message, members)


def _lost(error: Exception, model: ServedModel, timeout: float, broken: str | None) -> Fault:
    """The fault of a model that went away or was too slow; `broken` where its answer had begun."""
    slow = isinstance(error, TimeoutError)
    message = f"The model gave no token within {timeout:g} seconds." if slow else f"The model went away: {error}"
    if broken == "ModelStreamErrorException":
        status = 408 if slow else 500
        return Fault(broken, message, {"originalStatusCode": status, "originalMessage": message})
    return Fault("ModelTimeoutException", message) if slow else _failed(model, message)

"""CountTokens: what a request of InvokeModel or Converse would count as input.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_CountTokens.html
"""

from typing import Any

from modelyard import families
from modelyard.families import converse
from modelyard.services.bedrock_runtime.generation import Generation
from modelyard.services.bedrock_runtime.invoke import body
from modelyard.services.bedrock_runtime.models import Resolve
from modelyard.wire.endpoint import Call


class Tokens:
    """The operation that counts."""

    def __init__(self, resolve: Resolve, generation: Generation) -> None:
        self._resolve = resolve
        self._generation = generation

    async def count_tokens(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """The input tokens of a request, which is checked as if it were sent."""
        model = self._resolve(call.account, call.region, request["modelId"])
        ((form, asked),) = request["input"].items()
        if form == "converse":
            counted = converse.read(asked, model.family)
        else:
            _, counted = families.read(model.family, model.imported, body(asked["body"]))
        return {"inputTokens": await self._generation.count(model, counted)}

"""The Bedrock runtime as a service."""

from modelyard.families import BodyError
from modelyard.jobs.on_demand import OnDemand
from modelyard.services.bedrock_runtime.converse import Converse
from modelyard.services.bedrock_runtime.generation import Generation
from modelyard.services.bedrock_runtime.invoke import Invoke
from modelyard.services.bedrock_runtime.models import Resolve
from modelyard.services.bedrock_runtime.tokens import Tokens
from modelyard.wire.endpoint import Service
from modelyard.wire.errors import Fault

MODEL_IDS = ("InvokeModelIdentifier", "ConversationalModelId", "FoundationModelVersionIdentifier")
"""Shapes whose patterns refuse ARNs that Bedrock itself gives; whether a model is there is checked anyway."""


def bedrock_runtime(resolve: Resolve, on_demand: OnDemand) -> Service:
    """The service; `resolve` finds the models, `on_demand` serves them."""
    generation = Generation(on_demand)
    invoke, converse = Invoke(resolve, generation), Converse(resolve, generation)
    handlers = {
        "invoke_model": invoke.invoke_model,
        "invoke_model_with_response_stream": invoke.invoke_model_with_response_stream,
        "converse": converse.converse,
        "converse_stream": converse.converse_stream,
        "count_tokens": Tokens(resolve, generation).count_tokens,
    }
    return Service("bedrock-runtime", handlers, faults=_fault, any_text=MODEL_IDS)


def _fault(error: Exception) -> Fault | None:
    return Fault("ValidationException", str(error)) if isinstance(error, BodyError) else None

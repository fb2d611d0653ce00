"""The families of models: how each body asks and is answered. Pure Python, used by the server and by tasks."""

from collections.abc import Sequence
from typing import Any

from modelyard.families.forms import FORMS, Form, read
from modelyard.families.request import Answer, BodyError, Request, Sampling

__all__ = ["FORMS", "Answer", "BodyError", "Form", "Request", "Sampling", "chunks", "read"]

METRICS = "amazon-bedrock-invocationMetrics"


def chunks(form: Form, piece: Answer, first: bool) -> Sequence[dict[str, Any]]:
    """The chunks of a piece of a stream; the very last one carries the metrics of the whole, as Bedrock's does."""
    told = form.chunks(piece, first)
    if piece.stop_reason:
        told[-1][METRICS] = {
            "inputTokenCount": piece.input_tokens,
            "outputTokenCount": piece.output_tokens,
            "invocationLatency": round(piece.latency),
            "firstByteLatency": round(piece.first_latency),
        }
    return told

"""Which body is whose: the form of each family, and of imported models."""

from collections.abc import Mapping
from typing import Any, Protocol

from modelyard.families import claude, completion, imported, llama, mistral, nova, openai, titan
from modelyard.families.fields import Fields
from modelyard.families.request import Answer, Request, Sampling


class Form(Protocol):
    """One kind of InvokeModel body. EXAMPLE shows it."""

    EXAMPLE: str

    def read(self, body: Mapping[str, Any], hint: str) -> Request:
        """The request in a body; BodyError, with `hint` at its end, if there is none."""
        ...

    def write(self, answer: Answer) -> dict[str, Any]:
        """The body that answers."""
        ...

    def chunks(self, piece: Answer, first: bool) -> list[dict[str, Any]]:
        """The chunks that tell a piece of a stream: the first of its pieces, or a later one."""
        ...


class FamilyForm(Form, Protocol):
    """The body of a family of models, which Converse speaks to as well. DEFAULTS: where a body is silent."""

    DEFAULTS: Sampling

    def additional(self, fields: Fields, sampling: Sampling) -> Sampling:
        """What Converse's `additionalModelRequestFields` change."""
        ...


FORMS: Mapping[str, FamilyForm] = {
    "llama": llama,
    "titan": titan,
    "mistral": mistral,
    "nova": nova,
    "claude": claude,
    "openai": openai,
}


def form(family: str, imported_model: bool, body: Mapping[str, Any]) -> Form:
    """The form that a body is to have: the family's, or one of the three of imported models, which its members tell."""
    if (family == "openai" or imported_model) and "messages" in body:
        return openai
    if family == "openai" or (imported_model and "max_tokens" in body):
        return completion if "prompt" in body else openai
    return imported if imported_model else FORMS[family]


def read(family: str, imported_model: bool, body: object) -> tuple[Form, Request]:
    """The request in an InvokeModel body, and the form that its answer is to have; BodyError says what is wrong."""
    if not isinstance(body, Mapping):
        Fields(body).end(_hint(family, FORMS[family], {}))
    assert isinstance(body, Mapping)
    right = form(family, imported_model, body)
    return right, right.read(body, _hint(family, right, body))


def _hint(family: str, right: Form, body: Mapping[str, Any]) -> str:
    looks = _looks_like(body)
    wrong = f" This one looks like {looks}'s." if looks and FORMS[looks] is not right else ""
    return f" This model's family is {family}; its body is {right.EXAMPLE}.{wrong}"


def _looks_like(body: Mapping[str, Any]) -> str | None:
    """The family whose members a body has."""
    if "messages" in body:
        if "anthropic_version" in body:
            return "claude"
        return "nova" if "inferenceConfig" in body or "schemaVersion" in body else None
    return "titan" if "inputText" in body else "llama" if "max_gen_len" in body else None

"""Base models: folders of Hugging Face models that the operator has registered, for all accounts and regions."""

import asyncio
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from modelyard.families.forms import FORMS
from modelyard.jobs.listing import Search
from modelyard.jobs.model import AlreadyExists, NotFound, Resource
from modelyard.jobs.resources import EVERYONE, Resources, new
from modelyard.model_folder import REMOTE_CODE, BadModel, inspect

KIND = "base model"
FAMILIES = tuple(FORMS)
"""Whose request and answer bodies, and whose hyperparameters, a model can have."""
CUSTOMIZATIONS = ("fine-tuning", "continued-pre-training", "distillation")

SMALL_PARAMETERS = 20_000_000

_ID = re.compile(r"[a-z0-9-]{1,63}\.[a-z0-9-]{2,63}(:[a-z0-9-]{1,63}){0,2}")
"""What every pattern of AWS's that a model's id occurs in takes: one dot, and versions after colons."""
_LONGEST_ID = 63
_LONGEST_NAME = 20
_PROVIDERS = {
    "ai21": "AI21 Labs",
    "amazon": "Amazon",
    "anthropic": "Anthropic",
    "cohere": "Cohere",
    "deepseek": "DeepSeek",
    "meta": "Meta",
    "mistral": "Mistral AI",
    "modelyard": "Modelyard",
    "openai": "OpenAI",
    "qwen": "Qwen",
}
_FAMILY_OF = (
    ("amazon.nova", "nova"),
    ("amazon.titan", "titan"),
    ("anthropic.", "claude"),
    ("mistral.", "mistral"),
    ("openai.", "openai"),
)


@dataclass(frozen=True)
class BaseModel:
    """A registered model. `path` is the absolute folder; `own` tells whether it lies in the data folder.

    family: one of FAMILIES. customizations: some of CUSTOMIZATIONS. parameters: how many numbers it has.
    context: tokens. instruct: whether it has a chat template. remote_code: whether its own code may run.
    """

    id: str
    name: str
    provider: str
    family: str
    customizations: Sequence[str]
    path: str
    own: bool
    architecture: str
    parameters: int
    context: int
    instruct: bool
    remote_code: bool
    created: int = 0

    @property
    def small(self) -> bool:
        """Whether the hyperparameters of larger models do not suit it."""
        return self.parameters < SMALL_PARAMETERS


class BaseModels:
    """The base models of one data folder, whose `folder` holds those that are its own."""

    def __init__(self, resources: Resources, folder: Path) -> None:
        self._resources = resources
        self._folder = folder

    def get(self, id: str) -> BaseModel:
        """The model with this id; NotFound if there is none.

        AWS's ids come with a version and the length of the context (`…-v1:0:8k`), or without: one of them is enough
        where it means one model.
        """
        try:
            return self._model(self._resources.get(EVERYONE, KIND, id))
        except NotFound:
            near = [one for one in self.all() if one.id.startswith(f"{id}:") or id.startswith(f"{one.id}:")]
            if len(near) == 1:
                return near[0]
            raise

    def all(self) -> list[BaseModel]:
        """All models, the oldest first."""
        return [
            self._model(one) for one in self._resources.page(EVERYONE, KIND, Search(ascending=True, limit=10_000)).items
        ]

    def folder(self, id: str) -> Path:
        """Where a model of the data folder's own lies, or is to be put."""
        return self._folder / check_id(id).replace(":", "_")

    async def add(
        self,
        id: str,
        path: Path,
        family: str | None = None,
        customizations: Sequence[str] = CUSTOMIZATIONS,
        name: str | None = None,
        copy: bool = False,
        allow_remote_code: bool = False,
    ) -> BaseModel:
        """Registers a folder, or looks at it again if it is the model's already. Code that may run is always copied.

        BadModel if it cannot be used, AlreadyExists if the id is another folder's.
        """
        check_id(id)
        found = await asyncio.to_thread(inspect, path.resolve(), allow_remote_code)
        kept = self.folder(id) if copy or found.remote_code else found.path
        self._refuse_other(id, kept)
        if kept != found.path:
            await asyncio.to_thread(_copy, found.path, kept)
        if found.remote_code:
            (kept / REMOTE_CODE).touch()
        model = BaseModel(
            id=id,
            name=(name or id.partition(".")[2])[:_LONGEST_NAME],
            provider=_PROVIDERS.get(id.partition(".")[0], id.partition(".")[0].capitalize())[:_LONGEST_NAME],
            family=family or family_of(id),
            customizations=tuple(customizations),
            path=str(kept),
            own=kept.is_relative_to(self._folder),
            architecture=found.architecture,
            parameters=found.parameters,
            context=found.context,
            instruct=found.instruct,
            remote_code=found.remote_code,
        )
        return await self._keep(model)

    async def remove(self, id: str) -> BaseModel:
        """Forgets a model, and deletes its folder if that is the data folder's own. NotFound if there is none."""
        found = self._resources.get(EVERYONE, KIND, id)
        await self._resources.delete(found)
        if (model := self._model(found)).own:
            await asyncio.to_thread(shutil.rmtree, model.path, ignore_errors=True)
        return model

    def resting_on(self, id: str) -> list[Resource]:
        """What would not work any more without a model: of all accounts."""
        return self._resources.resting_on(id)

    def _refuse_other(self, id: str, path: Path) -> None:
        try:
            known = self._model(self._resources.get(EVERYONE, KIND, id))
        except NotFound:
            return
        if known.path != str(path):
            raise AlreadyExists(id, asdict(known))

    async def _keep(self, model: BaseModel) -> BaseModel:
        document = {name: value for name, value in asdict(model).items() if name != "created"}
        try:
            kept = await self._resources.create(new(EVERYONE, KIND, model.id, None, "active", document))
        except AlreadyExists:
            known = self._resources.get(EVERYONE, KIND, model.id)
            kept = await self._resources.change(known, document=document)
        return self._model(kept)

    def _model(self, resource: Resource) -> BaseModel:
        """What is known of a model. Those of the data folder's own move with it."""
        model = BaseModel(**resource.document, created=resource.created)
        return replace(model, path=str(self.folder(model.id))) if model.own else model


def check_id(id: str) -> str:
    """The id; BadModel if AWS's clients and patterns would not take it."""
    if _ID.fullmatch(id) and len(id) <= _LONGEST_ID:
        return id
    provider, _, rest = re.sub(r"[^a-z0-9./:-]+", "-", id.lower()).partition("/" if "/" in id else ".")
    better = re.sub(r"[^a-z0-9-]+", "-", provider) + "." + re.sub(r"[./]+", "-", rest or "model").strip("-:")
    better = f"; {better} would do" if _ID.fullmatch(better) and len(better) <= _LONGEST_ID else ""
    form = "provider.model or provider.model:0, of a-z, 0-9 and hyphen"
    raise BadModel(f"{id[:200]!r} cannot be the id of a model: AWS's have the form {form}{better}")


def family_of(id: str) -> str:
    """The family that an id tells of; llama's where it tells of none that is known."""
    return next((family for start, family in _FAMILY_OF if id.startswith(start)), "llama")


def _copy(source: Path, target: Path) -> None:
    half = target.with_name(f".{target.name}.half")
    shutil.rmtree(half, ignore_errors=True)
    shutil.copytree(source, half)
    shutil.rmtree(target, ignore_errors=True)
    half.rename(target)

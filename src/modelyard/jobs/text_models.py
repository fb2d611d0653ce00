"""Models of text: folders that the operator has registered for features of graphs, for all accounts and regions."""

import asyncio
from dataclasses import asdict, dataclass
from pathlib import Path

from modelyard.jobs.model import AlreadyExists
from modelyard.jobs.resources import EVERYONE, Resources, new
from modelyard.text_models import inspect

KIND = "text model"


@dataclass(frozen=True)
class TextModel:
    """A registered model: one of `text_models.IDS`, and its absolute folder."""

    id: str
    path: str


class TextModels:
    """Those of one data folder. Nothing is copied: the folders stay the operator's."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    def all(self) -> list[TextModel]:
        """All models, the oldest first."""
        return [TextModel(**one.document) for one in self._resources.all_of(KIND)]

    async def add(self, id: str, path: Path) -> TextModel:
        """Registers a folder; BadModel if it cannot be used, AlreadyExists if the id is another folder's."""
        model = TextModel(id, str(path.resolve()))
        await asyncio.to_thread(inspect, id, Path(model.path))
        try:
            await self._resources.create(new(EVERYONE, KIND, id, None, "active", asdict(model)))
        except AlreadyExists as taken:
            if taken.request["path"] != model.path:
                raise
        return model

    async def remove(self, id: str) -> TextModel:
        """Forgets a model. NotFound if there is none."""
        found = self._resources.get(EVERYONE, KIND, id)
        await self._resources.delete(found)
        return TextModel(**found.document)

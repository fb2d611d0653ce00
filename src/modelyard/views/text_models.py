"""The models of text: the operator, who sits at this machine, adds and removes them."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from modelyard.jobs.model import AlreadyExists, NotFound
from modelyard.jobs.text_models import TextModels
from modelyard.model_folder import BadModel
from modelyard.views.ask import Ask, Refused, Views


class TextModelsView:
    """The pages over the models of text."""

    def __init__(self, models: TextModels) -> None:
        self._models = models
        self.views: Views = {
            "/-/text-models/": ("GET", self._list),
            "/-/text-models/add": ("POST", self._add),
            "/-/text-models/remove": ("POST", self._remove),
        }

    def _list(self, _: Ask) -> Any:
        return {"models": [asdict(model) for model in self._models.all()]}

    async def _add(self, ask: Ask) -> Any:
        id, path = ask.by_operator().required("id"), Path(ask.required("path"))
        try:
            return asdict(await self._models.add(id, path))
        except BadModel as error:
            raise Refused(400, str(error)) from None
        except AlreadyExists as taken:
            reason = f"{id} is {taken.request['path']} already; modelyard models remove {id} forgets that"
            raise Refused(409, reason) from None

    async def _remove(self, ask: Ask) -> Any:
        id = ask.by_operator().required("id")
        try:
            return asdict(await self._models.remove(id))
        except NotFound:
            known = ", ".join(model.id for model in self._models.all()) or "none"
            raise Refused(404, f"There is no model of text {id[:255]!r}; registered are: {known}") from None

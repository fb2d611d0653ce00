"""The base models: the operator, who sits at this machine, adds and removes them."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from modelyard.jobs.base_models import CUSTOMIZATIONS, FAMILIES, BaseModels
from modelyard.jobs.model import AlreadyExists, NotFound
from modelyard.model_folder import BadModel
from modelyard.views.ask import Ask, Refused, Views


class BaseModelsView:
    """The pages over the base models."""

    def __init__(self, models: BaseModels) -> None:
        self._models = models
        self.views: Views = {
            "/-/models/": ("GET", self._list),
            "/-/models/folder": ("GET", self._folder),
            "/-/models/add": ("POST", self._add),
            "/-/models/remove": ("POST", self._remove),
        }

    def _list(self, _: Ask) -> Any:
        return {"models": [asdict(model) for model in self._models.all()]}

    def _folder(self, ask: Ask) -> Any:
        """Where a model is to be put that is to be the data folder's own, and whether it is registered already."""
        id = ask.by_operator().required("id")
        try:
            known = any(model.id == id for model in self._models.all())
            return {"folder": str(self._models.folder(id)), "registered": known}
        except BadModel as error:
            raise Refused(400, str(error)) from None

    async def _add(self, ask: Ask) -> Any:
        """Registers a folder of this machine."""
        id, path = ask.by_operator().required("id"), Path(ask.required("path"))
        customizations = ask.query.get("customizations", ",".join(CUSTOMIZATIONS)).split(",")
        family = ask.query.get("family")
        if unknown := {*customizations} - {*CUSTOMIZATIONS} or {family} - {None, *FAMILIES}:
            raise Refused(400, f"{unknown.pop()!r:.80} is none of {', '.join([*CUSTOMIZATIONS, *FAMILIES])}")
        try:
            model = await self._models.add(
                id,
                path,
                family,
                customizations,
                ask.query.get("name"),
                copy="copy" in ask.query,
                allow_remote_code="remote_code" in ask.query,
            )
        except BadModel as error:
            raise Refused(400, str(error)) from None
        except AlreadyExists as taken:
            reason = f"{id} is {taken.request['path']} already; modelyard models remove {id} forgets that"
            raise Refused(409, reason) from None
        return asdict(model)

    async def _remove(self, ask: Ask) -> Any:
        """Forgets a model, if nothing needs it or `force` is said."""
        id = ask.by_operator().required("id")
        needing = self._models.resting_on(id)
        if needing and "force" not in ask.query:
            names = ", ".join(f"{one.kind} {one.name} of {one.owner.account}" for one in needing[:5])
            raise Refused(409, f"{id} is needed by {names}; --force removes it all the same")
        try:
            return asdict(await self._models.remove(id))
        except NotFound:
            known = ", ".join(model.id for model in self._models.all()) or "none"
            raise Refused(404, f"There is no model {id[:255]!r}; registered are: {known}") from None

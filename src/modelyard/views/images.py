"""The images that containers run: the operator, who sits at this machine, adds and removes them."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from modelyard.images.folder import BadImage
from modelyard.jobs.images import Images
from modelyard.jobs.model import NotFound
from modelyard.views.ask import Ask, Refused, Views


class ImagesView:
    """The pages over the images."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self.views: Views = {
            "/-/images/": ("GET", self._list),
            "/-/images/add": ("POST", self._add),
            "/-/images/remove": ("POST", self._remove),
        }

    def _list(self, _: Ask) -> Any:
        return {"images": [asdict(image) for image in self._images.list()]}

    async def _add(self, ask: Ask) -> Any:
        """Takes in what lies on this machine."""
        uri, path = ask.by_operator().required("uri"), Path(ask.required("path"))
        config = ask.query.get("config")
        try:
            added = await self._images.add(uri, path, Path(config) if config else None, ask.query.get("digest"))
            return asdict(added)
        except BadImage as error:
            raise Refused(400, str(error)) from None

    async def _remove(self, ask: Ask) -> Any:
        uri = ask.by_operator().required("uri")
        try:
            return asdict(await self._images.remove(uri))
        except NotFound:
            known = ", ".join(image.uri for image in self._images.list()) or "none"
            raise Refused(404, f"There is no image {uri[:255]!r}; added are: {known}") from None

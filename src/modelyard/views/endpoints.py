"""Endpoints as JSON, each for its owner."""

from typing import Any

from modelyard.jobs.deployments import Deployments
from modelyard.jobs.model import Deployment
from modelyard.links import Links
from modelyard.views.ask import Ask, Views


class EndpointsView:
    """The page over the deployments."""

    def __init__(self, deployments: Deployments, links: Links) -> None:
        self._deployments = deployments
        self._links = links
        self.views: Views = {"/-/endpoints/": ("GET", self._list)}

    def _list(self, ask: Ask) -> Any:
        return {"endpoints": [self._described(one) for one in self._deployments.newest(ask.owner, ask.limit())]}

    def _described(self, one: Deployment) -> dict[str, Any]:
        task = one.task or one.next
        return {
            "id": one.id,
            "name": one.name,
            "kind": one.kind,
            "status": one.status,
            "created": one.created,
            "failure": one.failure,
            "log": self._links.path(task) if task else None,
        }

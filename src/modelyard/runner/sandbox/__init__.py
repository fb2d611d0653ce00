"""Sandboxes: programs that nobody trusts, with the files that they are given and nothing else of the machine."""

from modelyard.images.folder import OpenedImage, open_image
from modelyard.runner.sandbox.container import Container
from modelyard.runner.sandbox.isolation import isolation
from modelyard.runner.sandbox.limits import Bind, Limits
from modelyard.runner.sandbox.program import NoSandbox

__all__ = ["Bind", "Container", "Limits", "NoSandbox", "OpenedImage", "isolation", "open_image"]

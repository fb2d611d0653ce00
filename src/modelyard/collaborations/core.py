"""The core, as both services of Clean Rooms see it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from modelyard.collaborations.audit import Audit
from modelyard.collaborations.budgets import Budgets
from modelyard.collaborations.parties import Parties
from modelyard.collaborations.queries import Queries
from modelyard.collaborations.tables import Tables
from modelyard.jobs.resources import Resources
from modelyard.jobs.store import Store
from modelyard.jobs.tags import Tags
from modelyard.storage.base import Storage
from modelyard.storage.buckets import Buckets


@dataclass(frozen=True)
class Core:
    """What the resources of a collaboration work on.

    storage: the users' objects. folder: where a `modelyard://` URI lies on this machine.
    wake: tells the supervisor that there is something to do. slots: the cores that jobs may keep busy at once.
    """

    store: Store
    resources: Resources
    tags: Tags
    parties: Parties
    audit: Audit
    tables: Tables
    queries: Queries
    budgets: Budgets
    storage: Storage
    buckets: Buckets
    folder: Callable[[str], Path]
    wake: Callable[[], None]
    slots: int

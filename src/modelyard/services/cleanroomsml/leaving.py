"""What happens to channels, models and jobs when a member leaves, or is put out: its data is out of reach at once."""

from sqlalchemy import Connection

from modelyard.collaborations import audit
from modelyard.collaborations.model import Membership
from modelyard.jobs import resources, store
from modelyard.services.cleanroomsml import uses
from modelyard.services.cleanroomsml.backend import CHANNEL, EXPORT, INFERENCE, MODEL, VERSION
from modelyard.services.cleanroomsml.records import ERASED, FACTS, concerned

JOBS = {CHANNEL: CHANNEL, VERSION: MODEL, INFERENCE: INFERENCE, EXPORT: EXPORT}
"""The kinds of jobs by those of the resources that they make."""
KEEPING = (CHANNEL, VERSION)
"""Those of which rows, or what was learnt from them, lie in the room."""


def end_what_concerns(connection: Connection, leaving: Membership) -> None:
    """Stops the jobs that concern a member, and marks as deleted what was made of its data or at its request.

    `Retention` deletes it as soon as no job reads it any more.
    """
    account = leaving.owner.account
    for made, kind in JOBS.items():
        for one in resources.rooted(connection, made, leaving.collaboration.arn):
            settled = store.request(connection, one.owner, kind, one.id)[FACTS]
            if account not in concerned(settled):
                continue
            store.stop(connection, one.owner, kind, one.id)
            if made in KEEPING and one.status != ERASED and account in (one.owner.account, *settled["owners"]):
                resources.change(connection, one, status=ERASED)
                rule = f"account {account} is no member any more"
                audit.add(connection, *uses.entries(settled, "deleted", rule=rule))

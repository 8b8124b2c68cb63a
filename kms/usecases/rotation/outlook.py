"""One meeting's key as it stands, on checked rows: what engine and status both go by."""

from dataclasses import dataclass

from kms.domain.ids import MeetingId, SpaceName
from kms.domain.models import Epoch, Meeting
from kms.domain.policies import RotationRules
from kms.domain.states import MeetingState
from kms.usecases.policies import policy_in_force
from kms.usecases.rotation.rules import Due, next_due
from kms.usecases.services import Services


@dataclass(frozen=True, slots=True)
class Outlook:
    """An open meeting with its row's version, its epochs, the rules in force, and what follows.

    ``uses`` counts the envelopes served of the present epoch; ``due`` is None while nothing is to
    be made.
    """

    meeting: Meeting
    version: int
    present: Epoch
    published: Epoch | None
    rules: RotationRules
    uses: int
    due: Due | None


async def outlook(services: Services, space: SpaceName, meeting: MeetingId) -> Outlook | None:
    """Return an open meeting's outlook, None for one that has ended; raise NotFound,
    IntegrityFailure, HsmUnavailable, StoreUnavailable.
    """
    record, version = await services.cache.meeting(space, meeting)
    if record.state is not MeetingState.OPEN:
        return None
    present, _ = await services.cache.epoch(space, meeting, record.current_epoch)
    published = None
    if record.next_epoch is not None:
        published, _ = await services.cache.epoch(space, meeting, record.next_epoch)
    rules = (await policy_in_force(services, space))[0].rotation
    uses = services.store.uses(space, meeting, present.epoch)
    due = next_due(rules, present, published, uses, services.seconds())
    return Outlook(record, version, present, published, rules, uses, due)

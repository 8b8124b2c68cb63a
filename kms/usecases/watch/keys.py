"""Counts the keys in use: how many in which state, how old, which should have been replaced.

Rows are read unchecked, page by page, and others have their turn between two pages. What is told of
one meeting by name is looked at through the checked records.
"""

import asyncio
import logging
from bisect import bisect_left
from collections import Counter
from collections.abc import AsyncGenerator

from kms.domain.ids import MeetingId, SpaceName
from kms.domain.models import Epoch
from kms.domain.policies import RotationRules
from kms.domain.rows import SealedRow
from kms.domain.states import IN_USE, KeyState
from kms.errors import ConclaveError, InvalidInput
from kms.statements.canonical import read_row
from kms.usecases.policies import policy_in_force
from kms.usecases.rotation.outlook import outlook
from kms.usecases.rotation.rules import next_due
from kms.usecases.rotation.status import is_late, is_overdue
from kms.usecases.services import Services
from kms.usecases.watch.state import AGES, SpaceKeys
from kms.usecases.watch.survey import live_spaces

_PAGE = 50
_LATE_SECONDS = 10
"""The next epoch begins when the present one ends, and its activation may take a moment."""
_LOG = logging.getLogger(__name__)


async def look_at_keys(services: Services) -> None:
    """Count the keys in use in every space, and those that are overdue."""
    published = [_place(one) for one in services.store.pending_epochs()]
    found: dict[str, SpaceKeys] = {}
    for space in live_spaces(services):
        pending = {place[1]: epoch for place, epoch in published if place[0] == space}
        found[space] = await _count(services, space, pending)
    facts = services.watched.facts
    facts.keys, facts.keys_at = found, services.seconds()


async def _count(
    services: Services, space: SpaceName, published: dict[str, Epoch | None]
) -> SpaceKeys:
    states, ages = Counter({"pre-activation": len(published)}), [0] * (len(AGES) + 1)
    overdue, oldest, now = 0, 0, services.seconds()
    rules, doubtful = await _rules(services, space), dict[str, bool]()
    async for meeting, epoch in _present(services, space):
        if epoch is None:
            doubtful[meeting] = True
            continue
        states[epoch.state.value] += 1
        if epoch.state is KeyState.ACTIVE:
            overdue += now >= epoch.retires + _LATE_SECONDS
            oldest = min(oldest or epoch.activates, epoch.activates)
        if epoch.state in IN_USE:
            ages[bisect_left(AGES, now - epoch.activates)] += 1
        doubtful[meeting] = _seems_late(services, rules, epoch, published.get(meeting))
    late = await _late(services, space, [one for one, doubt in doubtful.items() if doubt])
    return SpaceKeys(states, overdue, oldest, late, tuple(ages))


async def _rules(services: Services, space: SpaceName) -> RotationRules | None:
    """Return the rules in force, None while they cannot be checked, as in a sealed space."""
    try:
        return (await policy_in_force(services, space))[0].rotation
    except ConclaveError as error:
        _LOG.info("the policy of %s cannot be checked: %s", space, error.code)
        return None


def _seems_late(
    services: Services, rules: RotationRules | None, epoch: Epoch, published: Epoch | None
) -> bool:
    if rules is None:
        return False
    now = services.seconds()
    uses = services.store.uses(epoch.space, epoch.meeting, epoch.epoch)
    return is_late(epoch, next_due(rules, epoch, published, uses, now), now)


async def _late(services: Services, space: SpaceName, meetings: list[str]) -> tuple[str, ...]:
    """Return those that are overdue, or of which nothing can be told: a meeting that has ended may
    have left a compromised epoch behind.
    """
    found = []
    for meeting in meetings:
        try:
            seen = await outlook(services, space, MeetingId(meeting))
        except ConclaveError:
            found.append(meeting)
        else:
            if seen is not None and is_overdue(seen, services.seconds()):
                found.append(meeting)
        await asyncio.sleep(0)
    return tuple(found)


async def _present(
    services: Services, space: SpaceName
) -> AsyncGenerator[tuple[str, Epoch | None], None]:
    """Yield the epochs in use or compromised, by meeting and number."""
    after = ("", -1)
    while page := services.store.present_epochs(space, after, _PAGE):
        for sealed in page:
            place, epoch = _place(sealed)
            yield place[1], epoch
        after = (place[1], place[2])
        await asyncio.sleep(0)


def _place(sealed: SealedRow) -> tuple[tuple[str, str, int], Epoch | None]:
    """Return space, meeting and number of an epoch's row, and the epoch unless it is unreadable."""
    _kind, space, meeting, number = sealed.row.key.split("/")
    try:
        record = read_row(sealed.row)
    except InvalidInput:
        record = None
    return (space, meeting, int(number)), record if isinstance(record, Epoch) else None

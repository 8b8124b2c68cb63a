"""Which leaf of the log tells of a meeting's media cipher: by the journal, which knows where such
leaves stand, and by the log for what the journal does not know yet.
"""

import asyncio
from collections.abc import Collection

from kms.audit.leaf import Leaf, Outcome, decode_leaf
from kms.domain.ids import MeetingId, SpaceName
from kms.errors import StoreUnavailable
from kms.usecases.journal import TAIL
from kms.usecases.services import Services, meeting_path

_PAGE = 1000
_REPORT = b'{"action":"media.report"'
"""How the canonical form of such a leaf begins."""


async def newest_report(services: Services, space: SpaceName, meeting: MeetingId) -> int | None:
    """Return the leaf of the newest report about a meeting."""
    start = services.journal.indexed
    found = await _since(services, start, {meeting_path(space, meeting)})
    if found or not start:
        return max(found.values(), default=None)
    if (known := await _indexed(services, space, (meeting,))) is not None:
        return known.get(meeting)
    found = await _since(services, 0, {meeting_path(space, meeting)})
    return max(found.values(), default=None)


async def reports_among(
    services: Services, space: SpaceName, meetings: Collection[MeetingId]
) -> dict[MeetingId, int]:
    """Return the leaves of the newest reports about some meetings, those that are found at once:
    where the journal is far behind the log, some may be missing.
    """
    paths = {meeting_path(space, one): one for one in meetings}
    start = max(services.journal.indexed, services.store.tree_size() - TAIL)
    fresh = {paths[path]: seq for path, seq in (await _since(services, start, paths)).items()}
    older = [one for one in meetings if one not in fresh]
    return (await _indexed(services, space, older) or {}) | fresh


async def _since(services: Services, start: int, paths: Collection[str]) -> dict[str, int]:
    """Return the newest reports about these resources from a leaf on, read from the log."""
    found: dict[str, int] = {}
    while paths and (page := services.store.leaves(start, _PAGE)):
        for data in page:
            if data.startswith(_REPORT):
                leaf = decode_leaf(data)
                if leaf.resource in paths and _counts(leaf):
                    found[leaf.resource] = leaf.seq
        start += len(page)
        await asyncio.sleep(0)  # others have their turn between two pages
    return found


async def _indexed(
    services: Services, space: SpaceName, meetings: Collection[MeetingId]
) -> dict[MeetingId, int] | None:
    """Return the newest reports that the journal knows, None while it cannot tell."""
    if not services.journal.indexed:
        return None
    try:
        told = await asyncio.to_thread(_ask, services, space, meetings)
    except StoreUnavailable:
        return None
    found = {one: seq for one, seq in told.items() if _is_so(services, space, one, seq)}
    if len(found) < len(told):
        services.journal.distrust()
    return found


def _ask(
    services: Services, space: SpaceName, meetings: Collection[MeetingId]
) -> dict[MeetingId, int]:
    asked = ((one, services.journal.report_of(space, one)) for one in meetings)
    return {one: seq for one, seq in asked if seq is not None}


def _is_so(services: Services, space: SpaceName, meeting: MeetingId, seq: int) -> bool:
    leaf = decode_leaf(services.store.leaves(seq, 1)[0])
    return leaf.resource == meeting_path(space, meeting) and _counts(leaf)


def _counts(leaf: Leaf) -> bool:
    return leaf.action == "media.report" and leaf.outcome is Outcome.SUCCEEDED

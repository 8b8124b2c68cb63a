"""Looking for leaves of the log. The journal says where they stand; they are read from the log, and
one that is not what the journal said has it made anew.
"""

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from kms.audit.leaf import Leaf, decode_leaf
from kms.domain.models import EVERY_SPACE, Principal
from kms.errors import InvalidInput
from kms.policy.authorizer import Target
from kms.ports import LeafFilter
from kms.ports.journal import meeting_of
from kms.site_time import zone
from kms.usecases.finding import find_logged, is_ending
from kms.usecases.queries import MAX_PAGE
from kms.usecases.services import Call, Services, authorize

TAIL = 2000
"""So many of the newest leaves are looked at without the journal, which follows a moment later."""
_PAGE = 500
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
"""No leaf is older; a year of fewer than four digits would not compare with those of leaves."""
_FORM = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(frozen=True, slots=True)
class Page:
    """Leaves with their bytes, newest first. ``next`` goes into ``before`` to look further back
    (None: there is nothing older); a page that is not full may have one. If ``indexed`` is much
    less than ``tree_size``, the leaves between are not looked at yet.
    """

    leaves: tuple[Leaf, ...]
    bodies: tuple[bytes, ...]
    next: int | None
    indexed: int
    tree_size: int

    @property
    def whole(self) -> bool:
        """Whether every leaf up to the log's end was looked at."""
        return self.tree_size - self.indexed <= TAIL


def leaf_moment(text: str) -> str:
    """Return a time as leaves have it: of a date, or of a date and a time, which is of the present
    context (UTC, at the board the site's) unless it says otherwise; empty for empty. Raise
    InvalidInput.
    """
    if not text:
        return ""
    try:
        moment = datetime.fromisoformat(text)
        utc = (moment if moment.tzinfo else moment.replace(tzinfo=zone())).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(
            "a time is a date, or a date and a time", hint="such as 2026-11-22 or 2026-11-22T08:00Z"
        ) from error
    return max(utc, _EARLIEST).strftime(_FORM)


async def search_leaves(
    services: Services, call: Call, wanted: LeafFilter, before: int | None, limit: int
) -> Page:
    """Return the newest leaves of the site and of the caller's spaces that fit and are older than
    leaf ``before``; times in any form that ``leaf_moment`` takes, a meeting by the end of its id
    too.

    Raise Forbidden, InvalidInput, StoreUnavailable while the journal is made anew.
    """
    await authorize(services, call, Target(), "audit")
    limit = max(1, min(limit, MAX_PAGE))
    wanted = _within(_exact(await _whole(services, call, wanted)), call.principal)
    size, indexed = services.store.tree_size(), services.journal.indexed
    place = min(before if before is not None else size, size)
    fresh = await tail(services, wanted, indexed, place) if size - indexed <= TAIL else []
    if len(fresh) > limit:
        return _page(fresh[:limit], fresh[limit - 1][0].seq, indexed, size)
    older, following = await _indexed(services, wanted, min(place, indexed), limit - len(fresh))
    return _page(fresh + older, following, indexed, size)


Read = tuple[Leaf, bytes]
"""A leaf and its bytes."""


def _page(found: list[Read], following: int | None, indexed: int, size: int) -> Page:
    leaves, bodies = tuple(leaf for leaf, _ in found), tuple(data for _, data in found)
    return Page(leaves, bodies, following, indexed, size)


async def tail(services: Services, wanted: LeafFilter, start: int, end: int) -> list[Read]:
    """Return the leaves from ``start`` to ``end`` that fit, newest first, read from the log."""
    found: list[Read] = []
    while start < end:
        page = services.store.leaves(start, min(_PAGE, end - start))
        read = ((decode_leaf(data), data) for data in page)
        found += [one for one in read if wanted.fits(one[0])]
        start += len(page)
        await asyncio.sleep(0)  # others have their turn between two pages
    return found[::-1]


async def _indexed(
    services: Services, wanted: LeafFilter, before: int, limit: int
) -> tuple[list[Read], int | None]:
    """Return what the journal finds, read from the log, and where to look further back."""
    if not before:
        return [], None
    if limit <= 0:
        return [], before
    found = await asyncio.to_thread(services.journal.search, wanted, before, limit)
    read = [_leaf(services, number) for number in found.leaves]
    sound = [one for one in read if wanted.fits(one[0])]
    if len(sound) < len(read):
        services.journal.distrust()
    return sound, found.next


def _leaf(services: Services, number: int) -> Read:
    (data,) = services.store.leaves(number, 1)
    return decode_leaf(data), data


async def _whole(services: Services, call: Call, wanted: LeafFilter) -> LeafFilter:
    """Return the filter with the id of the meeting of which it has the end."""
    if not is_ending(wanted.meeting):
        return wanted
    found = await find_logged(services, call, wanted.meeting)
    if len(found) > 1:
        raise InvalidInput("several meetings have an id that ends so", hint="give the whole id")
    return replace(wanted, meeting=found[0][1]) if found else wanted


def _exact(wanted: LeafFilter) -> LeafFilter:
    """Return the filter with exact times, and with the meeting that its prefix names."""
    return replace(
        wanted,
        since=leaf_moment(wanted.since),
        until=leaf_moment(wanted.until),
        meeting=wanted.meeting or meeting_of(wanted.resource_prefix.rpartition("/")[0]),
    )


def _within(wanted: LeafFilter, principal: Principal) -> LeafFilter:
    """Return the filter for the site and the caller's spaces alone."""
    if EVERY_SPACE in principal.spaces:
        return wanted
    return replace(wanted, spaces=frozenset({"", *principal.spaces}))

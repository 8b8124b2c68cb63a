"""Finding a meeting by its id, or by the last characters of it, as pages and reports show ids."""

import asyncio
import re

from kms.domain.ids import MeetingId, SpaceName, parse_meeting
from kms.domain.models import EVERY_SPACE, Principal
from kms.errors import Forbidden, HsmUnavailable, InvalidInput, NotFound, Sealed
from kms.policy.authorizer import Target
from kms.usecases.services import Call, Services, authorize

MOST_FOUND = 20
"""Meetings that one ending finds at most, the newest."""
_ENDING = re.compile(r"[0-9a-f]{8}", re.ASCII)
_DOTS = " .…"

Place = tuple[SpaceName, MeetingId]
"""A meeting with its space."""


def parse_ending(text: str) -> str:
    """Return a meeting's id, or the last 8 characters of it without the dots that may stand before
    them; raise InvalidInput.
    """
    plain = text.strip(_DOTS).lower()
    if is_ending(plain):
        return plain
    try:
        return parse_meeting(plain)
    except InvalidInput as error:
        raise InvalidInput(
            "a meeting is named by its id or by the last 8 characters of it",
            hint="such as 06c3609f",
        ) from error


def is_ending(text: str) -> bool:
    """Whether this is the end of an id, as pages show it."""
    return bool(_ENDING.fullmatch(text.strip(_DOTS).lower()))


async def find_meetings(services: Services, call: Call, text: str) -> list[Place]:
    """Return the newest meetings whose ids end so, of the spaces whose meetings the caller may
    list; raise InvalidInput, StoreUnavailable while the journal is made anew.
    """
    found = await _ending_so(services, call.principal, text)
    return [one for one in found if await _may_list(services, call, one[0])]


async def find_logged(services: Services, call: Call, text: str) -> list[Place]:
    """Return the newest meetings of the caller's spaces whose ids end so, to whoever may search the
    log; raise Forbidden, InvalidInput, StoreUnavailable while the journal is made anew.
    """
    await authorize(services, call, Target(), "audit")
    return await _ending_so(services, call.principal, text)


async def _ending_so(services: Services, principal: Principal, text: str) -> list[Place]:
    spaces = None if EVERY_SPACE in principal.spaces else frozenset[str](principal.spaces)
    ask, ending = services.journal.meetings_ending, parse_ending(text)
    found = await asyncio.to_thread(ask, ending, MOST_FOUND, spaces)
    return [(SpaceName(space), MeetingId(meeting)) for space, meeting in found]


async def _may_list(services: Services, call: Call, space: SpaceName) -> bool:
    try:
        await authorize(services, call, Target(space=space), f"spaces/{space}")
    except (Forbidden, HsmUnavailable, NotFound, Sealed):
        return False
    return True

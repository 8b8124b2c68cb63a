"""A meeting's epochs on a page: the newest first, the one published ahead among them."""

from dataclasses import dataclass

from kms.domain.ids import MAX_EPOCH, MeetingId, SpaceName
from kms.domain.models import Epoch
from kms.usecases.minting import MeetingView
from kms.usecases.queries import list_epochs
from kms.web.links import href
from kms.web.visit import PAGE_ROWS, Visit


@dataclass(frozen=True, slots=True)
class History:
    """A page of epochs, newest first; ``older`` and ``newest`` are links, empty if not needed.
    ``used``: the latest that has been in use.
    """

    epochs: tuple[Epoch, ...]
    older: str
    newest: str
    used: int


async def history_of(visit: Visit, view: MeetingView, here: str) -> History:
    """Return a page of a meeting's epochs, of those before the query's ``before``, with links to
    others on the page ``here``; raise as ``list_epochs``, and InvalidInput.
    """
    space, meeting = view.meeting.space, view.meeting.meeting
    end = min(visit.number("before", MAX_EPOCH), view.meeting.last_epoch + 1)
    start = max(0, end - PAGE_ROWS)
    epochs = await _between(visit, space, meeting, start, end)
    return History(
        tuple(reversed(epochs)),
        href(here, before=start) if start else "",
        here if end <= view.meeting.last_epoch else "",
        view.meeting.current_epoch,
    )


async def _between(
    visit: Visit, space: SpaceName, meeting: MeetingId, start: int, end: int
) -> list[Epoch]:
    if end <= start:
        return []
    call = visit.call("epoch.list")
    found = await list_epochs(visit.services, call, space, meeting, start - 1, end - start)
    return [one for one in found if one.epoch < end]

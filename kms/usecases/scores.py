"""A meeting's media cipher as its server reports it, and the meeting's self-check score."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace

from kms.audit.leaf import Outcome, Phase
from kms.domain.coverage import Lack
from kms.domain.ids import MeetingId, SpaceName
from kms.domain.models import Epoch, Meeting
from kms.domain.score import Cipher, Facts, Part, Reason, Score, score
from kms.domain.states import MeetingState
from kms.policy.authorizer import Target
from kms.statements.canonical import make_row
from kms.usecases.coverage import covering
from kms.usecases.escrow import live_generations
from kms.usecases.grants import flagged_grants
from kms.usecases.media_reports import newest_report, reports_among
from kms.usecases.meetings import permitted
from kms.usecases.queries import MAX_PAGE
from kms.usecases.rotation.outlook import Outlook, outlook
from kms.usecases.rotation.status import is_overdue, open_outlooks
from kms.usecases.rotation.vaults import vault_due, vaults_of
from kms.usecases.services import (
    Call,
    Services,
    authorize,
    lock_name,
    meeting_path,
    store_rows,
    uninterrupted,
)


@uninterrupted
async def report_media(
    services: Services, call: Call, space: SpaceName, meeting: MeetingId, cipher: Cipher
) -> Meeting:
    """Remember which cipher a meeting's media were negotiated to; the same again is no news.

    Raise NotFound, Forbidden, StateNotAllowed, HsmUnavailable, StoreUnavailable.
    """
    async with services.locks.of(lock_name(space, meeting)):
        record, version = await permitted(services, call, space, meeting)
        if record.media == cipher:
            return record
        reported = replace(record, media=cipher.value)
        row = make_row(reported, version + 1)
        sealed = await services.workers.space(space).seal_rows([row])
        leaf = call.leaf(
            space,
            meeting_path(space, meeting),
            Phase.EVENT,
            Outcome.SUCCEEDED,
            rows={row.key: row.version},
            details={"cipher": cipher.value},
        )
        await store_rows(services, sealed, (), leaf)
        return reported


async def score_of(
    services: Services, call: Call, space: SpaceName, meeting: MeetingId
) -> tuple[int, Score]:
    """Return a meeting's present or last epoch and its score, from what is seen now.

    Raise NotFound, Forbidden, StateNotAllowed, IntegrityFailure, HsmUnavailable.
    """
    record, _ = await permitted(services, call, space, meeting)
    epoch, _ = await services.cache.epoch(space, meeting, record.current_epoch)
    seen = await outlook(services, space, meeting)
    overdue = seen is not None and is_overdue(seen, services.seconds())
    reported = await newest_report(services, space, meeting) if record.media else None
    known = await known_of(services, space)
    return epoch.epoch, _score(services, record, epoch, reported, known, overdue=overdue)


@dataclass(frozen=True, slots=True)
class MeetingScore:
    """An open meeting with its present epoch, its score, and the gravest reason against it."""

    space: SpaceName
    meeting: MeetingId
    epoch: int
    overdue: bool
    score: Score
    record: Meeting

    @property
    def worst(self) -> Reason | None:
        """The gravest of what does not hold: not shown to be encrypted, keys, algorithm."""
        against = [one for one in self.score.reasons if not one.holds]
        return min(against, key=lambda one: _GRAVEST.index(one.part), default=None)


_GRAVEST = (Part.D, Part.K, Part.A)


async def scores_page(
    services: Services, call: Call, space: SpaceName, after: str, limit: int
) -> list[MeetingScore]:
    """Return a page of a space's open meetings by id, after one (empty: from the first), with their
    scores. Raise NotFound, Forbidden, Sealed, IntegrityFailure, HsmUnavailable.
    """
    await authorize(services, call, Target(space=space), f"spaces/{space}", "score.read")
    await services.cache.space(space)
    async with aclosing(open_outlooks(services, space, after)) as meetings:
        seen = [one async for one in _first(meetings, min(limit, MAX_PAGE))]
    told = [one.meeting.meeting for one in seen if one.meeting.media]
    reports = await reports_among(services, space, told)
    known = await known_of(services, space)
    return [scored(services, one, reports.get(one.meeting.meeting), known) for one in seen]


async def _first(meetings: AsyncIterator[Outlook], limit: int) -> AsyncIterator[Outlook]:
    left = limit
    async for one in meetings:
        if not left:
            return
        left -= 1
        yield one


def scored(services: Services, seen: Outlook, reported: int | None, known: "Known") -> MeetingScore:
    """Return an open meeting's score; raise IntegrityFailure."""
    overdue = is_overdue(seen, services.seconds())
    found = _score(services, seen.meeting, seen.present, reported, known, overdue=overdue)
    place = seen.meeting.space, seen.meeting.meeting
    return MeetingScore(*place, seen.present.epoch, overdue, found, seen.meeting)


@dataclass(frozen=True, slots=True)
class Known:
    """What all meetings of a space have in common: the generations that can recover keys, grants
    that people should look at, the newest vault key and whether its successor is overdue.
    """

    live: frozenset[int]
    flagged: tuple[str, ...]
    vault: int
    vault_overdue: bool


async def known_of(services: Services, space: SpaceName) -> Known:
    """Look at what a space's meetings have in common; raise IntegrityFailure, HsmUnavailable."""
    await services.escrow_log.catch_up(services.store)
    _, _, live = live_generations(services)
    vaults = [one for one in await vaults_of(services, space) if not one.revoked]
    due = await vault_due(services, space, vaults[-1]) if vaults else 0
    flagged = await flagged_grants(services, space)
    return Known(
        live=live,
        flagged=tuple(view.grant.grant for view in flagged),
        vault=vaults[-1].version if vaults else 0,
        vault_overdue=bool(due) and services.seconds() >= due,
    )


def _score(
    services: Services,
    record: Meeting,
    epoch: Epoch,
    reported: int | None,
    known: Known,
    *,
    overdue: bool,
) -> Score:
    covered = covering(services.store, epoch, known.live)
    return score(
        Facts(
            cipher=record.media,
            reported=reported,
            epoch=epoch.epoch,
            state=epoch.state,
            closed=record.state is MeetingState.CLOSED,
            overdue=overdue,
            escrow=() if isinstance(covered, Lack) else (covered,),
            covered=not isinstance(covered, Lack),
            flagged=known.flagged,
            vault=known.vault,
            vault_overdue=known.vault_overdue,
        )
    )

"""A meeting's media cipher as its server reports it, and the meeting's self-check score."""

import asyncio
from dataclasses import replace

from kms.audit.leaf import Outcome, Phase, decode_leaf
from kms.domain.ids import MeetingId, SpaceName
from kms.domain.models import Epoch, Meeting
from kms.domain.score import Cipher, Facts, Score, score
from kms.domain.states import MeetingState
from kms.statements.canonical import make_row
from kms.usecases.coverage import Lack, covering
from kms.usecases.escrow import live_generations
from kms.usecases.grants import flagged_grants
from kms.usecases.meetings import permitted
from kms.usecases.rotation.outlook import outlook
from kms.usecases.rotation.status import is_overdue
from kms.usecases.rotation.vaults import vault_due, vaults_of
from kms.usecases.services import (
    Call,
    Services,
    lock_name,
    meeting_path,
    store_rows,
    uninterrupted,
)

_PAGE = 1000


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
    covered = _covered(services, epoch)
    vaults = [one for one in await vaults_of(services, space) if not one.revoked]
    due = await vault_due(services, space, vaults[-1]) if vaults else 0
    flagged = await flagged_grants(services, space)
    found = score(
        Facts(
            cipher=record.media,
            reported=await _reported(services, record) if record.media else None,
            epoch=epoch.epoch,
            state=epoch.state,
            closed=record.state is MeetingState.CLOSED,
            overdue=seen is not None and is_overdue(seen, services.seconds()),
            escrow=() if isinstance(covered, Lack) else (covered,),
            covered=not isinstance(covered, Lack),
            flagged=tuple(view.grant.grant for view in flagged),
            vault=vaults[-1].version if vaults else 0,
            vault_overdue=bool(due) and services.seconds() >= due,
        )
    )
    return epoch.epoch, found


def _covered(services: Services, epoch: Epoch) -> int | Lack:
    _, _, live = live_generations(services)
    return covering(services.store, epoch, live)


async def _reported(services: Services, meeting: Meeting) -> int | None:
    """Return the leaf of the newest report about a meeting, from the log's end back to its opening;
    others have their turns.
    """
    mark = f'"resource":"{meeting_path(meeting.space, meeting.meeting)}"'.encode()
    end = services.store.tree_size()
    while end > 0:
        start = max(0, end - _PAGE)
        for data in reversed(services.store.leaves(start, end - start)):
            if mark in data:
                leaf = decode_leaf(data)
                if leaf.action == "media.report" and leaf.outcome is Outcome.SUCCEEDED:
                    return leaf.seq
        end = start
        await asyncio.sleep(0)
    return None

"""What an approved destruction does: every envelope of the keys is erased, vault's and escrow's
included. Holds, retention and states are checked here; the executor commits.
"""

from dataclasses import replace

from kms.domain.approvals import EpochTarget, MeetingTarget
from kms.domain.ids import SpaceName
from kms.domain.states import KeyState, MeetingState
from kms.errors import InvalidInput, Retained, StateNotAllowed
from kms.ports import DropEnvelopes
from kms.statements.request import CheckedRequest
from kms.usecases.approvals.effect import Effect
from kms.usecases.lifecycle.cascade import end_of, living_epochs
from kms.usecases.lifecycle.holds import check_no_hold
from kms.usecases.policies import policy_in_force
from kms.usecases.services import Call, Services, meeting_path
from kms.wire.base import rfc3339

_OVER = frozenset({KeyState.DEACTIVATED, KeyState.COMPROMISED})


async def prepare_epoch(services: Services, call: Call, checked: CheckedRequest) -> Effect:
    """Return the destruction of one epoch's key. Raise NotFound, StateNotAllowed while it may be
    used, OnHold, Retained, IntegrityFailure.
    """
    del call
    target, space = checked.parameters, SpaceName(checked.wanted.space)
    if not isinstance(target, EpochTarget):
        raise InvalidInput("the request names no epoch")
    meeting, _ = await services.cache.meeting(space, target.meeting)
    epoch, version = await services.cache.epoch(space, target.meeting, target.epoch)
    in_use = meeting.state is MeetingState.OPEN and meeting.current_epoch == epoch.epoch
    if epoch.state not in _OVER or in_use:
        raise StateNotAllowed(
            "the key is {state}: only one that is deactivated or compromised, and no longer the "
            "present one of an open meeting, is destroyed",
            about={"state": epoch.state},
        )
    await check_no_hold(services, space, target.meeting)
    ended = meeting.closed or await end_of(services, meeting, epoch)
    await _check_retention(services, space, ended)
    return Effect(
        meeting_path(space, target.meeting, epoch.epoch),
        ((epoch.moved(KeyState.DESTROYED), version + 1),),
        (DropEnvelopes(space, target.meeting, epoch.epoch),),
        {"epoch": epoch.epoch},
    )


async def prepare_meeting(services: Services, call: Call, checked: CheckedRequest) -> Effect:
    """Return the destruction of every key of a closed meeting. Raise NotFound, StateNotAllowed
    unless it is closed, OnHold, Retained, IntegrityFailure.
    """
    del call
    target, space = checked.parameters, SpaceName(checked.wanted.space)
    if not isinstance(target, MeetingTarget):
        raise InvalidInput("the request names no meeting")
    meeting, version = await services.cache.meeting(space, target.meeting)
    if meeting.state is not MeetingState.CLOSED:
        raise StateNotAllowed(
            "the meeting is {state}: only a closed one is destroyed",
            hint="close the meeting first",
            about={"state": meeting.state},
        )
    await check_no_hold(services, space, target.meeting)
    await _check_retention(services, space, meeting.closed)
    living = await living_epochs(services, meeting)
    gone = [(epoch.moved(KeyState.DESTROYED), at + 1) for epoch, at in living]
    return Effect(
        meeting_path(space, target.meeting),
        ((replace(meeting, state=MeetingState.DESTROYED), version + 1), *gone),
        tuple(DropEnvelopes(space, target.meeting, epoch.epoch) for epoch, _ in living),
        {"epochs": len(living)},
    )


async def _check_retention(services: Services, space: SpaceName, ended: int) -> None:
    """Raise Retained while keys that ended then have to be kept (seconds since 1970)."""
    policy, _ = await policy_in_force(services, space)
    until = ended + policy.retention_seconds
    if services.seconds() < until:
        raise Retained(
            "the space's policy keeps it until {time}",
            hint="ask again then, or have the policy changed by an approved request",
            about={"time": rfc3339(until)},
        )

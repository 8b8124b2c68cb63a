"""From what the use cases return to what the wire carries."""

import base64
from collections.abc import Container

import msgspec

from kms.domain.coverage import Gap
from kms.domain.models import Epoch, Meeting, Recipient, Roster, RotationReason, Space
from kms.domain.states import KeyState
from kms.ports import TokenInfo
from kms.usecases.escrow import EscrowStatus
from kms.usecases.minting import MeetingView
from kms.usecases.rotation.status import Rotation
from kms.wire import replies
from kms.wire.base import rfc3339


def space(record: Space) -> replies.SpaceOut:
    """Show a space."""
    return replies.SpaceOut(
        space=record.space,
        release_class=record.release_class,
        token=record.token,
        created=rfc3339(record.created),
        retired=rfc3339(record.retired) if record.retired else None,
        destroyed=rfc3339(record.destroyed) if record.destroyed else None,
        sealed=rfc3339(record.sealed) if record.sealed else None,
    )


def recipient(record: Recipient) -> replies.RecipientOut:
    """Show a registered recipient."""
    return replies.RecipientOut(
        space=record.space,
        recipient=record.recipient,
        kind=record.kind,
        name=record.name,
        version=record.version,
        spki=record.spki,
        registered=rfc3339(record.registered),
    )


def roster(record: Roster) -> replies.RosterOut:
    """Show a roster."""
    return replies.RosterOut(
        version=record.version,
        recipients=tuple(record.recipients),
        statement=record.statement or None,
    )


def epoch(record: Epoch) -> replies.EpochOut:
    """Show an epoch."""
    return replies.EpochOut(
        epoch=record.epoch,
        state=record.state,
        reason=record.reason,
        activates=rfc3339(record.activates),
        retires=rfc3339(record.retires),
        roster_version=record.roster_version,
        manifest=record.manifest,
        addenda=record.addenda,
    )


def summary(record: Meeting) -> replies.MeetingSummary:
    """Show a meeting in a list."""
    return replies.MeetingSummary(
        space=record.space,
        meeting=record.meeting,
        state=record.state,
        current_epoch=record.current_epoch,
        next_epoch=record.next_epoch,
        last_epoch=record.last_epoch,
        roster_version=record.roster_version,
        created=rfc3339(record.created),
        host=record.host or None,
        partner=record.partner or None,
        media=record.media or None,
    )


def meeting(view: MeetingView) -> replies.MeetingOut:
    """Show a meeting whole."""
    record = view.meeting
    return replies.MeetingOut(
        space=record.space,
        meeting=record.meeting,
        state=record.state,
        current_epoch=record.current_epoch,
        next_epoch=record.next_epoch,
        last_epoch=record.last_epoch,
        roster_version=record.roster_version,
        created=rfc3339(record.created),
        host=record.host or None,
        partner=record.partner or None,
        media=record.media or None,
        roster=roster(view.roster),
        current=epoch(view.current) if view.current else None,
        next=epoch(view.next) if view.next else None,
    )


def rotation(found: Rotation, *, hidden: bool = False) -> replies.RotationOut:
    """Show an open meeting's rotation; ``hidden``: times and head count alone."""
    if hidden:
        return _hidden_rotation(found)
    return replies.RotationOut(
        space=found.space,
        meeting=found.meeting,
        epoch=found.epoch,
        state=KeyState(found.state),
        reason=RotationReason(found.reason),
        activated=rfc3339(found.activated),
        due=None if found.due is None else rfc3339(found.due),
        why=None if found.why is None else RotationReason(found.why),
        retires=rfc3339(found.retires),
        overdue=found.overdue,
        uses=found.uses,
        maximum_uses=found.maximum_uses,
        next_epoch=found.next_epoch,
        next_activates=None if found.next_activates is None else rfc3339(found.next_activates),
        people=found.people,
    )


def _hidden_rotation(found: Rotation) -> replies.RotationOut:
    return replies.RotationOut(
        space=found.space,
        meeting=None,
        epoch=None,
        state=None,
        reason=None,
        activated=rfc3339(found.activated),
        due=None if found.due is None else rfc3339(found.due),
        retires=rfc3339(found.retires),
        overdue=found.overdue,
        uses=0,
        maximum_uses=0,
        next_activates=None if found.next_activates is None else rfc3339(found.next_activates),
        people=found.people,
    )


def escrow(found: EscrowStatus, hidden: Container[Gap] = ()) -> replies.EscrowOut:
    """Show the status of escrow; of the gaps ``hidden`` not whose they are."""
    coverage = found.coverage
    return replies.EscrowOut(
        attention=found.attention,
        epochs=coverage.epochs.total(),
        covered=coverage.covered.total(),
        gap_count=coverage.gaps,
        gaps=tuple(
            replies.GapOut(
                space=one.space,
                meeting=None if one in hidden else one.meeting,
                epoch=None if one in hidden else one.epoch,
                reason=one.reason.value,
            )
            for one in coverage.shown
        ),
        generations=tuple(
            replies.GenerationOut(
                generation=one.generation,
                made=one.made,
                destroyed=one.destroyed or None,
                blob=one.generation in found.blobs,
                epochs=coverage.generations[one.generation],
            )
            for one in found.generations
        ),
        spaces=tuple(
            replies.SpaceCoverage(
                space=name, epochs=coverage.epochs[name], covered=coverage.covered[name]
            )
            for name in sorted(coverage.epochs)
        ),
        unknown=found.unknown,
        last_drill=found.drilled or None,
        holders=tuple(
            replies.HolderOut(person=one.person, due=rfc3339(one.due), overdue=one.overdue)
            for one in found.holders
        ),
        obligations=tuple(
            replies.ObligationOut(ceremony=one.ceremony, generation=one.generation, since=one.since)
            for one in found.obligations
        ),
    )


def token(info: TokenInfo) -> replies.TokenOut:
    """Show what a token says of itself."""
    return replies.TokenOut(
        token=info.token,
        space=info.space,
        manufacturer=info.manufacturer,
        model=info.model,
        serial=info.serial,
        module_version=info.module_version,
        worker_pid=info.worker_pid,
        mechanisms=tuple(info.mechanisms),
        objects=tuple(msgspec.to_builtins(entry) for entry in info.objects),
    )


def b64(data: bytes) -> str:
    """Return standard base64 (RFC 4648, section 4)."""
    return base64.b64encode(data).decode("ascii")

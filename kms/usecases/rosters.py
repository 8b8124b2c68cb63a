"""From what a caller wants on the roster to a roster record; what the worker checks again."""

from dataclasses import dataclass

from kms.domain.ids import MeetingId, RecipientId, SpaceName
from kms.domain.models import RecipientKind, ReleaseClass, Roster, RotationReason, Space
from kms.errors import InvalidInput, NotFound, PreconditionFailed, VerificationFailed
from kms.statements.invitation import host_id
from kms.statements.roster import device_id, peek_roster
from kms.usecases.services import Services

MAX_RECIPIENTS = 1000


@dataclass(frozen=True, slots=True)
class WantedRoster:
    """A signed statement in a ``roster`` space, a list of recipients in a ``trusted`` one."""

    statement: str = ""
    recipients: tuple[RecipientId, ...] = ()


async def make_roster(
    services: Services,
    space: Space,
    meeting: MeetingId,
    wanted: WantedRoster,
    version: int,
    host: str = "",
) -> Roster:
    """Return the roster record of ``version``, for a meeting with that ``host``; raise
    InvalidInput, PreconditionFailed.
    """
    if space.release_class is ReleaseClass.ROSTER:
        recipients = _devices(space.space, meeting, wanted, version, host)
    else:
        recipients = await _registered(services, space.space, wanted)
    if not recipients:
        raise InvalidInput("a roster names at least one recipient")
    if len(recipients) > MAX_RECIPIENTS:
        raise InvalidInput(f"a roster names at most {MAX_RECIPIENTS} recipients")
    if len(set(recipients)) != len(recipients):
        raise InvalidInput("a roster names a recipient twice")
    return Roster(space.space, meeting, version, recipients, wanted.statement)


def host_of(services: Services, space: Space, wanted: WantedRoster) -> str:
    """Return the host that a new meeting's first roster names, empty if it is an ordinary one.

    Raise InvalidInput, also where nobody could ever assert to be there.
    """
    if space.release_class is not ReleaseClass.ROSTER or not wanted.statement:
        return ""
    try:
        host = host_id(peek_roster(wanted.statement).host)
    except VerificationFailed as error:
        raise InvalidInput(error.message) from error
    if host and services.assertions is None:
        raise InvalidInput(
            "nobody could assert to be at a device, so no meeting can be confidential",
            hint="the section [assertion] of the configuration names who can",
        )
    return host


def _devices(
    space: SpaceName, meeting: MeetingId, wanted: WantedRoster, version: int, host: str
) -> tuple[RecipientId, ...]:
    if wanted.recipients or not wanted.statement:
        raise InvalidInput("this space wants a signed roster statement")
    try:
        statement = peek_roster(wanted.statement)
        devices = tuple(device_id(device) for device in statement.devices)
        named = host_id(statement.host)
    except VerificationFailed as error:
        raise InvalidInput(error.message) from error
    if (statement.space, statement.meeting) != (space, meeting):
        raise InvalidInput("the roster statement is about another meeting")
    if named != host:
        raise InvalidInput("a meeting's host never changes: every roster names the first one's")
    if statement.version != version:
        raise PreconditionFailed(
            f"the next roster is version {version}, the statement says {statement.version}",
            hint="read the roster and sign the next version",
        )
    return devices


async def _registered(
    services: Services, space: SpaceName, wanted: WantedRoster
) -> tuple[RecipientId, ...]:
    if wanted.statement:
        raise InvalidInput("this space wants a list of registered recipients")
    for recipient in wanted.recipients:
        try:
            record = await services.cache.recipient(space, recipient)
        except NotFound as error:
            raise InvalidInput(f"{recipient} is not registered in this space") from error
        if record.kind not in (RecipientKind.SERVER, RecipientKind.RECORDER):
            raise InvalidInput(f"{recipient} cannot be on a roster")
    return wanted.recipients


def reason_of(old: Roster, new: Roster) -> RotationReason:
    """Return why a change of roster rotates: whoever leaves weighs more than who joins."""
    before, after = set(old.recipients), set(new.recipients)
    if before - after:
        return RotationReason.LEAVE
    return RotationReason.JOIN if after - before else RotationReason.MANUAL

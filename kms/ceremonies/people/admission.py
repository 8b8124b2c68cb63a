"""Who has approved a ceremony: tells what counts and what is lacking, and lets it begin, or go
on, with a quorum alone. Every approval that does not count is logged.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kms.audit.leaf import Outcome
from kms.ceremonies.ceremony import Ceremony, Needs
from kms.ceremonies.people.quorum import Missing, check_approval, check_quorum, missing
from kms.ceremonies.ports import Entry
from kms.ceremonies.record.entries import Refused, Started
from kms.ceremonies.record.folder import CEREMONIES, Folder
from kms.ceremonies.record.journal import Journal
from kms.ceremonies.room import Brief, Room
from kms.domain.people import Register
from kms.errors import ConclaveError, QuorumNotMet, VerificationFailed
from kms.statements.approval import ApprovalRequest
from kms.statements.canonical import digest


@dataclass(frozen=True, slots=True)
class Approvals:
    """Approvals as they stand: ``accepted`` maps people to their JWS, ``refused`` to why theirs
    does not count; ``lacks`` is empty, and so false, once the quorum is met.
    """

    accepted: Mapping[str, str]
    refused: Mapping[str, str]
    lacks: Missing


@dataclass(frozen=True, slots=True)
class Call:
    """A ceremony that people are asked to approve."""

    folder: Folder
    ceremony: Ceremony
    brief: Brief
    request: ApprovalRequest


def gather(call: Call, now: int) -> Approvals:
    """Return the approvals handed in so far."""
    accepted: dict[str, str] = {}
    refused: dict[str, str] = {}
    for person, token in call.folder.approvals().items():
        try:
            check_approval(call.brief.register, call.request, person, token, now)
            accepted[person] = token
        except ConclaveError as error:
            refused[person] = error.message
    lacks = missing(call.brief.register, call.request, accepted, call.ceremony.needs)
    return Approvals(accepted, refused, lacks)


def admit(call: Call, room: Room, journal: Journal) -> None:
    """Raise QuorumNotMet or VerificationFailed, logged, unless a quorum has approved."""
    now, started = max(room.now(), journal.progress.time), journal.progress.started
    try:
        tokens = started.approvals if started else _count(call, room, journal, now)
        # Once begun, a forward section has to be ended, however late.
        at = started.time if started and journal.progress.forward else now
        check_admission(call.brief.register, call.request, tokens, call.ceremony.needs, at)
    except (QuorumNotMet, VerificationFailed) as error:
        _log_refusal(call, room, {"code": error.code, "reason": error.message})
        raise
    if started is None:
        journal.append(Started(time=now, approvals=dict(tokens)))


def check_admission(
    register: Register,
    request: ApprovalRequest,
    tokens: Mapping[str, str],
    needs: Needs,
    at: int,
) -> None:
    """Raise QuorumNotMet or VerificationFailed unless these approvals let it go on at ``at``."""
    _check_expiry(request, at)
    check_quorum(register, request, tokens, needs, at)


def _check_expiry(request: ApprovalRequest, at: int) -> None:
    if at >= request.expires:
        raise QuorumNotMet(
            "the request for approval has expired", hint="make a plan with another id"
        )


def _count(call: Call, room: Room, journal: Journal, now: int) -> Mapping[str, str]:
    """Return the approvals that hold; log each of the others, once."""
    _check_expiry(call.request, now)
    approvals, tokens = gather(call, now), call.folder.approvals()
    told = {(one.person, one.approval) for one in journal.entries() if isinstance(one, Refused)}
    for person, reason in approvals.refused.items():
        approval = digest(tokens[person].encode())
        if (person, approval) not in told:
            named = {"person": person, "approval": approval, "reason": reason}
            _log_refusal(call, room, named)
            journal.append(Refused(time=now, person=person, approval=approval, reason=reason))
    return approvals.accepted


def _log_refusal(call: Call, room: Room, details: dict[str, Any]) -> None:
    name = call.request.ceremony
    told = {"ceremony": name, **details}
    resource = f"{CEREMONIES}/{name}"
    room.records.write(Entry("ceremony.refused", "", resource, told, outcome=Outcome.REFUSED))

"""Whose approval a request waits for, and why somebody's would not count."""

from contextlib import suppress
from dataclasses import dataclass, replace

from kms.domain.approvals import Standing
from kms.domain.asked import missing_in_words, summary_of
from kms.domain.models import Role
from kms.domain.people import Person, Register
from kms.errors import (
    AlreadyExists,
    ConclaveError,
    IntegrityFailure,
    NotFound,
    StateNotAllowed,
    Unavailable,
    VerificationFailed,
)
from kms.statements.request import OperationRequest, check_voter
from kms.usecases.approvals.views import RequestView, approval_rules, read_request
from kms.usecases.watch.state import Waiting
from kms.web.visit import PAGE_ROWS, Visit


@dataclass(frozen=True, slots=True)
class Row:
    """A request in the list; ``mine``: it waits for this person's approval."""

    view: RequestView
    summary: str
    missing: str
    mine: bool


async def register(visit: Visit) -> Register:
    """Return the register of people in force."""
    present, _rules = await approval_rules(visit.services, visit.call("approval.rules"), "", "")
    return present.register


def row(visit: Visit, known: Register, view: RequestView) -> Row:
    """Return a request as this person sees it in the list."""
    mine = visit.principal.name in awaited(known, view, visit.services.seconds())
    return Row(view, summary_of(view.wanted.operation), lacking(view), mine)


async def count_mine(visit: Visit) -> int:
    """Return how many requests wait for this person's approval: of those that the watcher saw last,
    a page at most.
    """
    if Role.OFFICER not in visit.principal.roles:
        return 0
    known, services = await register(visit), visit.services
    seen = [one for one in services.watched.facts.waiting if _reached(visit, one)][:PAGE_ROWS]
    found = 0
    for one in seen:
        with suppress(IntegrityFailure, NotFound, Unavailable):  # the list of them tells of it
            view = await read_request(services, visit.call("approval.read"), one.request)
            found += row(visit, known, view).mine
    return found


def _reached(visit: Visit, one: Waiting) -> bool:
    return not one.space or visit.principal.reaches(one.space)


def lacking(view: RequestView) -> str:
    """Return what a request still lacks in words; empty if nothing does."""
    if not view.missing and not view.lacks_credential:
        return ""
    return missing_in_words(view.missing, lacks_credential=view.lacks_credential)


def awaited(known: Register, view: RequestView, now: int) -> tuple[str, ...]:
    """Return those whose approval a request still lacks, any of whom can give it."""
    if view.standing is not Standing.PENDING or view.ready:
        return ()
    lacked = replace(view.wanted, quorum=view.missing or view.wanted.quorum)
    others = [one for one in known.people if one.in_office(now) and one.name not in view.people]
    return tuple(one.name for one in others if _counts(lacked, one))


def _counts(wanted: OperationRequest, person: Person) -> bool:
    try:
        check_voter(wanted, person)
    except VerificationFailed:
        return False
    return True


def hindrance(visit: Visit, known: Register, view: RequestView) -> ConclaveError | None:
    """Return why this person cannot approve a request; None if nothing stands against it."""
    try:
        _check_can_sign(visit, known, view)
    except (AlreadyExists, NotFound, StateNotAllowed, VerificationFailed) as error:
        return error
    return None


def _check_can_sign(visit: Visit, known: Register, view: RequestView) -> None:
    name = visit.principal.name
    if view.standing is not Standing.PENDING:
        raise StateNotAllowed("the request can no longer be approved")
    if name in view.people:
        raise AlreadyExists("you have approved this request")
    check_voter(view.wanted, known.person(name))

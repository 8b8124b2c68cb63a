"""Whose approval a request waits for, and why somebody's would not count."""

from dataclasses import dataclass

from kms.domain.approvals import Standing
from kms.domain.asked import missing_in_words, summary_of
from kms.domain.models import Role
from kms.domain.people import Register
from kms.errors import (
    AlreadyExists,
    ConclaveError,
    NotFound,
    StateNotAllowed,
    VerificationFailed,
)
from kms.statements.request import check_voter
from kms.usecases.approvals.views import RequestView, approval_rules
from kms.web.visit import Visit


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
    missing = lacking(view)
    mine = Role.OFFICER in visit.principal.roles and not view.ready
    mine = mine and hindrance(visit, known, view) is None
    return Row(view, summary_of(view.wanted.operation), missing, mine)


def lacking(view: RequestView) -> str:
    """Return what a request still lacks in words; empty if nothing does."""
    if not view.missing and not view.lacks_credential:
        return ""
    return missing_in_words(view.missing, lacks_credential=view.lacks_credential)


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
        raise AlreadyExists("this person has approved the request before")
    check_voter(view.wanted, known.person(name))

"""One answer for everything that is refused to somebody unknown; the log tells the reason."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from kms.audit.leaf import Outcome
from kms.domain.addresses import neighbourhood
from kms.domain.text import visible
from kms.errors import (
    AlreadyExists,
    InvalidInput,
    NotFound,
    StateNotAllowed,
    TooManyAttempts,
    Unauthenticated,
    VerificationFailed,
)
from kms.ports import Unit
from kms.usecases.passkeys.attempts import WAIT_SECONDS
from kms.usecases.passkeys.people import board_of
from kms.usecases.passkeys.register import board_leaf
from kms.usecases.services import Call, Services, log_refusal

_LOG = logging.getLogger(__name__)
_MOST_REASON = 200
_TOO_MANY = "too many attempts were refused"
_WAIT = (
    "a passkey that is enrolled signs in all the same; everything else waits a quarter of an hour"
)


@dataclass(slots=True)
class Attempt:
    """Who seems to try, as far as it is known when it is refused. ``session``: the person whose
    session asks, empty if none does; refusals count as that person's then, too.
    """

    address: str
    person: str = ""
    credential: str = ""
    session: str = ""

    @property
    def auth(self) -> str:
        """How the caller claims to be recognised."""
        return f"passkey:{self.credential}" if self.credential else "board:none"

    @property
    def subjects(self) -> list[str]:
        """Whose refusals add up."""
        person = [f"person {self.session}"] if self.session else []
        return [f"address {neighbourhood(self.address)}", *person]


@asynccontextmanager
async def attempts(services: Services, attempt: Attempt, answer: str) -> AsyncIterator[None]:
    """Turn every refusal within into Unauthenticated with that one answer, after it stands in the
    log; into TooManyAttempts, after a while, if there were too many before. What is not refused
    within always goes on.
    """
    try:
        yield
    except (InvalidInput, NotFound, Unauthenticated, VerificationFailed) as error:
        if services.attempts.is_closed(*attempt.subjects):
            await services.attempts.pause(WAIT_SECONDS)
            raise TooManyAttempts(_TOO_MANY, hint=_WAIT) from error
        await _note(services, attempt, error.message)
        raise Unauthenticated(answer) from error
    services.attempts.forget(*attempt.subjects)


@asynccontextmanager
async def refused_statements(services: Services, call: Call, resource: str) -> AsyncIterator[None]:
    """Write every refusal of a person's statement to the log, before its bearer hears of it."""
    try:
        yield
    except (AlreadyExists, NotFound, StateNotAllowed, VerificationFailed) as error:
        await log_refusal(services, call, "", resource, error)
        raise


async def _note(services: Services, attempt: Attempt, reason: str) -> None:
    most = board_of(services).most_failures
    closed = services.attempts.refuse(most, *attempt.subjects)
    _LOG.warning("an attempt at the board was refused", extra={"closed": closed})
    if not services.attempts.may_log():
        return
    details = {
        "code": Unauthenticated.code,
        "reason": visible(reason)[:_MOST_REASON],
        "address": attempt.address,
        "closed": closed,
    }
    leaf = board_leaf("session.refused", attempt.person, attempt.auth, details, Outcome.REFUSED)
    await services.store.commit(Unit(leaves=(leaf,)))

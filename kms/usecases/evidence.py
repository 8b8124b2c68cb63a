"""What an auditor takes away beside the log: manifests, executed requests with approvals and
certificates, and the registers of people under which they were given.

All of it is signed and the log names its digests, so stored rows are given without a look at
their MACs: whoever verifies checks more than that, and evidence is there when a token is not, as
of a sealed space.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from kms.domain.approvals import Request, RequestState
from kms.domain.ids import MeetingId, SpaceName
from kms.domain.models import Epoch
from kms.domain.rows import SealedRow
from kms.errors import (
    ConfigurationError,
    Forbidden,
    HsmUnavailable,
    IntegrityFailure,
    InvalidInput,
    NotFound,
    Sealed,
)
from kms.policy.authorizer import Target
from kms.ports import Store
from kms.statements import archive
from kms.statements.canonical import read_row
from kms.usecases.services import Call, Services, authorize, log_refusal

_R = TypeVar("_R", Epoch, Request)
Place = tuple[str, int]
"""A meeting and an epoch of it: where a page ends; ("", -1) is before the first."""


@dataclass(frozen=True, slots=True)
class Executed:
    """A request that was carried out, and the certificate of what it destroyed (else None)."""

    request: Request
    certificate: str | None


async def executed_requests(
    services: Services, call: Call, after: str, limit: int
) -> list[Executed]:
    """Return a page of the requests that were carried out, by id; raise IntegrityFailure."""
    await authorize(services, call, Target(), "audit")
    return stored_requests(services.store, after, limit)


async def manifests(
    services: Services, call: Call, space: SpaceName, after: Place, limit: int
) -> list[Epoch]:
    """Return a page of a space's epochs, by meeting and number, also while it is sealed or its
    token does not answer; raise Forbidden, NotFound, IntegrityFailure.
    """
    target, resource = Target(space=space), f"spaces/{space}/manifests"
    try:
        await authorize(services, call, target, resource)
    except (Sealed, HsmUnavailable):  # its labels cannot be verified: what is known decides
        try:
            services.authorizer.check(call.principal, call.operation, target)
        except (Forbidden, NotFound) as error:
            await log_refusal(services, call, space, resource, error)
            raise
    await services.cache.space(space)
    return stored_manifests(services.store, space, after, limit)


def stored_requests(store: Store, after: str, limit: int) -> list[Executed]:
    """Return a page of the stored requests that were carried out, by id; raise IntegrityFailure."""
    rows = store.requests(RequestState.EXECUTED, after, limit)
    records = [_read(sealed, Request) for sealed in rows]
    return [Executed(record, store.certificate(record.id)) for record in records]


def stored_manifests(store: Store, space: SpaceName, after: Place, limit: int) -> list[Epoch]:
    """Return a page of a space's stored epochs; raise IntegrityFailure."""
    found: list[Epoch] = []
    for meeting, epoch in _meetings(store, space, after, limit):
        rows = store.epochs(space, MeetingId(meeting), epoch, limit - len(found))
        found += [_read(sealed, Epoch) for sealed in rows]
        if len(found) == limit:
            break
    return found


def _meetings(store: Store, space: SpaceName, after: Place, limit: int) -> Iterator[Place]:
    """Yield the meeting in which a page begins, then those after it, with where to go on in it."""
    meeting, epoch = after
    if meeting:
        yield meeting, epoch
    while page := store.meetings(space, meeting, limit):
        for sealed in page:
            meeting = sealed.row.key.split("/")[2]
            yield meeting, -1


def _read(sealed: SealedRow, kind: type[_R]) -> _R:
    try:
        record = read_row(sealed.row)
    except InvalidInput as error:
        raise IntegrityFailure("a row is not what its key says") from error
    if not isinstance(record, kind):
        raise IntegrityFailure("a row is not what its key says")
    return record


async def registers(services: Services, call: Call) -> list[tuple[int, str]]:
    """Return number and JWS of every register of people that was issued; they are checked by
    whoever reads them, since the log names their digests. Raise ConfigurationError.
    """
    await authorize(services, call, Target(), "audit")
    return issued_registers(services.settings.paths.state)


def issued_registers(state: Path) -> list[tuple[int, str]]:
    """Return the registers of people in a state directory; raise ConfigurationError."""
    try:
        names = [path.name for path in state.iterdir()]
        numbers = archive.numbers(names, archive.REGISTER)
        return [(one, (state / archive.REGISTER.format(one)).read_text("ascii")) for one in numbers]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError("the registers of people cannot be read") from error


def issued_key_list(state: Path) -> str:
    """Return the newest key list (JWS) in a state directory; raise ConfigurationError."""
    try:
        number = archive.newest((path.name for path in state.iterdir()), archive.KEY_LIST)
        return (state / archive.KEY_LIST.format(number)).read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"the site's key list cannot be read in {state}", hint="initialise the site first"
        ) from error

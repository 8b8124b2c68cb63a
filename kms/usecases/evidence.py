"""What an auditor takes away beside the log: executed requests with approvals and certificates, and
the registers of people under which they were given.
"""

from dataclasses import dataclass
from typing import cast

from kms.domain.approvals import Request, RequestState
from kms.errors import ConfigurationError
from kms.policy.authorizer import Target
from kms.statements import archive
from kms.usecases.services import Call, Services, authorize


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
    found = []
    for sealed in services.store.requests(RequestState.EXECUTED, after, limit):
        record = cast("Request", (await services.cache.admit(sealed)).record)
        found.append(Executed(record, services.store.certificate(record.id)))
    return found


async def registers(services: Services, call: Call) -> list[tuple[int, str]]:
    """Return number and JWS of every register of people that was issued; they are checked by
    whoever reads them, since the log names their digests. Raise ConfigurationError.
    """
    await authorize(services, call, Target(), "audit")
    state = services.settings.paths.state
    try:
        names = [path.name for path in state.iterdir()]
        numbers = archive.numbers(names, archive.REGISTER)
        return [(one, (state / archive.REGISTER.format(one)).read_text("ascii")) for one in numbers]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError("the registers of people cannot be read") from error

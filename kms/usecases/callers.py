"""From what the configuration or a registration says to the principal that it makes."""

from kms.domain.ids import SpaceName
from kms.domain.models import (
    CallerLabels,
    Principal,
    PrincipalKind,
    Recipient,
    RecipientKind,
    Role,
    Strength,
)
from kms.errors import NotFound
from kms.settings import Caller
from kms.usecases.services import Services

_SERVER = "server:"


def local(caller: Caller) -> Principal:
    """Return the principal of a caller on this machine."""
    return Principal(
        name=caller.principal,
        kind=PrincipalKind.SOCKET,
        proof=f"uid={caller.uid}",
        roles=frozenset(caller.roles),
        spaces=frozenset(caller.spaces),
        labels=CallerLabels(
            caller.department, caller.business_type, caller.region, caller.staff_number
        ),
    )


def server(recipient: Recipient, spki: str) -> Principal:
    """Return the principal of a registered meeting server."""
    return Principal(
        name=f"{_SERVER}{recipient.name}",
        kind=PrincipalKind.TLS,
        proof=spki,
        roles=frozenset({Role.MEETING_SERVER}),
        spaces=frozenset({recipient.space}),
        recipient=recipient.recipient,
        strength=Strength.CERTIFICATE,
    )


async def named(services: Services, name: str) -> Principal:
    """Return the principal of that name; raise NotFound."""
    for caller in services.settings.caller:
        if caller.principal == name:
            return local(caller)
    for token in services.settings.space_tokens if name.startswith(_SERVER) else ():
        for sealed in services.store.recipients(SpaceName(token.space)):
            record = (await services.cache.admit(sealed)).record
            if isinstance(record, Recipient) and _is(record, name.removeprefix(_SERVER)):
                return server(record, record.tls_spki)
    raise NotFound("no caller has that name", hint="conclave recipient list names the servers")


def _is(record: Recipient, name: str) -> bool:
    return record.kind is RecipientKind.SERVER and record.name == name and not record.revoked

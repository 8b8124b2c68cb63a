"""Passkeys as people look at them."""

from kms.domain.passkeys import Passkey
from kms.policy.authorizer import Target
from kms.usecases.services import Call, Services, authorize


async def list_passkeys(
    services: Services, call: Call, after: int, limit: int, person: str = ""
) -> list[Passkey]:
    """Return a page of passkeys by the leaf that enrolled them, revoked ones too; ``after`` is the
    last leaf of the page before, -1 for the first. ``person``: that person's alone.
    """
    await authorize(services, call, Target(), "passkeys")
    known = services.passkeys.read(services.store).known.values()
    found = [one for one in known if one.leaf > after and person in {"", one.person}]
    return found[:limit]


async def read_passkey(services: Services, call: Call, credential: str) -> Passkey:
    """Return a passkey; raise NotFound."""
    await authorize(services, call, Target(), f"passkeys/{credential}")
    return services.passkeys.read(services.store).find(credential)

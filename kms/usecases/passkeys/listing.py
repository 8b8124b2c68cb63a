"""Passkeys as people look at them."""

from collections.abc import Iterable

from kms.domain.passkeys import Passkey
from kms.policy.authorizer import Target
from kms.usecases.services import Call, Services, authorize


async def list_passkeys(services: Services, call: Call, after: int, limit: int) -> list[Passkey]:
    """Return a page of passkeys by the leaf that enrolled them, revoked ones too; ``after`` is the
    last leaf of the page before, -1 for the first.
    """
    await authorize(services, call, Target(), "passkeys")
    return [one for one in _known(services) if one.leaf > after][:limit]


async def newest_passkeys(
    services: Services, call: Call, before: int, limit: int, person: str = ""
) -> list[Passkey]:
    """Return a page of passkeys, the newest first, revoked ones too; ``before`` is the last leaf of
    the page before, 0 for the first. ``person``: that person's alone.
    """
    await authorize(services, call, Target(), "passkeys")
    found = [
        one
        for one in _known(services)
        if (not before or one.leaf < before) and person in {"", one.person}
    ]
    return found[::-1][:limit]


def _known(services: Services) -> Iterable[Passkey]:
    return services.passkeys.read(services.store).known.values()


async def read_passkey(services: Services, call: Call, credential: str) -> Passkey:
    """Return a passkey; raise NotFound."""
    await authorize(services, call, Target(), f"passkeys/{credential}")
    return services.passkeys.read(services.store).find(credential)

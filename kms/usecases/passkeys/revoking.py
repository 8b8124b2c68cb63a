"""Revoking a passkey: any officer may, and its own person. Stopping is safe alone."""

from kms.audit.leaf import Outcome, Phase
from kms.domain.models import Role
from kms.domain.passkeys import Passkey
from kms.domain.text import check_reason
from kms.errors import Forbidden
from kms.policy.authorizer import Target
from kms.usecases.passkeys.enrolling import CHANGES
from kms.usecases.passkeys.writing import write
from kms.usecases.services import Call, Services, authorize, log_refusal, uninterrupted


@uninterrupted
async def revoke(services: Services, call: Call, credential: str, reason: str) -> Passkey:
    """Revoke a passkey for ever; doing it again changes nothing. Raise NotFound, Forbidden,
    InvalidInput.
    """
    await authorize(services, call, Target(), f"passkeys/{credential}")
    check_reason(reason)
    async with services.locks.of(CHANGES):
        passkey = services.passkeys.read(services.store).find(credential)
        await _check_own(services, call, passkey)
        if not passkey.revoked:
            leaf = call.leaf(
                "",
                f"people/{passkey.person}",
                Phase.EVENT,
                Outcome.SUCCEEDED,
                details={"credential": credential, "person": passkey.person, "reason": reason},
            )
            await write(services, leaf)
    return services.passkeys.read(services.store).find(credential)


async def _check_own(services: Services, call: Call, passkey: Passkey) -> None:
    if Role.OFFICER in call.principal.roles or call.principal.name == passkey.person:
        return
    error = Forbidden("whoever is no officer revokes only passkeys of their own")
    await log_refusal(services, call, "", f"passkeys/{passkey.credential}", error)
    raise error

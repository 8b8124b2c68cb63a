"""Taking in an admission: from then on statements by an approval passkey are its person's.

A newer admission takes the place of the one before; what was signed under that counts to its end.
"""

from kms.audit.leaf import Outcome, Phase
from kms.domain.passkeys import Passkey, Purpose
from kms.errors import StateNotAllowed, VerificationFailed
from kms.policy.authorizer import Target
from kms.statements.passkeys import Admission, peek_admission, verify_admission
from kms.usecases.passkeys.enrolling import CHANGES
from kms.usecases.passkeys.people import party_of, register_of
from kms.usecases.passkeys.refusing import refused_statements
from kms.usecases.passkeys.writing import write
from kms.usecases.services import Call, Services, authorize, uninterrupted


@uninterrupted
async def admit(services: Services, call: Call, credential: str, token: str) -> Passkey:
    """Take in an admission of a passkey; raise NotFound, StateNotAllowed, VerificationFailed."""
    await authorize(services, call, Target(), f"passkeys/{credential}")
    async with refused_statements(services, call, "passkeys"), services.locks.of(CHANGES):
        passkey = services.passkeys.read(services.store).find(credential)
        found = verify_admission(token, register_of(services), services.seconds())
        _check_fits(services, passkey, found)
        leaf = call.leaf(
            "",
            f"people/{passkey.person}",
            Phase.EVENT,
            Outcome.SUCCEEDED,
            details={"credential": credential, "person": passkey.person, "statement": token},
        )
        await write(services, leaf)
    return services.passkeys.read(services.store).find(credential)


def _check_fits(services: Services, passkey: Passkey, admission: Admission) -> None:
    if passkey.purpose is not Purpose.APPROVAL:
        raise StateNotAllowed("a passkey to sign in with approves nothing")
    if passkey.revoked:
        raise StateNotAllowed("the passkey is revoked", hint="enrol another one")
    if passkey.rp_id != party_of(services).id:
        raise StateNotAllowed(
            f"the passkey answers at {passkey.rp_id} alone, where the board was",
            hint="enrol another one",
        )
    if passkey.admission and admission.issued <= peek_admission(passkey.admission).issued:
        raise StateNotAllowed(
            "the admission is no newer than the one in force", hint="make a new one"
        )
    told = (admission.person, admission.credential, admission.spki, admission.party)
    if told != (passkey.person, passkey.credential, passkey.spki, party_of(services)):
        raise VerificationFailed("the admission is of another passkey than the one enrolled")

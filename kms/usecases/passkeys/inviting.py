"""Taking in an invitation that a person signed with a credential of the register of people.

What counts is who signed it, not who hands it in.
"""

from kms.audit.leaf import Outcome, Phase
from kms.errors import AlreadyExists, VerificationFailed
from kms.policy.authorizer import Target
from kms.statements.passkeys import Invitation, verify_invitation
from kms.usecases.passkeys.enrolling import CHANGES
from kms.usecases.passkeys.people import board_of, register_of
from kms.usecases.passkeys.refusing import refused_statements
from kms.usecases.passkeys.writing import write
from kms.usecases.services import Call, Services, authorize, uninterrupted


@uninterrupted
async def invite(services: Services, call: Call, token: str) -> Invitation:
    """Take in an invitation; raise VerificationFailed, AlreadyExists, ConfigurationError."""
    await authorize(services, call, Target(), "passkeys")
    async with refused_statements(services, call, "passkeys"), services.locks.of(CHANGES):
        found = verify_invitation(token, register_of(services), services.seconds())
        if found.expires - found.issued > board_of(services).invitation_seconds:
            raise VerificationFailed(
                "the invitation would count longer than this site allows",
                hint="board.invitation_seconds says how long",
            )
        if services.passkeys.read(services.store).was_invited(found.code_sha256):
            raise AlreadyExists("this invitation was handed in before", hint="make a new one")
        leaf = call.leaf(
            "",
            f"people/{found.person}",
            Phase.EVENT,
            Outcome.SUCCEEDED,
            details={
                "person": found.person,
                "purpose": found.purpose.value,
                "statement": token,
            },
        )
        await write(services, leaf)
    return found

"""Who a person of the register is at the board, and where the board is."""

from dataclasses import dataclass
from typing import Any

from kms.domain.models import (
    EVERY_SPACE,
    CallerLabels,
    Principal,
    PrincipalKind,
    Role,
    Strength,
)
from kms.domain.passkeys import Passkey, Purpose
from kms.domain.people import Part, Person, Register
from kms.errors import ConfigurationError, NotFound, Unauthenticated
from kms.settings import Board, BoardPerson, split_origin
from kms.statements.webauthn import RelyingParty
from kms.usecases.services import Services

ROLES: dict[Part, frozenset[Role]] = {
    Part.OFFICER: frozenset({Role.OFFICER}),
    Part.AUDITOR: frozenset({Role.AUDITOR}),
    Part.ADMINISTRATOR: frozenset({Role.OPERATOR}),
    Part.WITNESS: frozenset(),
}
"""What a person's part in ceremonies makes of them at the board; a witness sees nothing."""
ES256 = -7
"""The COSE name of the one algorithm."""
_PATIENCE_MS = 300_000


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a passkey is asked to answer; ``options`` is the JSON that the browser gets."""

    challenge: bytes
    options: dict[str, Any]


def board_of(services: Services) -> Board:
    """Return the board's settings; raise ConfigurationError."""
    if services.settings.board is None:
        raise ConfigurationError("there is no board", hint="configure [board]")
    return services.settings.board


def party_of(services: Services) -> RelyingParty:
    """Return where passkeys are accepted, as the configuration fixes it."""
    origin = board_of(services).origin
    return RelyingParty(split_origin(origin)[1], origin)


def register_of(services: Services) -> Register:
    """Return the register of people in force."""
    return services.registers.in_force(services.store, services.settings.paths.state).register


def in_office(services: Services, name: str) -> Person:
    """Return somebody who is in office now; raise Unauthenticated."""
    try:
        person = register_of(services).person(name)
    except NotFound as error:
        raise Unauthenticated("this person is not in the register") from error
    if not person.in_office(services.seconds()):
        raise Unauthenticated("this person is not in office")
    return person


def principal_of(
    services: Services, name: str, kind: PrincipalKind, proof: str, strength: Strength
) -> Principal:
    """Return what the register in force makes of a person; raise Unauthenticated."""
    person = in_office(services, name)
    roles = ROLES[person.part]
    spaces = frozenset(person.spaces or (EVERY_SPACE,)) if roles else frozenset()
    labels = _labels(next((one for one in board_of(services).person if one.person == name), None))
    return Principal(name, kind, proof, roles, spaces, labels=labels, strength=strength)


def sign_in_passkey(services: Services, principal: Principal) -> Passkey:
    """Return the passkey that a person is signed in by; raise Unauthenticated if it counts no
    more.
    """
    found = services.passkeys.read(services.store).known.get(principal.proof)
    if found is None or found.revoked:
        raise Unauthenticated("the passkey was revoked")
    if (found.purpose, found.person) != (Purpose.SIGN_IN, principal.name):
        raise Unauthenticated("this is no passkey to sign in with")
    return found


def descriptors(passkeys: list[Passkey]) -> list[dict[str, str]]:
    """Return passkeys as a browser names them."""
    return [{"type": "public-key", "id": one.credential} for one in passkeys]


def request_options(
    services: Services, challenge: str, allowed: list[Passkey] | None = None
) -> dict[str, Any]:
    """Return what ``navigator.credentials.get`` takes; without ``allowed`` any passkey answers."""
    wanted = {
        "challenge": challenge,
        "rpId": party_of(services).id,
        "userVerification": "required",
        "timeout": _PATIENCE_MS,
        "allowCredentials": descriptors(allowed or []),
    }
    return {"publicKey": wanted}


def creation_options(
    services: Services, challenge: str, user: dict[str, str], own: list[Passkey], resident: str
) -> dict[str, Any]:
    """Return what ``navigator.credentials.create`` takes; ``own`` are not to be made again."""
    party = party_of(services)
    wanted = {
        "challenge": challenge,
        "rp": {"id": party.id, "name": f"Conclave {services.settings.site.id}"},
        "user": user,
        "pubKeyCredParams": [{"type": "public-key", "alg": ES256}],
        "authenticatorSelection": {
            "residentKey": resident,
            "requireResidentKey": resident == "required",
            "userVerification": "required",
        },
        "attestation": "none",
        "timeout": _PATIENCE_MS,
        "excludeCredentials": descriptors(own),
    }
    return {"publicKey": wanted}


def _labels(told: BoardPerson | None) -> CallerLabels:
    if told is None:
        return CallerLabels()
    return CallerLabels(told.department, told.business_type, told.region, told.staff_number)

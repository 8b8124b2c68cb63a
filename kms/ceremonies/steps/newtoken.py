"""Steps that make a token: initialised under the officers' secret, its own keys, what is on it.

A token that an interrupted attempt left is erased by the next one, with the SO PIN that it has from
the same secret; so nothing here needs an undo. Its user's PIN is delivered in the section that
makes it, since no other knows it.
"""

from collections.abc import Callable
from functools import partial

from kms.ceremonies.ports import SigningUse
from kms.ceremonies.room import Brief, Facts, Room
from kms.ceremonies.step import Step, nothing
from kms.ceremonies.steps.state import FIRST
from kms.domain.people import Part
from kms.errors import IntegrityFailure, InvalidInput
from kms.statements.canonical import b64u, digest, unb64u


def token_of(brief: Brief, space: str) -> str:
    """Return the label of a space's token (empty: the site's own); raise InvalidInput."""
    try:
        return brief.site.token(space)
    except KeyError:
        raise InvalidInput(
            f"the configuration names no token for the space {space}",
            hint="add it to [[hsm.tokens]]",
        ) from None


def make_token(
    section: str, label: str, check: Callable[[Room], None] = nothing
) -> tuple[Step, ...]:
    """Return steps ``section/initialise/label`` and ``section/self-test/label``; ``check`` refuses
    a token that must not be made. The section has combined the SO secret before.
    """
    return (
        Step(
            id=f"{section}/initialise/{label}",
            who=Part.ADMINISTRATOR,
            text="The program initialises the token {token}: its SO PIN comes from the SO secret, "
            "its user PIN is drawn. A token {token} that an interrupted attempt left is erased.",
            values={"token": label},
            check=check,
            act=partial(_initialise, label),
        ),
        Step(
            id=f"{section}/self-test/{label}",
            who=Part.ADMINISTRATOR,
            text="The program asks the token {token} what its profile says that it answers.",
            values={"token": label},
            act=partial(_self_test, label),
        ),
    )


def make_row_mac(section: str, label: str) -> Step:
    """Return the step ``section/row-mac/label``."""
    return Step(
        id=f"{section}/row-mac/{label}",
        who=Part.ADMINISTRATOR,
        text="The token {token} generates the key that seals the rows of the database.",
        values={"token": label},
        act=partial(_row_mac, label),
    )


def make_signing_key(section: str, label: str, use: SigningUse) -> Step:
    """Return the step ``section/<use>/label``, whose facts ``spki_of`` reads."""
    return Step(
        id=f"{section}/{use}/{label}",
        who=Part.ADMINISTRATOR,
        text=_SIGNING_TEXTS[use],
        values={"token": label},
        act=partial(_signing_key, label, use),
    )


_SIGNING_TEXTS = {
    SigningUse.SITE_ROOT: "The token {token} generates the site root, which signs the register of "
    "people and the key list, and the officers' session trusts its public half.",
    SigningUse.CHECKPOINT: "The token {token} generates the key that signs the log, and the "
    "officers' session trusts its public half.",
    SigningUse.MANIFEST: "The token {token} generates the key that signs epoch manifests, and the "
    "officers' session trusts its public half.",
}


def finish_token(section: str, label: str) -> tuple[Step, ...]:
    """Return steps ``section/dump/label`` and ``section/pin/label``: the last ones of a token."""
    return (
        dump_token(section, label),
        Step(
            id=f"{section}/pin/{label}",
            who=Part.ADMINISTRATOR,
            text="The program hands the user PIN of the token {token} over to the service's "
            "operator, where the configuration says.",
            values={"token": label},
            act=partial(_deliver, label),
        ),
    )


def dump_token(section: str, label: str) -> Step:
    """Return the step ``section/dump/label``, whose facts have every object and attribute."""
    return Step(
        id=f"{section}/dump/{label}",
        who=Part.ADMINISTRATOR,
        text="The program reads every object on the token {token} with all its attributes into "
        "the transcript.",
        values={"token": label},
        act=partial(_dump, label),
    )


def spki_of(room: Room, step: str) -> bytes:
    """Return the public key (SPKI, DER) that a step's facts name; raise IntegrityFailure."""
    facts = room.facts[step]
    spki = unb64u(facts["spki"])
    if digest(spki) != facts["kid"]:
        raise IntegrityFailure(f"the facts of {step} do not name the key that they show")
    return spki


def key_facts(spki: bytes) -> Facts:
    """Return a public key's facts: its id and SPKI, both base64url."""
    return {"kid": digest(spki), "spki": b64u(spki)}


def _initialise(label: str, room: Room) -> Facts:
    token = room.tokens(label)
    left = token.exists()
    if left:
        token.erase()
    room.pins.draw_user_pin(label)
    token.initialise()
    return {"erased": left, "token": label}


def _self_test(label: str, room: Room) -> Facts:
    room.tokens(label).self_test()
    return {"token": label}


def _row_mac(label: str, room: Room) -> Facts:
    room.tokens(label).generate_row_mac(FIRST)
    return {"token": label, "version": FIRST}


def _signing_key(label: str, use: SigningUse, room: Room) -> Facts:
    token = room.tokens(label)
    spki = token.generate_signing(use, FIRST)
    token.trust_signing(use, FIRST, spki)
    return key_facts(spki)


def _dump(label: str, room: Room) -> Facts:
    return {"objects": room.tokens(label).dump(), "token": label}


def _deliver(label: str, room: Room) -> Facts:
    room.pins.deliver_user_pins([label])
    return {"token": label}

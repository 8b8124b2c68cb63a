"""What every recovery from escrow has of its own: an empty token, which is erased at its end, and
the word about the machine in which the share wrapping key is put together.
"""

import hmac
from functools import partial

from kms.ceremonies.ports import CeremonyToken
from kms.ceremonies.room import Brief, Facts, Room
from kms.ceremonies.step import Step
from kms.ceremonies.steps.holding import SWK
from kms.domain.people import Part
from kms.errors import IntegrityFailure, InvalidInput
from kms.i18n import _

_PIN_LABEL = b"conclave recovery token v1\n"
_SO_SECRET_BYTES = 16


def check_own_token(brief: Brief, label: str) -> None:
    """Raise InvalidInput for a token of the site: it would be erased."""
    if label in brief.site.tokens.values():
        raise InvalidInput(f"the token {label} is the site's: a recovery has one of its own")


def tell_host(room: Room) -> Facts:
    """Say what a recovery outside the offline ceremony image obliges people to."""
    image = room.brief.site.offline_image
    if not image:
        text = _(
            "This is not the offline ceremony image: the share wrapping key may stay behind in "
            "this machine. The escrow key has to be replaced (new-generation, reason recovery)."
        )
        room.people.say(text)
    return {"offline_image": image}


def make_own_token(room: Room, label: str) -> tuple[bool, CeremonyToken]:
    """Make the token under a secret that follows from the SWK: what an interrupted run left can
    so be erased by the next one, though nobody ever learns its PINs. Return whether one was left.
    """
    info = _PIN_LABEL + room.brief.plan.sha256
    room.pins.set_so_secret(hmac.digest(room.memory[SWK], info, "sha256")[:_SO_SECRET_BYTES], 1)
    token = room.tokens(label)
    left = token.exists()
    token.erase()
    room.pins.draw_user_pin(label)
    token.initialise()
    token.self_test()
    return left, token


def erase_step(section: str, label: str) -> Step:
    """Return the step ``section/erase``, the last one."""
    return Step(
        id=f"{section}/erase",
        who=Part.ADMINISTRATOR,
        text="The token {token} is erased.",
        values={"token": label},
        act=partial(_erase, label),
    )


def _erase(label: str, room: Room) -> Facts:
    token = room.tokens(label)
    token.erase()
    if token.exists():
        raise IntegrityFailure(f"the token {label} is still there")
    return {"token": label}

"""Passkeys of people: what each is for, and the one-time codes by which they are enrolled.

No table keeps them. The audit log is their register (kms/usecases/passkeys/register.py).
"""

import base64
import re
from dataclasses import dataclass
from enum import StrEnum

from kms.domain.text import visible
from kms.errors import InvalidInput

CODE_BYTES = 15
MOST_NAME = 64
MOST_PRESENCE_SECONDS = 600
"""How old a site may let a statement of presence be at most."""
_CODE = re.compile(r"[A-Z2-7]{24}", re.ASCII)
_CREDENTIAL = re.compile(r"[A-Za-z0-9_-]{22,512}", re.ASCII)
_GROUP = 4


class Purpose(StrEnum):
    """What a passkey is for; one for the one is never accepted for the other."""

    SIGN_IN = "sign-in"
    APPROVAL = "approval"


@dataclass(frozen=True, slots=True)
class Passkey:
    """A person's passkey as the log tells it.

    ``credential`` is its id and ``spki`` its P-256 public key (DER), both base64url; ``name`` what
    the person calls it; ``enrolled`` and ``revoked`` (0: it is not) in whole seconds, ``leaf`` the
    number of the leaf that enrolled it, ``rp_id`` the name of the site at which alone it answers.
    ``admission`` is the JWS without which an approval passkey does not count, else empty.
    """

    credential: str
    person: str
    purpose: Purpose
    spki: str
    name: str
    enrolled: int
    leaf: int
    rp_id: str
    revoked: int = 0
    admission: str = ""


def code_of(secret: bytes) -> str:
    """Return the one-time code that CODE_BYTES random bytes are, in groups of four to be typed."""
    text = base64.b32encode(secret).decode("ascii")
    return "-".join(text[at : at + _GROUP] for at in range(0, len(text), _GROUP))


def plain_code(text: str) -> str:
    """Return a code as it was typed, without what people put between its signs; raise InvalidInput
    for what is no code.
    """
    found = text.upper().replace("-", "").replace(" ", "")
    if not _CODE.fullmatch(found):
        raise InvalidInput("a code has 24 signs: A to Z, 2 to 7")
    return found


def parse_credential(text: str) -> str:
    """Return a passkey's id; raise InvalidInput."""
    if not _CREDENTIAL.fullmatch(text):
        raise InvalidInput("a passkey is named by base64url of 16 to 384 bytes")
    return text


def parse_passkey_name(text: str) -> str:
    """Return what a person calls a passkey; raise InvalidInput."""
    name = text.strip()
    if not 0 < len(name) <= MOST_NAME or visible(name) != name:
        raise InvalidInput(
            "a passkey's name has 1 to {most} visible characters", about={"most": MOST_NAME}
        )
    return name

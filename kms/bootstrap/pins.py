"""PINs of one ceremony, in memory alone. SO PINs are stored nowhere: they follow from the secret
that the security officers share.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from kms.errors import PinError
from kms.statements.canonical import canonical

SO_SECRET_BYTES = 16
_PIN_BYTES = 16
_SO_PIN_INFO = b"conclave so-pin v1\n"

Deliver = Callable[[Mapping[str, str]], None]
"""Takes the PINs of new tokens, by label, to where they are kept."""


def derive_so_pin(secret: bytes, site: str, token: str, generation: int) -> str:
    """Return a token's SO PIN (32 hexadecimal digits): HKDF-SHA256 of the officers' secret."""
    place = canonical({"generation": generation, "site": site, "token": token})
    hkdf = HKDF(SHA256(), _PIN_BYTES, salt=None, info=_SO_PIN_INFO + place)
    return hkdf.derive(secret).hex()


class MemoryPins:
    """A ``PinBox``. ``user_pins`` are those known before; ``deliver`` takes new ones."""

    def __init__(self, site: str, user_pins: Mapping[str, str], deliver: Deliver) -> None:
        self._site = site
        self._user = dict(user_pins)
        self._deliver = deliver
        self._secret: tuple[bytes, int] | None = None

    def __repr__(self) -> str:
        return f"MemoryPins({sorted(self._user)!r})"

    def set_so_secret(self, secret: bytes, generation: int) -> None:
        """Derive SO PINs from this secret until ``forget``; raise PinError."""
        if len(secret) != SO_SECRET_BYTES:
            raise PinError(f"the officers' secret has {SO_SECRET_BYTES} bytes")
        self._secret = secret, generation

    def so_pin(self, token: str) -> str:
        """Return a token's SO PIN; raise PinError if the officers' secret is not here."""
        if self._secret is None:
            raise PinError(
                f"the SO PIN of {token} is not known", hint="the security officers give shares"
            )
        secret, generation = self._secret
        return derive_so_pin(secret, self._site, token, generation)

    def user_pin(self, token: str) -> str:
        """Return a token's user PIN; raise PinError."""
        try:
            return self._user[token]
        except KeyError:
            raise PinError(f"the PIN of {token} was not given") from None

    def draw_user_pin(self, token: str) -> None:
        """Draw a new token's user PIN unless it is known."""
        self._user.setdefault(token, secrets.token_hex(_PIN_BYTES))

    def deliver_user_pins(self, tokens: Sequence[str]) -> None:
        """Hand new PINs over; raise PinError for one that is not known."""
        self._deliver({token: self.user_pin(token) for token in tokens})

    def forget(self) -> None:
        """Forget the officers' secret."""
        self._secret = None

"""Who is logged in on a token under ceremony: its user or an officer, one at a time.

PINs are asked for when a session is opened and are not kept.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from pkcs11.exceptions import PKCS11Error

from kms.errors import StateNotAllowed
from kms.hsm.login import Login
from kms.hsm.profile import Profile
from kms.hsm.token import Token


class TokenPins(Protocol):
    """The part of a PinBox that tokens use."""

    def so_pin(self, token: str) -> str:
        """Return a token's SO PIN; raise PinError."""
        ...

    def user_pin(self, token: str) -> str:
        """Return a token's user PIN; raise PinError."""
        ...


class Logins:
    """The sessions of one token in this process. Acts of the user within one another share one."""

    def __init__(self, profile: Profile, label: str, pins: TokenPins) -> None:
        self._profile = profile
        self._label = label
        self._pins = pins
        self._held: Token | None = None

    @contextmanager
    def user(self) -> Iterator[Token]:
        """Yield a session of the user; raise PinError, TokenFault."""
        if self._held is not None:
            yield self._held
            return
        pin = self._pins.user_pin(self._label)
        with Token(self._profile, self._label, pin, writable=True) as token:
            self._held = token
            try:
                yield token
            except PKCS11Error as error:
                raise token.failed(error) from error
            finally:
                self._held = None

    def officer(self) -> Token:
        """Return a session of the security officer, to be entered; raise PinError, or
        StateNotAllowed while the user is at work.
        """
        if self._held is not None:
            raise StateNotAllowed(
                f"token {self._label} is in use by its user, and takes one login at a time"
            )
        return self._as_officer(self._pins.so_pin(self._label))

    def prove_so_pin(self, pin: str) -> None:
        """Raise PinError unless the token takes this PIN of the security officer."""
        with self._as_officer(pin):
            pass

    def _as_officer(self, pin: str) -> Token:
        return Token(self._profile, self._label, pin, login=Login.OFFICER)

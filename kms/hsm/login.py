"""One login on one token: opens it by its profile, and after any error drops the session.

The PIN is tried once: real tokens lock. A session that saw an error may be stuck in an operation,
so it goes, and every handle with it; the next call opens another.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, Concatenate, ParamSpec, Self, TypeVar
from weakref import WeakSet

import pkcs11
from pkcs11 import Mechanism
from pkcs11.exceptions import MultipleTokensReturned, NoSuchToken, PKCS11Error

from kms.errors import IntegrityFailure, PinError, ProfileError, StateNotAllowed
from kms.hsm.attributes import Mapper
from kms.hsm.cryptoki import Cryptoki
from kms.hsm.faults import Action, Faults, TokenFault
from kms.hsm.profile import Profile

_P = ParamSpec("_P")
_R = TypeVar("_R")
_S = TypeVar("_S", bound="TokenSession")


class Login(StrEnum):
    """As whom a session is opened."""

    USER = "user"
    OFFICER = "officer"


def guarded(
    method: Callable[Concatenate[_S, _P], _R],
) -> Callable[Concatenate[_S, _P], _R]:
    """Translate what PKCS#11 raises, and drop the session: it may be stuck in an operation."""

    @functools.wraps(method)
    def call(self: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return method(self, *args, **kwargs)
        except PKCS11Error as error:
            raise self.failed(error) from error

    return call


class TokenSession:
    """A token by its label, logged in when first used. One per token and process; no threads."""

    def __init__(
        self,
        profile: Profile,
        label: str,
        pin: str,
        *,
        login: Login = Login.USER,
        writable: bool = False,
    ) -> None:
        self.profile = profile
        self.label = label
        self._pin = pin
        self._login = login
        self._writable = writable or login is Login.OFFICER
        self._faults = Faults(profile.errors)
        self.cryptoki = Cryptoki(profile.module)
        self._session: Any = None
        self._token: Any = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.label!r}, {self._login.value})"

    @guarded
    def open(self) -> None:
        """Open and log in. Raise PinError, ProfileError, TokenFault (fatal: no such token)."""
        if self._session is not None:
            return
        if not self._pin:
            raise PinError("the token refused this PIN before, and one attempt is all there is")
        self._token = self._find_token()
        pin = "user_pin" if self._login is Login.USER else "so_pin"
        self._session = self._token.open(
            rw=self._writable, attribute_mapper=Mapper(), **{pin: self._pin}
        )
        _OPEN.add(self)

    @contextmanager
    def writing(self) -> Iterator[Any]:
        """Yield a read-write session beside the open one, whose login it shares: for the one act
        of a worker that otherwise only reads.
        """
        self.open()
        with self._token.open(rw=True, attribute_mapper=Mapper()) as session:
            yield session

    def drop(self) -> None:
        """Close every session of this process on the token."""
        self._session = None
        _OPEN.discard(self)
        if self._token is not None:
            self.cryptoki.close_all_sessions(self._token.slot.slot_id)

    def failed(self, error: PKCS11Error) -> PinError | TokenFault:
        """Drop the session after an error of a call on it, and return the error as ours."""
        self.drop()
        fault = self._faults.translate(error)
        if isinstance(fault, PinError):
            self._pin = ""
        return fault

    @guarded
    def change_pin(self, new: str) -> None:
        """Change the PIN of whom the session is open for (C_SetPIN); raise PinError."""
        self.session.set_pin(self._pin, new)
        self._pin = new

    @property
    def session(self) -> Any:
        """The open python-pkcs11 session."""
        if self._session is None:
            self.open()
        return self._session

    def _find_token(self) -> Any:
        library = pkcs11.lib(self.profile.module)
        version = ".".join(str(part) for part in library.library_version)
        expected = self.profile.match
        if (
            library.manufacturer_id != expected.manufacturer
            or version not in expected.library_versions
        ):
            raise ProfileError(
                f"profile {self.profile.name} does not fit the module: it is "
                f"{library.manufacturer_id} {version}"
            )
        try:
            token = library.get_token(token_label=self.label)
        except NoSuchToken as error:
            raise TokenFault(f"there is no token {self.label}", action=Action.FATAL) from error
        except MultipleTokensReturned as error:
            raise IntegrityFailure(f"more than one token is labelled {self.label}") from error
        self._check_mechanisms(token)
        return token

    def _check_mechanisms(self, token: Any) -> None:
        offered = {f"CKM_{item.name}" for item in token.slot.get_mechanisms() if is_known(item)}
        missing = set(self.profile.mechanisms.required) - offered
        if missing:
            raise ProfileError(f"the token lacks {', '.join(sorted(missing))}")


_OPEN: WeakSet[TokenSession] = WeakSet()
"""The open sessions of this process."""


@contextmanager
def reloading(profile: Profile) -> Iterator[None]:
    """Let another process make or erase tokens; afterwards the module here is started anew to see
    them, as SoftHSM needs.

    Raise StateNotAllowed while a session is open: its handles would name other objects afterwards.
    """
    if _OPEN:
        raise StateNotAllowed("a session is open: tokens are made and erased between other acts")
    library = pkcs11.lib(profile.module)
    try:
        yield
    finally:
        library.reinitialize()


def has_token(profile: Profile, label: str) -> bool:
    """Whether the module shows a token of that label."""
    try:
        return any(True for _ in pkcs11.lib(profile.module).get_tokens(token_label=label))
    except PKCS11Error as error:
        raise Faults(profile.errors).translate(error) from error


def is_known(mechanism: object) -> bool:
    """Whether python-pkcs11 has a name for the mechanism."""
    return isinstance(mechanism, Mechanism)

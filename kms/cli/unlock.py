"""Takes in a person's credential: PIN or passphrase from a descriptor or an unseen prompt.

Never from arguments or environment, which other processes can read.
"""

import getpass
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kms.cli.session import Session
from kms.errors import ConfigurationError, InvalidInput
from kms.i18n import _

if TYPE_CHECKING:
    from kms.hsm.credential import TokenCredential
    from kms.settings import Settings
    from kms.statements.card import HeldCredential

TokenOption = Annotated[
    str | None, typer.Option("--token", help="Label of the token with the person's credential.")
]
ModuleOption = Annotated[
    Path | None, typer.Option(help="PKCS#11 module of that token, else the configured HSM's.")
]
KeyOption = Annotated[
    Path | None, typer.Option(help="Private key in a file (PEM), where the site allows it.")
]
PinFdOption = Annotated[
    int | None,
    typer.Option(help='File descriptor that holds the PIN document {"token": "PIN"}.'),
]
PasswordFdOption = Annotated[
    int | None, typer.Option(help="File descriptor that holds the private key's password.")
]

_MAX_PASSWORD = 1024


@dataclass(frozen=True, slots=True)
class Place:
    """Where the command line says that a person's credential is, and what unlocks it."""

    token: str | None
    module: Path | None
    key: Path | None
    pin_fd: int | None
    password_fd: int | None

    def open(self, session: Session) -> "HeldCredential":
        """Return the credential that is there.

        Raise InvalidInput, PinError, NotFound, HsmUnavailable, ConfigurationError, OSError.
        """
        if self.token and self.key is None:
            return self.on_token(session, self.token).open()
        if self.key and self.token is None:
            from kms.ceremonies.people.software import open_software_credential  # noqa: PLC0415 -- heavy

            return open_software_credential(self.key, self._password)
        raise one_place()

    def on_token(self, session: Session, label: str, *, fresh: bool = False) -> "TokenCredential":
        """Return a token's credential, not yet opened; a ``fresh`` token's PIN is typed twice.

        Raise ConfigurationError, PinError.
        """
        from kms.hsm.credential import TokenCredential  # noqa: PLC0415 -- heavy
        from kms.hsm.profile import load_profile  # noqa: PLC0415 -- heavy

        module, environment = str(self.module), {}
        if self.module is None:
            hsm = _settings(session).hsm
            module, environment = load_profile(hsm.profile).module, hsm.environment
        return TokenCredential(module, label, _pin(label, self.pin_fd, fresh=fresh), environment)

    def _password(self) -> bytes:
        if self.password_fd is not None:
            return _read_password(self.password_fd)
        if not sys.stdin.isatty():
            raise InvalidInput(
                f"{self.key} is encrypted", hint="its password comes by --password-fd"
            )
        return getpass.getpass(_("Password of {file}: ").format(file=self.key)).encode()


def one_place() -> InvalidInput:
    """Return the refusal of a command line that names no place of a credential, or two."""
    return InvalidInput(
        "give either --token or --key", hint="a key in a file is for sites that allow it"
    )


def new_password(descriptor: int | None) -> bytes:
    """Return the password for a new key file, empty for none; raise InvalidInput."""
    if descriptor is not None:
        return _read_password(descriptor)
    if not sys.stdin.isatty():
        return b""
    return _twice(_("Password for the new key, empty for none: ")).encode()


def _pin(token: str, descriptor: int | None, *, fresh: bool) -> str:
    from kms.cli.pins import read_pins  # noqa: PLC0415 -- heavy

    def ask(label: str) -> str:
        if fresh:
            return _twice(_("New PIN of token {token}: ").format(token=label))
        return getpass.getpass(_("PIN of token {token}: ").format(token=label))

    prompt = ask if sys.stdin.isatty() else None
    return read_pins([token], descriptor=descriptor, environment={}, prompt=prompt)[token]


def _twice(text: str) -> str:
    typed = getpass.getpass(text)
    if getpass.getpass(_("The same again: ")) != typed:
        raise InvalidInput("what was typed the second time is not the same")
    return typed


def _read_password(descriptor: int) -> bytes:
    try:
        with os.fdopen(descriptor, "rb") as file:
            return file.read(_MAX_PASSWORD).rstrip(b"\r\n")
    except (OSError, ValueError):
        raise InvalidInput("the password descriptor cannot be read") from None


def _settings(session: Session) -> "Settings":
    try:
        return session.settings()
    except ConfigurationError as error:
        raise ConfigurationError(
            error.message, hint="name the token's module with --module, or a file with --config"
        ) from error

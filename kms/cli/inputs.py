"""What several commands take in: rosters, keys and other files named on the command line."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from kms.errors import InvalidInput, TooLarge

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from pydantic import BaseModel

    from kms.wire.requests import RosterWish

_M = TypeVar("_M", bound="BaseModel")
MAX_TEXT = 4 << 20
"""Statements and key lists are refused beyond this many bytes."""

SpaceArgument = Annotated[str, typer.Argument(help="The space's name.")]
MeetingArgument = Annotated[str, typer.Argument(help="The meeting's id (UUIDv7).")]
ReasonOption = Annotated[str, typer.Option(help="Why, in a line; it goes into the log.")]
RecipientsOption = Annotated[
    list[str] | None,
    typer.Option(help="Registered recipient (trusted spaces); may be given several times."),
]
StatementOption = Annotated[
    Path | None, typer.Option(help="File of the signed roster (roster spaces); - reads stdin.")
]


def roster_wish(recipients: list[str] | None, statement: Path | None) -> "RosterWish":
    """Return who is to be on a roster; raise InvalidInput."""
    from kms.wire.requests import RosterWish  # noqa: PLC0415 -- loads the validation library

    if (statement is None) == (not recipients):
        raise InvalidInput(
            "give either --recipient or --statement",
            hint="a trusted space takes registered recipients (conclave recipient list), "
            "a roster space a signed roster",
        )
    signed = None if statement is None else read_text(statement)
    return checked(RosterWish, statement=signed, recipients=tuple(recipients or ()) or None)


def checked(kind: type[_M], **values: Any) -> _M:
    """Return a wire message; raise InvalidInput that names the field, never its value."""
    from pydantic import ValidationError  # noqa: PLC0415 -- heavy

    from kms.wire.parsing import explain  # noqa: PLC0415 -- heavy

    try:
        return kind(**values)
    except ValidationError as error:
        raise InvalidInput(explain(error)) from None


def read_text(path: Path) -> str:
    """Return a small text file without surrounding space; raise InvalidInput, TooLarge, OSError."""
    data = sys.stdin.buffer.read(MAX_TEXT + 1) if str(path) == "-" else _read(path)
    if len(data) > MAX_TEXT:
        raise TooLarge(f"{path} is larger than {MAX_TEXT} bytes")
    try:
        return data.decode().strip()
    except UnicodeDecodeError:
        raise InvalidInput(f"{path} is not a text file") from None


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_TEXT + 1)


def read_root(path: Path) -> "ec.EllipticCurvePublicKey":
    """Return the pinned site root of a PEM file (P-256 public key); raise InvalidInput."""
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 -- heavy
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 -- heavy
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 -- heavy
        load_pem_public_key,
    )

    try:
        key = load_pem_public_key(read_text(path).encode())
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidInput(f"{path} is not a public key in PEM") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidInput(f"{path} is not a P-256 public key")
    return key


def read_private_key(path: Path, password: bytes | None) -> "rsa.RSAPrivateKey":
    """Return a recipient's RSA private key of a PEM file; raise InvalidInput."""
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 -- heavy
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415 -- heavy
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 -- heavy
        load_pem_private_key,
    )

    try:
        key = load_pem_private_key(read_text(path).encode(), password)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        raise InvalidInput(
            f"{path} is not a private key in PEM", hint="an encrypted one needs --password-fd"
        ) from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise InvalidInput(f"{path} is not an RSA private key")
    return key

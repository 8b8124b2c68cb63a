"""The table of the board and of its people, and its check."""

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import msgspec

from kms.errors import ConfigurationError
from kms.settings.values import Positive, check_address, split_origin
from kms.strict import Section


class BoardPerson(Section, frozen=True):
    """What the configuration adds to a person of the register of people, for the board."""

    person: str
    """The person's name in the register."""
    certificate: str = ""
    """The key of a client certificate that signs this person in: the SHA-256 of its SPKI
    (base64url); empty: passkeys alone."""
    department: str = ""
    """The person's department, for policies (docs/policy.md)."""
    business_type: str = ""
    """The person's line of business, for policies."""
    region: str = ""
    """The person's region, for policies."""
    staff_number: str = ""
    """The person's staff number, for policies."""


class Board(Section, frozen=True):
    """The board: pages for officers, auditors and operators. Without this table there is none."""

    origin: str
    """Where browsers find the board, such as https://conclave.bank.internal:8443: passkeys work
    there alone. http: is allowed for localhost on loopback."""
    address: str = "127.0.0.1"
    """Loopback or a named private IP address to listen on, at the origin's port."""
    certificate: Path | None = None
    """The board's certificate with its chain (PEM); needed for https:."""
    key: Path | None = None
    """Its private key (PEM, without a passphrase)."""
    client_ca: Path | None = None
    """The authority of client certificates (PEM); without it nobody signs in by certificate."""
    idle_seconds: Positive = 900
    """How long a session may rest."""
    session_seconds: Positive = 28_800
    """How long a session lasts at most."""
    confirm_seconds: Positive = 300
    """How long after proof of who one is risky acts are allowed; then it is asked for again."""
    most_failures: Positive = 5
    """After so many refused attempts from an address, or in a person's sessions, within a quarter
    of an hour, what else is refused there waits a second and is not logged, for as long; an
    enrolled passkey signs in at any time."""
    invitation_seconds: Annotated[int, msgspec.Meta(ge=60, le=259_200)] = 86_400
    """How long an invitation to enrol a passkey counts at most."""
    max_connections: Positive = 200
    """Most connections of browsers. A quarter of it, but no less than 16, is the most of one
    address; half of it is the most live pages."""
    person: tuple[BoardPerson, ...] = ()


def check_board(board: Board) -> None:
    """Raise ConfigurationError unless origin and address fit, and nobody is named twice."""
    check_address(board.address)
    scheme, host, _ = split_origin(board.origin)
    if scheme == "https":
        if not board.certificate or not board.key:
            raise ConfigurationError("board.origin is https: name board.certificate and board.key")
    elif host != "localhost" or not ip_address(board.address).is_loopback:
        raise ConfigurationError("board.origin may be http only as http://localhost on loopback")
    for names in (
        [one.person for one in board.person],
        [one.certificate for one in board.person if one.certificate],
    ):
        if len(set(names)) != len(names):
            raise ConfigurationError("[[board.person]] names a person or certificate twice")

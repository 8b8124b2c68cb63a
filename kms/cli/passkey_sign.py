"""passkey invite, passkey admit: a person vouches for a passkey of their own, with their credential
of the register of people.
"""

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from kms.cli.approval_parameters import seconds_of
from kms.cli.last_word import ask_last_word
from kms.cli.output import Column, moment, word
from kms.cli.passkey_view import (
    PasskeyArgument,
    find,
    key_sha256,
    show_passkey,
    words,
)
from kms.cli.register import register
from kms.cli.session import Session
from kms.cli.unlock import (
    KeyOption,
    ModuleOption,
    PasswordFdOption,
    PinFdOption,
    Place,
    TokenOption,
    one_place,
)
from kms.domain.passkeys import CODE_BYTES, Purpose, code_of, plain_code
from kms.errors import StateNotAllowed
from kms.hardening import harden
from kms.i18n import _

if TYPE_CHECKING:
    from kms.statements.card import HeldCredential
    from kms.wire.passkeys import PasskeyOut, PasskeyPage

_INVITED = (
    Column("Person", "person"),
    Column("Purpose", "purpose", word),
    Column("Board", "board"),
    Column("One-time code", "code"),
    Column("Counts until", "expires"),
)


@dataclass(frozen=True, slots=True)
class Own:
    """Who vouches for a passkey of their own, and with which credential of the register."""

    person: Annotated[str, typer.Option(help="Who you are, as the register has it.")]
    token: TokenOption = None
    module: ModuleOption = None
    key: KeyOption = None
    pin_fd: PinFdOption = None
    password_fd: PasswordFdOption = None

    def place(self) -> Place:
        """Return where the credential is; raise InvalidInput."""
        if (self.token is None) == (self.key is None):
            raise one_place()
        return Place(self.token, self.module, self.key, self.pin_fd, self.password_fd)


def add(passkeys: typer.Typer) -> None:
    """Add the commands."""
    register(passkeys, "invite", invite)
    register(passkeys, "admit", admit)


def invite(
    session: Session,
    own: Own,
    purpose: Annotated[
        Purpose, typer.Option(metavar="<text>", help="What it is for: sign-in or approval.")
    ] = Purpose.SIGN_IN,
    expires_in: Annotated[
        str | None, typer.Option(help="How long the code counts, such as 1h, else the longest.")
    ] = None,
) -> None:
    """Invite yourself to enrol a passkey: prints a code that counts once, at the board.

    Whoever has the code enrols a passkey in your name: show it to nobody.
    """
    place = own.place()
    harden()
    with session.client() as client:
        where = next(client.passkey_pages())
        code = code_of(os.urandom(CODE_BYTES))
        life = seconds_of(expires_in) if expires_in else where.invitation_seconds
        held = place.open(session)
        done = client.invite_passkey(_invitation(where, own.person, purpose, code, life, held))
    document = {**done.model_dump(mode="json"), "code": code}
    session.output.record(document, document, _INVITED)
    session.output.note(
        _("Open the board, choose “I have an invitation”, and type the code there.")
    )


def admit(
    session: Session,
    passkey: PasskeyArgument,
    own: Own,
    expires_in: Annotated[str, typer.Option(help="How long it counts, such as 90d.")] = "365d",
) -> None:
    """Admit your approval passkey: what it signs from then on is yours.

    Compare the eight words of its key with those that the board showed when you enrolled it; type
    the last one to sign.
    """
    place, life = own.place(), seconds_of(expires_in)
    harden()
    with session.client() as client:
        where, found = next(client.passkey_pages()), find(client, passkey)
        _check_admissible(found, own.person)
        _note(session, where, found)
        ask_last_word(
            own.person,
            key_sha256(found),
            _("If the board showed these words, type the last of the eight:"),
            hint="if the words differ, sign nothing and tell the security officers",
        )
        held = place.open(session)
        token = _admission(where, found, life, held)
        done = client.admit_passkey(found.credential, token)
    show_passkey(session, done)


def _check_admissible(found: "PasskeyOut", person: str) -> None:
    """Raise what the service would answer, before anybody reads and types."""
    if found.purpose is not Purpose.APPROVAL:
        raise StateNotAllowed(
            "a passkey to sign in with approves nothing", hint="enrol one for approvals"
        )
    if found.revoked is not None:
        raise StateNotAllowed("the passkey is revoked", hint="enrol another one")
    if found.person != person:
        raise StateNotAllowed("the passkey is somebody else's", hint="admit your own")


def _invitation(
    where: "PasskeyPage",
    person: str,
    purpose: Purpose,
    code: str,
    life: int,
    held: "HeldCredential",
) -> str:
    from kms.statements.canonical import digest  # noqa: PLC0415 -- heavy
    from kms.statements.passkeys import Invitation, sign_invitation  # noqa: PLC0415 -- heavy

    now, sha256 = int(time.time()), digest(plain_code(code).encode())
    wanted = Invitation(where.site, person, purpose, sha256, now, now + life)
    return sign_invitation(wanted, held.credential.kid, held.signer)


def _admission(where: "PasskeyPage", found: "PasskeyOut", life: int, held: "HeldCredential") -> str:
    from kms.statements.passkeys import Admission, sign_admission  # noqa: PLC0415 -- heavy

    now = int(time.time())
    wanted = Admission(
        site=where.site,
        person=found.person,
        credential=found.credential,
        spki=found.spki,
        rp_id=where.rp_id,
        origin=where.origin,
        issued=now,
        expires=now + life,
    )
    return sign_admission(wanted, held.credential.kid, held.signer)


def _note(session: Session, where: "PasskeyPage", found: "PasskeyOut") -> None:
    """Show what is signed."""
    lines = (
        (_("Person"), found.person),
        (_("Passkey"), f"{found.name} ({found.credential})"),
        (_("Enrolled"), found.enrolled),
        (_("Board"), where.origin),
        (_("It answers at"), where.rp_id),
        (_("Signed now"), moment(int(time.time()))),
    )
    for name, value in lines:
        session.output.to_sign(f"{name}: {value}")
    session.output.banner(" ".join(words(found)))

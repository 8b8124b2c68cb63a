"""passkey: list, show and revoke passkeys for the board; passkey_sign has what a person signs."""

import typer

from kms.cli import passkey_sign
from kms.cli.inputs import ReasonOption
from kms.cli.passkey_view import PASSKEYS, PasskeyArgument, document_of, find, show_passkey, words
from kms.cli.register import group, register
from kms.cli.session import Session
from kms.i18n import _


def add(app: typer.Typer) -> None:
    """Add the commands."""
    passkeys = group("Passkeys: how people sign in to the board, and approve there.")
    passkey_sign.add(passkeys)
    register(passkeys, "list", list_passkeys)
    register(passkeys, "show", show)
    register(passkeys, "revoke", revoke)
    app.add_typer(passkeys, name="passkey")


def list_passkeys(session: Session) -> None:
    """List passkeys by enrolment, revoked ones too."""
    with session.client() as client:
        found = [one for page in client.passkey_pages() for one in page.items]
    items = list(map(document_of, found))
    session.output.table({"items": items}, items, PASSKEYS, empty=_("There is no passkey."))


def show(session: Session, passkey: PasskeyArgument) -> None:
    """Show a passkey, and the eight words of its key's digest."""
    with session.client() as client:
        found = find(client, passkey)
    show_passkey(session, found)
    session.output.banner(" ".join(words(found)))


def revoke(session: Session, passkey: PasskeyArgument, reason: ReasonOption) -> None:
    """Revoke a passkey at once and for ever: any officer may, and its own person."""
    with session.client() as client:
        found = find(client, passkey)
        done = client.revoke_passkey(found.credential, reason)
    show_passkey(session, done)

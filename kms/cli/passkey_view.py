"""Shows passkeys, and finds them by number or id; words are computed here, from the key itself."""

import hashlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kms.cli.output import Column, word
from kms.cli.session import Session
from kms.errors import NotFound

if TYPE_CHECKING:
    from kms.client.api import Client
    from kms.wire.passkeys import PasskeyOut

PASSKEYS = (
    Column("Passkey", "leaf"),
    Column("Person", "person"),
    Column("Purpose", "purpose", word),
    Column("Name", "name"),
    Column("Enrolled", "enrolled"),
    Column("Admitted until", "expires"),
    Column("Revoked", "revoked"),
)
_DETAIL = (*PASSKEYS, Column("Id", "credential"), Column("Key's digest", "sha256_hex"))
PasskeyArgument = Annotated[
    str, typer.Argument(help="The passkey's number, as the list has it, or its id.")
]


def find(client: "Client", passkey: str) -> "PasskeyOut":
    """Return a passkey by its number in the list, or by its id; raise NotFound."""
    if not passkey.isdecimal():
        return client.passkey(passkey)
    for page in client.passkey_pages():
        for one in page.items:
            if one.leaf == int(passkey):
                return one
    raise NotFound("there is no such passkey", hint="conclave passkey list names them")


def words(found: "PasskeyOut") -> tuple[str, ...]:
    """Return the eight words of the digest of a passkey's key."""
    from kms.ceremonies.people.words import digest_words  # noqa: PLC0415 -- heavy

    return digest_words(key_sha256(found))


def key_sha256(found: "PasskeyOut") -> bytes:
    """Return the digest of a passkey's key, computed here: it is what will be signed for."""
    from kms.statements.canonical import unb64u  # noqa: PLC0415 -- heavy

    return hashlib.sha256(unb64u(found.spki)).digest()


def document_of(found: "PasskeyOut") -> dict[str, Any]:
    """Return a passkey as JSON, its key's digest also as people see it."""
    return {**found.model_dump(mode="json"), "sha256_hex": key_sha256(found).hex()}


def show_passkey(session: Session, found: "PasskeyOut") -> None:
    """Show one passkey."""
    document = document_of(found)
    session.output.record(document, document, _DETAIL)

"""envelope, key-list: fetch what the service serves, open it offline. Never prints a key."""

import base64
import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kms.cli.inputs import (
    MeetingArgument,
    SpaceArgument,
    read_private_key,
    read_root,
    read_text,
)
from kms.cli.output import Column, moment, word, yes_no
from kms.cli.register import group, register
from kms.cli.session import Session
from kms.errors import EnvelopeRefused, InvalidInput
from kms.i18n import _

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kms.client.keys import EnvelopeOpener, EpochKey
    from kms.statements.manifest import ManifestRecipient
    from kms.wire.replies import EnvelopeOut

_FETCHED = (
    Column("Space", "space"),
    Column("Meeting", "meeting"),
    Column("Epoch", "epoch"),
    Column("Recipient", "recipient"),
    Column("Saved as", "file"),
)
_READERS = (
    Column("Kind", "kind", word),
    Column("Recipient", "id"),
    Column("Version", "version"),
    Column("Sends as", "sender"),
    Column("You", "you", yes_no),
)


class WrapAlg(StrEnum):
    """The wrapping algorithms of RFC 7518, section 4.3."""

    OAEP_SHA256 = "RSA-OAEP-256"
    OAEP_SHA1 = "RSA-OAEP"


OutOption = Annotated[Path | None, typer.Option(help="New file to write instead of stdout.")]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    envelopes = group("Wrapped keys: fetch them, open them offline.")
    register(envelopes, "fetch", fetch)
    register(envelopes, "open", open_envelope)
    app.add_typer(envelopes, name="envelope")
    register(app, "key-list", key_list)


def fetch(
    session: Session,
    space: SpaceArgument,
    meeting: MeetingArgument,
    recipient: Annotated[str, typer.Argument(help="Whose envelope: the recipient's id.")],
    epoch: Annotated[
        int | None, typer.Option(help="The epoch's number; without it the present one.")
    ] = None,
    assertion: Annotated[
        Path | None,
        typer.Option(help="File of the assertion for a confidential meeting; - reads stdin."),
    ] = None,
    out: OutOption = None,
) -> None:
    """Fetch your own envelope, or one to relay to a device of the roster."""
    said = None if assertion is None else read_text(assertion)
    with session.client() as client:
        served = client.envelope(space, meeting, recipient, epoch=epoch, assertion=said)
    document = served.model_dump_json()
    if out is None:
        session.output.document(served.model_dump(mode="json"), document)
        return
    write_new(out, document + "\n")
    fields = served.model_dump(mode="json", exclude={"manifest", "blob"}) | {"file": str(out)}
    session.output.record(fields, fields, _FETCHED)


def key_list(session: Session, out: OutOption = None) -> None:
    """Get the site's signed list of signing keys, which opening an envelope needs."""
    with session.client() as client:
        token = client.key_list().key_list
    if out is None:
        session.output.document({"key_list": token}, token)
        return
    write_new(out, token + "\n")
    session.output.record({"file": str(out)}, {"file": str(out)}, (Column("Saved as", "file"),))


def open_envelope(
    session: Session,
    file: Annotated[
        Path, typer.Argument(help="The envelope as fetched or recovered; - reads stdin.")
    ],
    key: Annotated[Path, typer.Option(help="The recipient's private key (PEM).")],
    key_list: Annotated[Path, typer.Option(help="The site's signed key list.")],
    site_root: Annotated[Path, typer.Option(help="The pinned public key of the site (PEM).")],
    wrap_alg: Annotated[
        WrapAlg, typer.Option(help="The only wrapping algorithm to accept.")
    ] = WrapAlg.OAEP_SHA256,
    password_fd: Annotated[
        int | None, typer.Option(help="File descriptor that holds the private key's password.")
    ] = None,
    recovered: Annotated[
        bool, typer.Option("--recovered", help="The file comes from a recovery ceremony.")
    ] = False,
) -> None:
    """Open an envelope offline, say who else can read it, and forget the key."""
    from kms.client.keys import EnvelopeOpener, SiteTrust  # noqa: PLC0415 -- heavy
    from kms.statements.keylist import verify_keylist  # noqa: PLC0415 -- heavy

    root, token = read_root(site_root), read_text(key_list)
    trust = SiteTrust(verify_keylist(token, root).iss, root, token)
    private = read_private_key(key, _read_password(password_fd))
    opener = EnvelopeOpener(trust, private, wrap_alg.value)
    opened, readers = _open(opener, read_text(file).encode(), recovered=recovered)
    _show_opened(session, opened, readers, opener.recipient)


def _open(
    opener: "EnvelopeOpener", data: bytes, *, recovered: bool
) -> "tuple[EpochKey, tuple[ManifestRecipient, ...]]":
    """Open an envelope; the hint is the same for every cause of a refusal."""
    from kms.statements.recovered import decode_recovered  # noqa: PLC0415 -- heavy

    try:
        if recovered:
            found = decode_recovered(data)
            opened = opener.open_recovered(found)
            return opened, opener.trust.readers(found.manifest, found.addenda, found.space)
        served = _served(data)
        opened = opener.open(
            served.manifest,
            base64.b64decode(served.blob),
            space=served.space,
            meeting=served.meeting,
            epoch=served.epoch,
        )
        return opened, opener.trust.readers(served.manifest, served.addenda, served.space)
    except EnvelopeRefused as error:
        raise EnvelopeRefused(
            error.message,
            hint="an HSM that only does SHA-1 in OAEP needs --wrap-alg RSA-OAEP",
        ) from None


def _served(data: bytes) -> "EnvelopeOut":
    from kms.wire.parsing import parse  # noqa: PLC0415 -- heavy
    from kms.wire.replies import EnvelopeOut  # noqa: PLC0415 -- heavy

    return parse(data, EnvelopeOut)


def _read_password(descriptor: int | None) -> bytes | None:
    if descriptor is None:
        return None
    try:
        with os.fdopen(descriptor, "rb") as file:
            return file.read(1024).rstrip(b"\r\n")
    except (OSError, ValueError):
        raise InvalidInput("the password descriptor cannot be read") from None


def _show_opened(
    session: Session,
    opened: "EpochKey",
    named: "Sequence[ManifestRecipient]",
    recipient: str,
) -> None:
    manifest = opened.manifest
    readers = [
        {
            "kind": one.kind.value,
            "id": one.id,
            "version": one.version,
            "sender": None if one.sender < 0 else one.sender,
            "you": one.id == recipient,
        }
        for one in named
    ]
    document = {
        "commitment_holds": True,
        "site": manifest.iss,
        "subject": manifest.sub,
        "release_class": manifest.release_class.value,
        "wrap_alg": manifest.wrap_alg,
        "not_before": moment(manifest.nbf),
        "expires": moment(manifest.exp),
        "readers": readers,
    }
    session.output.note(
        _("The envelope opens: manifest signed by {site}, commitment holds.").format(
            site=manifest.iss
        )
    )
    session.output.note(
        _("Epoch {subject}, in force from {start} to {end} at most. Readers:").format(
            subject=manifest.sub, start=document["not_before"], end=document["expires"]
        )
    )
    session.output.table(document, readers, _READERS)


def write_new(path: Path, text: str) -> None:
    """Write a new file (mode 0600); raise FileExistsError."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)

"""What a certificate of erasure says of a disk, in words, fields and on paper."""

from typing import Any

import msgspec

from kms.cli.output import Column, moment
from kms.documents.paper import Heading, Paper, Paragraph, SignatureLines, Table
from kms.i18n import _
from kms.statements.canonical import unb64u
from kms.statements.erasure import ErasureCertificate, Slots

FIELDS = (
    Column("Site", "iss"),
    Column("Space", "space"),
    Column("Disk", "disk"),
    Column("Serial", "serial"),
    Column("Label", "label"),
    Column("Erased", "erased_at"),
    Column("How", "how"),
    Column("On the device", "device"),
    Column("Executed by", "executor"),
    Column("Requested by", "requester"),
    Column("Approved by", "approvers"),
    Column("Request", "request"),
    Column("SHA-256 of the request", "digest_hex"),
    Column("What could still open it", "remains"),
)


def document(found: ErasureCertificate) -> dict[str, Any]:
    """Return a certificate as JSON: as it was signed, times in whole seconds, and the request's
    digest as people saw it when they signed that.
    """
    return {**msgspec.to_builtins(found), "digest_hex": _digest(found)}


def row(found: ErasureCertificate) -> dict[str, Any]:
    """Return a certificate's fields in the present language."""
    return {
        **document(found),
        "erased_at": moment(found.erased),
        "how": method(found),
        "device": device(found),
        "approvers": ", ".join(found.supervisors),
        "remains": remains(found),
    }


def method(found: ErasureCertificate) -> str:
    """Return how the disk's keys were destroyed."""
    text = _(
        "Crypto-erase: every version of the disk's KEK ({count}) was destroyed in the HSM, and the "
        "slot key under it was erased from the store."
    )
    return text.format(count=found.keks)


def device(found: ErasureCertificate) -> str:
    """Return what became of the key slots on the device."""
    if found.slots is Slots.ERASED:
        return _(
            "The key slots are overwritten; no key in the HSM or the store opens the device or a "
            "copy of its header."
        )
    return _("The device was not there: nothing on it was overwritten.")


def remains(found: ErasureCertificate) -> str:
    """Return what could still open a copy of the device's header, and until when."""
    if not found.escrow:
        return _("Nothing: no recovery key was ever put under escrow.")
    text = _(
        "A header that was copied before, together with an old backup of the service, by a quorum "
        "of escrow generation {generation}, until that is destroyed."
    )
    return text.format(generation=found.escrow)


def paper(found: ErasureCertificate, banner: str = "") -> Paper:
    """Return the printed form in the present language, under the site's banner if it has one."""
    return Paper(
        title=_("Certificate of erasure"),
        kind=found.iss,
        footer=f"{found.iss} · {found.request}",
        framed=True,
        blocks=(
            *((Paragraph(banner, grave=True),) if banner else ()),
            Table((), _facts(found), (1, 3)),
            Heading(1, _("How")),
            Paragraph(method(found)),
            Paragraph(device(found)),
            Heading(1, _("What could still open it")),
            Paragraph(remains(found)),
            Heading(1, _("Signatures")),
            SignatureLines((found.requester, *found.supervisors), _("Date")),
        ),
    )


def _facts(found: ErasureCertificate) -> tuple[tuple[str, str], ...]:
    return (
        (_("Space"), f"`{found.space}`"),
        (_("Disk"), f"`{found.disk}`"),
        (_("Serial"), f"`{found.serial}`"),
        (_("Label"), found.label),
        (_("Erased"), moment(found.erased)),
        (_("Executed by"), found.executor),
        (_("Requested by"), found.requester),
        (_("Approved by"), ", ".join(found.supervisors)),
        (_("Request"), f"`{found.request}`"),
        (_("SHA-256 of the request"), f"`{_digest(found)}`"),
        (_("Issued"), moment(found.issued)),
    )


def _digest(found: ErasureCertificate) -> str:
    return unb64u(found.digest).hex()

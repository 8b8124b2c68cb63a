"""What a destruction certificate says, in words, fields and on paper."""

from typing import Any

import msgspec

from kms.cli.output import Column, moment, word
from kms.documents.paper import Heading, Paper, Paragraph, SignatureLines, Table
from kms.domain.models import RecipientKind
from kms.i18n import _
from kms.statements.canonical import unb64u
from kms.statements.destruction import DestructionCertificate, WrappedUnder

FIELDS = (
    Column("Site", "iss"),
    Column("Space", "space"),
    Column("Meeting", "meeting"),
    Column("Epochs destroyed", "epochs"),
    Column("Destroyed", "destroyed"),
    Column("How", "how"),
    Column("Executed by", "executor"),
    Column("Requested by", "requester"),
    Column("Approved by", "supervisors"),
    Column("Request", "request"),
    Column("SHA-256 of the request", "digest_hex"),
    Column("Older backups", "backups"),
)


def document(found: DestructionCertificate) -> dict[str, Any]:
    """Return a certificate as JSON: as it was signed, times in whole seconds, and the request's
    digest as people saw it when they signed that.
    """
    return {**msgspec.to_builtins(found), "digest_hex": _digest(found)}


def row(found: DestructionCertificate) -> dict[str, Any]:
    """Return a certificate's fields in the present language."""
    return {
        **document(found),
        "epochs": spans([key.epoch for key in found.keys]),
        "destroyed": moment(found.destroyed),
        "how": method(),
        "supervisors": ", ".join(found.supervisors),
        "backups": " ".join(backups(found)),
    }


def method() -> str:
    """Return how keys are destroyed."""
    return _(
        "Crypto-shredding: the HSM kept no copy of the keys, which existed only as envelopes; "
        "every envelope was erased, those of vault and escrow included."
    )


def backups(found: DestructionCertificate) -> tuple[str, str, str]:
    """Return what an older backup still allows, what closes it and by when, and what cannot."""
    keepers = ", ".join(map(keeper, found.keepers))
    if found.closed_by:
        due = _("By the space's policy the vault key is due to be replaced by {date}.").format(
            date=moment(found.closed_by)
        )
    else:
        due = _("The space's policy sets no date for replacing the vault key.")
    return (
        _(
            "A backup made before still holds the envelopes. It is closed once these keys are "
            "destroyed, in the HSM's own backups too: {keepers}."
        ).format(keepers=keepers),
        due
        + " "
        + _(
            "An escrow generation ends with the ceremony that makes a new one. The log tells when "
            "each is destroyed (vault.retire, escrow.destroy)."
        ),
        _(
            "Whoever was on the roster could open an envelope with a key of their own; what they "
            "fetched before is beyond this service."
        ),
    )


def keeper(one: WrappedUnder) -> str:
    """Return a keeper's name."""
    if one.kind is RecipientKind.VAULT:
        return _("vault key version {number}").format(number=one.version)
    if one.kind is RecipientKind.PARTNER:
        return _("the partner's vault key version {number}").format(number=one.version)
    return _("escrow generation {number}").format(number=one.version)


def spans(numbers: list[int]) -> str:
    """Return rising numbers, neighbours as spans: ``0-3, 5``."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and found[-1][1] + 1 == number:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in found)


def paper(found: DestructionCertificate, banner: str = "") -> Paper:
    """Return the printed form in the present language, under the site's banner if it has one."""
    return Paper(
        title=_("Certificate of destruction"),
        kind=found.iss,
        footer=f"{found.iss} · {found.request}",
        framed=True,
        blocks=(
            *((Paragraph(banner, grave=True),) if banner else ()),
            Table((), _facts(found), (1, 3)),
            Heading(1, _("How")),
            Paragraph(method()),
            Heading(1, _("Keys destroyed")),
            Table(
                (_("Epoch"), _("Made for"), _("Manifest (SHA-256)"), _("Commitment")),
                tuple(
                    (
                        str(key.epoch),
                        f"{moment(key.activates)} – {moment(key.retires)}",
                        f"`{key.manifest}`",
                        f"`{key.commitment}`",
                    )
                    for key in found.keys
                ),
                (1, 4, 5, 3),
            ),
            Heading(1, _("Keys that they were wrapped under")),
            Table(
                (_("Kind"), _("Version"), _("Id")),
                tuple((word(one.kind), str(one.version), f"`{one.id}`") for one in found.keepers),
                (1, 1, 5),
            ),
            Heading(1, _("Older backups")),
            *map(Paragraph, backups(found)),
            Heading(1, _("Signatures")),
            SignatureLines((found.requester, *found.supervisors), _("Date")),
        ),
    )


def _facts(found: DestructionCertificate) -> tuple[tuple[str, str], ...]:
    return (
        (_("Space"), f"`{found.space}`"),
        (_("Meeting"), f"`{found.meeting}`"),
        (_("Epochs destroyed"), spans([key.epoch for key in found.keys])),
        (_("Destroyed"), moment(found.destroyed)),
        (_("Executed by"), found.executor),
        (_("Requested by"), found.requester),
        (_("Approved by"), ", ".join(found.supervisors)),
        (_("Request"), f"`{found.request}`"),
        (_("SHA-256 of the request"), f"`{_digest(found)}`"),
        (_("Issued"), moment(found.issued)),
    )


def _digest(found: DestructionCertificate) -> str:
    return unb64u(found.digest).hex()

"""CKA_LABEL of every object that the service owns: what may be written on a token, and how.

Anything else found on a token is not ours and is ignored; what is trusted also has CKA_TRUSTED.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from kms.domain.ids import parse_disk
from kms.domain.models import ReleaseClass
from kms.errors import InvalidInput


class Kind(StrEnum):
    """What an object is for: the first part of its label."""

    VAULT = "vault"
    ESCROW = "escrow"
    SERVER = "server"
    RECORDER = "recorder"
    PARTNER = "partner"
    ROSTER_AUTHORITY = "roster-authority"
    DEVICE_ANCHOR = "device-anchor"
    MANIFEST = "manifest"
    ROW_MAC = "row-mac"
    SITE_ROOT = "site-root"
    CHECKPOINT = "checkpoint"
    CHECKPOINT_STATE = "checkpoint-state"
    APPROVAL = "approval"
    DISK_KEK = "disk-kek"
    DISK_ESCROW = "disk-escrow"


NAMED = frozenset({Kind.SERVER, Kind.RECORDER, Kind.ROSTER_AUTHORITY, Kind.DEVICE_ANCHOR})
"""Kinds told apart by a name; the others by a number from 1 (``partner`` and ``disk-kek`` by both,
``checkpoint-state`` by nothing).
"""

_NOT_NUMBERED = frozenset({Kind.PARTNER, Kind.DISK_KEK, Kind.CHECKPOINT_STATE})
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}", re.ASCII)
_NUMBER = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Label:
    """A label: ``kind/number``, ``kind/name``, ``vault/number/class``, ``partner/space/number``,
    ``disk-kek/disk/number`` or ``checkpoint-state``.

    A vault's public key so names the space's release class; a partner is another space's vault.
    """

    kind: Kind
    number: int = 0
    name: str = ""
    release_class: ReleaseClass | None = None

    def __str__(self) -> str:
        number = str(self.number) if self.number else ""
        release_class = self.release_class.value if self.release_class else ""
        parts = (self.kind.value, self.name, number, release_class)
        return "/".join(part for part in parts if part)


def named(kind: Kind, name: str) -> Label:
    """Return the label of a named kind; raise InvalidInput unless the name is a slug."""
    if kind not in NAMED or not _NAME.fullmatch(name):
        raise InvalidInput("a name has 1 to 32 of a-z, 0-9, - and does not start with -")
    return Label(kind, name=name)


def numbered(kind: Kind, number: int) -> Label:
    """Return the label of a numbered kind; raise InvalidInput."""
    if kind in NAMED | _NOT_NUMBERED or not _NUMBER.fullmatch(str(number)):
        raise InvalidInput("versions and generations count from 1")
    return Label(kind, number=number)


def vault_public(version: int, release_class: ReleaseClass) -> Label:
    """Return the label of a vault's public key."""
    return Label(
        Kind.VAULT, number=numbered(Kind.VAULT, version).number, release_class=release_class
    )


def partner(space: str, version: int) -> Label:
    """Return the label of another space's vault key; raise InvalidInput."""
    if not _NAME.fullmatch(space):
        raise InvalidInput("a partner is named by its space")
    return Label(Kind.PARTNER, number=numbered(Kind.VAULT, version).number, name=space)


def disk_kek(disk: str, version: int) -> Label:
    """Return the label of a version of a disk's KEK; raise InvalidInput."""
    number = numbered(Kind.VAULT, version).number
    return Label(Kind.DISK_KEK, number=number, name=parse_disk(disk))


def parse_label(text: str) -> Label:
    """Return the label; raise InvalidInput for any other spelling."""
    head, *rest = text.split("/")
    try:
        label = _parse(Kind(head), rest)
    except ValueError as error:
        raise InvalidInput("not a label of this service") from error
    if str(label) != text:
        raise InvalidInput("not a label of this service")
    return label


def _parse(kind: Kind, rest: list[str]) -> Label:
    match rest:
        case [] if kind is Kind.CHECKPOINT_STATE:
            return Label(kind)
        case [name] if kind in NAMED:
            return named(kind, name)
        case [number]:
            return numbered(kind, int(number))
        case [name, number] if kind is Kind.PARTNER:
            return partner(name, int(number))
        case [disk, number] if kind is Kind.DISK_KEK:
            return disk_kek(disk, int(number))
        case [number, release_class] if kind is Kind.VAULT:
            return vault_public(int(number), ReleaseClass(release_class))
        case _:
            raise InvalidInput("not a label of this service")

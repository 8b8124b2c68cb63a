"""What ceremony steps need from outside: tokens under ceremony, people, files, records."""

from kms.ceremonies.ports.people import (
    Files,
    People,
    PinBox,
    Share,
    ShareCard,
    SharedSecret,
    ShareGroup,
)
from kms.ceremonies.ports.records import (
    Entry,
    Issue,
    Issued,
    Records,
)
from kms.ceremonies.ports.token import (
    CeremonyToken,
    EscrowOpener,
    EscrowPair,
    RewrapItem,
    SigningUse,
    VaultOpener,
)

__all__ = [
    "CeremonyToken",
    "Entry",
    "EscrowOpener",
    "EscrowPair",
    "Files",
    "Issue",
    "Issued",
    "People",
    "PinBox",
    "Records",
    "RewrapItem",
    "Share",
    "ShareCard",
    "ShareGroup",
    "SharedSecret",
    "SigningUse",
    "VaultOpener",
]

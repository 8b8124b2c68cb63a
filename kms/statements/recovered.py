"""What a recovery delivers: one epoch's key, wrapped for the recipient that the order names, or a
disk's recovery key, sealed to the appliance that it names.
"""

from dataclasses import dataclass

from kms.errors import InvalidInput
from kms.statements.canonical import decode_record, encode_record, unb64u


@dataclass(frozen=True, slots=True)
class Recovered:
    """One recovered envelope; ``ceremony`` recovered it from escrow ``generation``.

    ``sealed`` is the blob (base64url). The manifest and its addenda are the epoch's own (JWS).
    """

    ceremony: str
    space: str
    meeting: str
    epoch: int
    generation: int
    recipient: str
    manifest: str
    addenda: tuple[str, ...]
    sealed: str

    @property
    def blob(self) -> bytes:
        """The key as it was wrapped; raise InvalidInput."""
        return unb64u(self.sealed)


def encode_recovered(found: Recovered) -> bytes:
    """Return the file's bytes: canonical JSON."""
    return encode_record(found)


def decode_recovered(data: bytes) -> Recovered:
    """Return a recovered envelope; raise InvalidInput."""
    try:
        return decode_record(data.strip(), Recovered)
    except InvalidInput as error:
        raise InvalidInput("the file is not a recovered envelope") from error


@dataclass(frozen=True, slots=True)
class RecoveredDisk:
    """A disk's recovery key; ``ceremony`` recovered it from escrow ``generation``.

    ``appliance`` is the X25519 key (base64url) that ``sealed`` is for: HPKE as in
    statements/diskkeys.py (base64url).
    """

    ceremony: str
    space: str
    disk: str
    generation: int
    appliance: str
    sealed: str


def encode_recovered_disk(found: RecoveredDisk) -> bytes:
    """Return the file's bytes: canonical JSON."""
    return encode_record(found)


def decode_recovered_disk(data: bytes) -> RecoveredDisk:
    """Return a recovered disk key; raise InvalidInput."""
    try:
        return decode_record(data.strip(), RecoveredDisk)
    except InvalidInput as error:
        raise InvalidInput("the file is not a recovered disk key") from error

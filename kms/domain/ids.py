"""Names: parsed once at the edge, plain strings inside."""

import re
from typing import NewType

from kms.errors import InvalidInput

SpaceName = NewType("SpaceName", str)
MeetingId = NewType("MeetingId", str)
RecipientId = NewType("RecipientId", str)
DiskId = NewType("DiskId", str)

MAX_EPOCH = 2**31 - 1

_SPACE = re.compile(r"[a-z][a-z0-9-]{1,31}", re.ASCII)
_SERIAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,63}", re.ASCII)
_MOUNT = re.compile(r"[a-z0-9][a-z0-9-]{0,31}", re.ASCII)
_RECIPIENT = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_UUID7 = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII
)


def parse_space(text: str) -> SpaceName:
    """Return a space's slug; raise InvalidInput."""
    if not _SPACE.fullmatch(text):
        raise InvalidInput("a space is named by a slug: a letter, then 1 to 31 of a-z, 0-9, -")
    return SpaceName(text)


def parse_meeting(text: str) -> MeetingId:
    """Return a meeting's UUIDv7 in canonical form (RFC 9562, section 5.7); raise InvalidInput."""
    if not _UUID7.fullmatch(text):
        raise InvalidInput("a meeting is named by a UUIDv7 in lower case with dashes")
    return MeetingId(text)


def parse_request_id(text: str) -> str:
    """Return the UUIDv7 of a request for approval in canonical form; raise InvalidInput."""
    if not _UUID7.fullmatch(text):
        raise InvalidInput("a request is named by a UUIDv7 in lower case with dashes")
    return text


def parse_recipient(text: str) -> RecipientId:
    """Return a recipient's SPKI SHA-256 in base64url without padding; raise InvalidInput."""
    if not _RECIPIENT.fullmatch(text):
        raise InvalidInput("a recipient is named by the base64url SHA-256 of its public key")
    return RecipientId(text)


def parse_epoch(number: int) -> int:
    """Return an epoch's number; raise InvalidInput."""
    if not 0 <= number <= MAX_EPOCH:
        raise InvalidInput("an epoch is a number from 0")
    return number


def parse_disk(text: str) -> DiskId:
    """Return a disk's UUIDv7 in canonical form, which is its LUKS UUID too; raise InvalidInput."""
    if not _UUID7.fullmatch(text):
        raise InvalidInput("a disk is named by a UUIDv7 in lower case with dashes")
    return DiskId(text)


def parse_order(text: str) -> str:
    """Return the UUIDv7 of an order to the appliance in canonical form; raise InvalidInput."""
    if not _UUID7.fullmatch(text):
        raise InvalidInput("an order is named by a UUIDv7 in lower case with dashes")
    return text


def parse_serial(text: str) -> str:
    """Return a device's serial number; raise InvalidInput for one that cannot be a name."""
    if not _SERIAL.fullmatch(text):
        raise InvalidInput("a serial number has 1 to 64 of A-Z, a-z, 0-9, . _ : + -")
    return text


def parse_mount_name(text: str) -> str:
    """Return the name of a mount point, which is no path; raise InvalidInput."""
    if not _MOUNT.fullmatch(text):
        raise InvalidInput("a mount point is named by 1 to 32 of a-z, 0-9, -")
    return text

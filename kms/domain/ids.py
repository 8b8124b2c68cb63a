"""Names: parsed once at the edge, plain strings inside."""

import re
from typing import NewType

from kms.errors import InvalidInput

SpaceName = NewType("SpaceName", str)
MeetingId = NewType("MeetingId", str)
RecipientId = NewType("RecipientId", str)

MAX_EPOCH = 2**31 - 1

_SPACE = re.compile(r"[a-z][a-z0-9-]{1,31}", re.ASCII)
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

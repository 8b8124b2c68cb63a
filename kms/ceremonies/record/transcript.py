"""Transcripts: what a ceremony was asked to do, who approved it, and every step that was done.

One canonical JSON (RFC 8785), chained to the transcript before it, signed by everybody who took
part as a DSSE envelope. Nothing in it is secret.
"""

from enum import StrEnum
from typing import Annotated, Literal

import msgspec

from kms.ceremonies.record.entries import Entry
from kms.ceremonies.room import SiteBinding
from kms.domain.people import Register
from kms.errors import InvalidInput, VerificationFailed
from kms.statements.approval import ApprovalRequest
from kms.statements.canonical import decode_record, encode_record
from kms.statements.dsse import decode_envelope

PAYLOAD_TYPE = "application/vnd.conclave.transcript+json"


class Result(StrEnum):
    """How a ceremony ended. ``aborted``: it was undone, as if it had not been."""

    SUCCEEDED = "succeeded"
    ABORTED = "aborted"


class Transcript(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A ceremony's transcript.

    ``previous`` is the SHA-256 (base64url) of the payload numbered one less, empty for number 1.
    ``plan`` is the plan file's text. ``register`` is the JWS of the register of people that the
    ceremony began under; a site's first has none, but the register that it ``founded``.
    ``approvals`` maps people to their JWS. Times in whole seconds.
    """

    version: Literal[1] = 1
    site: str
    sequence: Annotated[int, msgspec.Meta(ge=1)]
    previous: str
    ceremony: str
    kind: str
    plan: str
    plan_sha256: str
    binding: SiteBinding
    register: str
    founded: Register | None
    request: ApprovalRequest
    approvals: dict[str, str]
    entries: tuple[Entry, ...]
    result: Result
    begun: int
    ended: int


def encode_transcript(transcript: Transcript) -> bytes:
    """Return the canonical payload that people sign."""
    return encode_record(transcript)


def decode_transcript(payload: bytes) -> Transcript:
    """Return the transcript; raise VerificationFailed unless it is exactly its canonical form."""
    try:
        return decode_record(payload, Transcript)
    except InvalidInput as error:
        raise VerificationFailed(f"not a transcript: {error.message}") from error


def read_unverified(envelope: bytes) -> Transcript:
    """Return what an envelope says WITHOUT checking its signatures: to find the register or the
    site root that it is to be verified with. Raise VerificationFailed.
    """
    return decode_transcript(decode_envelope(envelope, PAYLOAD_TYPE)[0])

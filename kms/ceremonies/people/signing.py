"""What a person signs, in a program of their own: first the approval, afterwards the transcript.

It reads the folder with a stranger's eyes: what does not fit the plan is not signed.
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from kms.ceremonies.plan import Plan
from kms.ceremonies.record.folder import Folder
from kms.ceremonies.record.transcript import PAYLOAD_TYPE, Transcript, decode_transcript
from kms.errors import AlreadyExists, Forbidden, StateNotAllowed, VerificationFailed
from kms.statements.approval import Approval, sign_approval
from kms.statements.canonical import digest, encode_record
from kms.statements.dsse import signing_digest
from kms.statements.jws import RawSigner


class What(StrEnum):
    """What is signed."""

    APPROVAL = "approval"
    TRANSCRIPT = "transcript"


@dataclass(frozen=True, slots=True)
class Due:
    """What a person has to sign now: the request, or the transcript's payload."""

    what: What
    payload: bytes
    plan: Plan
    transcript: Transcript | None = None

    @property
    def sha256(self) -> bytes:
        """The digest that people compare."""
        return hashlib.sha256(self.payload).digest()


def due(folder: Path, person: str) -> Due:
    """Return what is due; raise Forbidden for people off the roster, AlreadyExists if everything
    is signed that can be, StateNotAllowed if it is too late, VerificationFailed.
    """
    return _due(Folder(folder), person)


def sign_into(
    folder: Path,
    person: str,
    credential_kid: str,
    signer: RawSigner,
    now: int,
    shown: bytes | None = None,
) -> Path:
    """Sign what is due and write it into the folder; return its file. Raise as ``due`` does.

    ``shown`` is the SHA-256 that the person has agreed to: anything else is not signed.
    """
    place = Folder(folder)
    wanted = _due(place, person)
    if shown is not None and shown != wanted.sha256:
        raise VerificationFailed("what is to be signed changed after it was shown")
    if wanted.what is What.APPROVAL:
        approval = Approval(digest(wanted.payload), person, now)
        return place.add_approval(person, sign_approval(approval, credential_kid, signer))
    signature = signer(signing_digest(wanted.payload, PAYLOAD_TYPE))
    return place.add_signature(person, credential_kid, signature)


def _due(folder: Folder, person: str) -> Due:
    plan, request, payload = folder.plan(), folder.request(), folder.payload()
    if person not in request.roster:
        raise Forbidden(f"{person} does not take part in this ceremony")
    if payload is not None:
        return _due_transcript(folder, plan, payload, person)
    if person in folder.approvals():
        raise AlreadyExists(
            f"{person} has approved", hint="sign the transcript when the ceremony is over"
        )
    return Due(What.APPROVAL, encode_record(request), plan)


def _due_transcript(folder: Folder, plan: Plan, payload: bytes, person: str) -> Due:
    transcript = decode_transcript(payload)
    if transcript.request != folder.request() or transcript.plan.encode() != plan.raw:
        raise VerificationFailed("the transcript is of another plan or request")
    if person not in transcript.approvals:
        raise StateNotAllowed(f"the ceremony is over; {person} took no part in it")
    if person in folder.signatures():
        raise AlreadyExists(f"{person} has signed the transcript")
    return Due(What.TRANSCRIPT, payload, plan, transcript)

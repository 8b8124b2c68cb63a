"""A ceremony's folder: plan, request, approvals, journal, transcript, signatures.

The programs of its people meet here: each adds files of its own, nobody overwrites one. What lies
here is checked by whoever reads it.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

from kms.ceremonies.plan import MAX_BYTES, Plan, parse_plan
from kms.ceremonies.record.durable import keep, write_new
from kms.ceremonies.record.journal import PLAN, REQUEST
from kms.ceremonies.record.request import check_request
from kms.errors import InvalidInput, NotFound, VerificationFailed
from kms.statements.approval import ApprovalRequest
from kms.statements.canonical import b64u, canonical, decode_record, unb64u

CEREMONIES = "ceremonies"
TRANSCRIPT = "transcript.json"
_PAYLOAD = "transcript.payload.json"
_APPROVALS, _APPROVAL = "approvals", ".jws"
_SIGNATURES, _SIGNATURE = "signatures", ".sig"
_LARGEST = 1 << 16


class Signed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A person's signature of the transcript: the credential's id, and r || s in base64url."""

    kid: str
    signature: str


class Folder:
    """Typed access to one folder; raises NotFound if it is no ceremony's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not (path / REQUEST).is_file():
            raise NotFound(f"{path} is not the folder of a ceremony")

    def plan(self) -> Plan:
        """Return the plan; raise InvalidInput."""
        return parse_plan(_whole(self.path / PLAN))

    def request(self) -> ApprovalRequest:
        """Return the request, checked against the plan; raise VerificationFailed."""
        try:
            request = decode_record(_whole(self.path / REQUEST), ApprovalRequest)
        except InvalidInput as error:
            raise VerificationFailed("the request for approval was altered") from error
        check_request(request, self.plan())
        return request

    def approvals(self) -> dict[str, str]:
        """Return what people handed in as their approvals, by person, not yet checked."""
        found = _files(self.path / _APPROVALS, _APPROVAL)
        return {name: data.decode("ascii", "replace") for name, data in found}

    def add_approval(self, person: str, token: str) -> Path:
        """Write a person's approval; raise AlreadyExists."""
        return self._add(_APPROVALS, person + _APPROVAL, token.encode("ascii"))

    def signatures(self) -> dict[str, tuple[str, bytes]]:
        """Return (credential id, signature) by person, not yet checked; what is not of that form
        is left out.
        """
        found = _files(self.path / _SIGNATURES, _SIGNATURE)
        read = {name: _read_signed(data) for name, data in found}
        return {name: signed for name, signed in read.items() if signed}

    def add_signature(self, person: str, kid: str, signature: bytes) -> Path:
        """Write a person's signature of the transcript; raise AlreadyExists."""
        data = canonical(msgspec.to_builtins(Signed(kid, b64u(signature))))
        return self._add(_SIGNATURES, person + _SIGNATURE, data)

    def payload(self) -> bytes | None:
        """Return the transcript's payload, once the ceremony is over."""
        path = self.path / _PAYLOAD
        return path.read_bytes() if path.exists() else None

    def freeze(self, payload: bytes) -> None:
        """Write the payload that people are to sign; raise AlreadyExists."""
        write_new(self.path / _PAYLOAD, payload)

    def finish(self, envelope: bytes) -> Path:
        """Write the signed transcript, or find it there."""
        path = self.path / TRANSCRIPT
        keep(path, envelope)
        return path

    def _add(self, kind: str, name: str, data: bytes) -> Path:
        path = self.path / kind / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_new(path, data)
        return path


def _whole(path: Path) -> bytes:
    """Return a small plain file, such as one on a stranger's memory stick; raise InvalidInput."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(MAX_BYTES + 1) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
    if data is None or len(data) > MAX_BYTES:
        raise InvalidInput(f"{path} is not a plain file of at most {MAX_BYTES} bytes")
    return data


def _files(folder: Path, suffix: str) -> Iterator[tuple[str, bytes]]:
    """Yield name and head of each plain file; what is too large has a head that is not valid."""
    for path in sorted(folder.glob(f"[!.]*{suffix}")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                yield path.name.removesuffix(suffix), file.read(_LARGEST)


def _read_signed(data: bytes) -> tuple[str, bytes] | None:
    try:
        signed = decode_record(data, Signed)
        return signed.kid, unb64u(signed.signature)
    except InvalidInput:
        return None

"""Who reads an epoch: the recipients of its manifest, and the keepers that addenda name."""

from collections.abc import Iterable
from dataclasses import dataclass

from kms.domain.models import RecipientKind
from kms.errors import IntegrityFailure, InvalidInput, VerificationFailed
from kms.statements import jws
from kms.statements.addendum import check_belongs, peek_addendum
from kms.statements.canonical import decode_record, digest
from kms.statements.manifest import TYP, Manifest, ManifestRecipient


@dataclass(frozen=True, slots=True)
class Readers:
    """An epoch's manifest and everybody who could ever read it."""

    manifest: Manifest
    entries: tuple[ManifestRecipient, ...]

    def entry(self, recipient: str) -> ManifestRecipient | None:
        """Return a recipient's newest entry."""
        return next((one for one in reversed(self.entries) if one.id == recipient), None)

    def of_kind(self, kind: RecipientKind) -> tuple[ManifestRecipient, ...]:
        """Return the entries of one kind, in their order."""
        return tuple(one for one in self.entries if one.kind is kind)

    def check_blob(self, recipient: str, blob: bytes | None) -> bytes:
        """Return the blob; raise IntegrityFailure unless it is the one named for the recipient."""
        entry = self.entry(recipient)
        if entry is None or blob is None or digest(blob) != entry.blob_sha256:
            raise IntegrityFailure(f"{self.manifest.sub} has no sound envelope to open")
        return blob


def peek_readers(token: str, addenda: Iterable[str]) -> Readers:
    """Return the readers WITHOUT checking a signature: where their row's MAC vouches for them.

    Raise IntegrityFailure for what cannot be read or does not belong together.
    """
    try:
        manifest = decode_record(jws.unverified_payload(token, typ=TYP), Manifest)
        found = list(manifest.recipients)
        for extra in addenda:
            told = peek_addendum(extra)
            check_belongs(told, manifest, token)
            found.append(told.recipient)
    except (InvalidInput, VerificationFailed) as error:
        raise IntegrityFailure("an epoch's manifest cannot be read") from error
    return Readers(manifest, tuple(found))

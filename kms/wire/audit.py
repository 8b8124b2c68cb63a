"""The audit log on the wire. Leaves and notes are text whose UTF-8 bytes are what was signed."""

from typing import Annotated

from pydantic import Field, StringConstraints

from kms.domain.states import KeyState
from kms.wire.base import MAX_PAGE, Base64, Count, EpochNumber, Jws, Meeting, Space, Text, Wire

Document = Annotated[str, StringConstraints(max_length=1 << 20)]


class CheckpointOut(Wire):
    """A signed note (C2SP tlog-checkpoint) over the first ``size`` leaves."""

    size: Count
    note: Document


class CheckpointPage(Wire):
    """Checkpoints by size; ``next`` goes into ``after`` for the next page."""

    items: Annotated[tuple[CheckpointOut, ...], Field(max_length=MAX_PAGE)]
    next: Count | None = None


class LeafPage(Wire):
    """Leaves by sequence from ``start``; ``next`` goes into ``start`` for the next page."""

    start: Count
    items: Annotated[tuple[Document, ...], Field(max_length=MAX_PAGE)]
    next: Count | None = None


class SearchPage(Wire):
    """Leaves that were found, newest first; ``next`` goes into ``before`` to look further back,
    also of a page that is not full. Of ``tree_size`` leaves ``indexed`` were looked at, and the
    newest ones while they are few.
    """

    items: Annotated[tuple[Document, ...], Field(max_length=MAX_PAGE)]
    next: Count | None = None
    indexed: Count
    tree_size: Count


class ProofOut(Wire):
    """A leaf and its audit path in the tree of ``size`` leaves (RFC 9162, section 2.1.3)."""

    leaf: Count
    size: Count
    body: Document
    root: Base64
    hashes: Annotated[tuple[Base64, ...], Field(max_length=64)]


class ConsistencyOut(Wire):
    """That the tree of ``new`` leaves extends that of ``old`` (RFC 9162, section 2.1.4)."""

    old: Count
    new: Count
    old_root: Base64
    new_root: Base64
    hashes: Annotated[tuple[Base64, ...], Field(max_length=64)]


class ManifestOut(Wire):
    """An epoch's manifest and its addenda, as evidence."""

    space: Space
    meeting: Meeting
    epoch: EpochNumber
    state: KeyState
    manifest: Jws
    addenda: Annotated[tuple[Jws, ...], Field(max_length=1000)] = ()


class EvidenceRequestOut(Wire):
    """A request that was carried out, its approvals, and the certificate of what it destroyed."""

    space: Annotated[str, StringConstraints(pattern=r"^([a-z][a-z0-9-]{1,31})?$")]
    request: Meeting
    statement: Jws
    approvals: Annotated[tuple[Jws, ...], Field(max_length=256)]
    certificate: Document | None = None


class EvidenceRequestPage(Wire):
    """Executed requests by id; ``next`` goes into ``after`` for the next page."""

    items: Annotated[tuple[EvidenceRequestOut, ...], Field(max_length=MAX_PAGE)]
    next: Text | None = None


class RegisterOut(Wire):
    """One register of people, signed by the site root."""

    number: Count
    statement: Jws


class RegisterList(Wire):
    """Every register of people that was issued."""

    items: tuple[RegisterOut, ...]


class ManifestPage(Wire):
    """Manifests by meeting and epoch; ``next`` goes into ``after`` for the next page."""

    items: Annotated[tuple[ManifestOut, ...], Field(max_length=MAX_PAGE)]
    next: Text | None = None

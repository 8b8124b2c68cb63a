"""Gathers evidence from a service, or from its store, and writes it into a bundle, page by page.

What is gathered ends at a checkpoint, so that nothing in the bundle lies unprotected.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from kms.audit.actions import MINTING, REWRAPPING
from kms.audit.bundle import Evidence, write_bundle
from kms.audit.leaf import Outcome, decode_leaf
from kms.errors import NotFound, VerificationFailed
from kms.statements import jws
from kms.statements.canonical import decode_record, digest
from kms.statements.keylist import TYP, KeyList
from kms.wire.audit import CheckpointOut, EvidenceRequestOut, ManifestOut, RegisterList


class Source(Protocol):
    """Where evidence is read: the API's client, or the store."""

    def checkpoint(self) -> CheckpointOut:
        """Return the newest checkpoint; raise NotFound before the first."""
        ...

    def checkpoints(self) -> Iterator[CheckpointOut]:
        """Yield every checkpoint, by size."""
        ...

    def leaves(self) -> Iterator[str]:
        """Yield the log's leaves."""
        ...

    def manifests(self, space: str) -> Iterable[ManifestOut]:
        """Yield the manifests of a space's epochs."""
        ...

    def evidence_requests(self) -> Iterable[EvidenceRequestOut]:
        """Yield the requests that were carried out."""
        ...

    def registers(self) -> RegisterList:
        """Return every register of people that was issued."""
        ...


def newest_checkpoint(source: Source) -> CheckpointOut:
    """Return the newest checkpoint; raise NotFound before the first."""
    try:
        return source.checkpoint()
    except NotFound as error:
        raise NotFound(
            "the log has no signed checkpoint yet",
            hint="one is signed at a set interval: try again in some seconds",
        ) from error


def gather(
    source: Source, spaces: Sequence[str], token: str, out: Path, progress: Callable[[int], None]
) -> dict[str, Any]:
    """Write the bundle and return what it holds; ``token`` is the key list (JWS). Raise
    AlreadyExists, VerificationFailed.
    """
    reading = _Reading(source, spaces, newest_checkpoint(source).size)
    keys = decode_record(jws.unverified_payload(token, typ=TYP), KeyList)
    evidence = Evidence(
        site=keys.iss,
        exported=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        leaves=reading.leaves(),
        checkpoints=reading.checkpoints(),
        manifests=reading.manifests(),
        key_lists=[(keys.version, token)],
        addenda=reading.addenda(),
        registers=reading.registers(),
        requests=reading.requests(),
        approvals=reading.approvals(),
        certificates=reading.certificates(),
    )
    write_bundle(out, evidence, progress)
    return {"file": str(out), "site": keys.iss, **reading.counts}


_MARKS = (b'"manifest"', b'"addenda"', b'"digest"', b'"sha256"', b'"certificate"')
"""A leaf without any of these names nothing that is taken away beside the log."""
_NAMING = {
    "register.change": "sha256",
    "destruction.certify": "certificate",
    "erasure.certify": "certificate",
}
"""Actions whose details name a document by its digest, and where."""


class _Reading:
    """One export of the first ``size`` leaves; the leaves are read before the manifests, and those
    before the addenda.
    """

    def __init__(self, source: Source, spaces: Sequence[str], size: int) -> None:
        self._source, self._spaces, self._size = source, spaces, size
        self._named: set[str] = set()
        self._addenda: dict[str, str] = {}
        self._requests: list[EvidenceRequestOut] = []
        self.counts = {"leaves": size, "checkpoints": 0, "manifests": 0}

    def leaves(self) -> Iterator[bytes]:
        """Yield the leaves and remember which manifests they name."""
        count = 0
        for text in islice(self._source.leaves(), self._size):
            count += 1
            self._remember(text.encode())
            yield text.encode()
        if count < self._size:
            raise VerificationFailed("the log is shorter than its checkpoint says")

    def _remember(self, data: bytes) -> None:
        if not any(mark in data for mark in _MARKS):
            return
        leaf = decode_leaf(data)
        if leaf.outcome is Outcome.SUCCEEDED and leaf.action in _NAMING:
            self._named.add(str(leaf.details[_NAMING[leaf.action]]))
        elif leaf.outcome is Outcome.SUCCEEDED and "digest" in leaf.details:
            self._named.add(str(leaf.details.get("request")))
        if leaf.outcome is Outcome.SUCCEEDED and leaf.action in MINTING:
            self._named.add(str(leaf.details["manifest"]))
        if leaf.action in REWRAPPING:
            self._named.update(leaf.details["addenda"])

    def checkpoints(self) -> Iterator[tuple[int, str]]:
        """Yield the checkpoints of trees that the bundle holds."""
        for one in self._source.checkpoints():
            if one.size <= self._size:
                self.counts["checkpoints"] += 1
                yield one.size, one.note

    def manifests(self) -> Iterator[tuple[str, str, int, str]]:
        """Yield the manifests that the leaves name; newer epochs are left out."""
        for space in self._spaces:
            for one in self._source.manifests(space):
                if digest(one.manifest.encode()) in self._named:
                    self.counts["manifests"] += 1
                    self._addenda |= {digest(extra.encode()): extra for extra in one.addenda}
                    yield one.space, one.meeting, one.epoch, one.manifest

    def addenda(self) -> Iterator[tuple[str, str]]:
        """Yield the addenda of those manifests that the leaves name."""
        named = sorted(self._named.intersection(self._addenda))
        yield from ((sha256, self._addenda[sha256]) for sha256 in named)

    def registers(self) -> Iterator[tuple[str, str]]:
        """Yield the registers of people that the leaves name."""
        found = {digest(one.statement.encode()): one for one in self._source.registers().items}
        named = sorted(self._named.intersection(found))
        yield from ((sha256, found[sha256].statement) for sha256 in named)

    def requests(self) -> Iterator[tuple[str, str, str]]:
        """Yield the requests that the leaves carried out."""
        for one in self._source.evidence_requests():
            if one.request in self._named:
                self._requests.append(one)
                yield one.request, one.space, one.statement

    def approvals(self) -> Iterator[tuple[str, int, str]]:
        """Yield the approvals of those requests."""
        for one in self._requests:
            yield from ((one.request, at, token) for at, token in enumerate(one.approvals))

    def certificates(self) -> Iterator[tuple[str, str]]:
        """Yield the certificates of those requests that the leaves name."""
        for one in self._requests:
            if one.certificate and digest(one.certificate.encode()) in self._named:
                yield one.request, one.certificate

"""The log, as the key API gives it to those who verify it."""

from collections.abc import Iterator

from kms.client.calls import Calls
from kms.wire import (
    audit,
)


class EvidenceReads(Calls):
    """Checkpoints, leaves, proofs and what goes with them."""

    def checkpoint(self) -> audit.CheckpointOut:
        """Return the newest signed checkpoint."""
        return self._to.ask("audit.checkpoint").read(audit.CheckpointOut)

    def checkpoints(self) -> Iterator[audit.CheckpointOut]:
        """Yield signed checkpoints by size, page by page."""
        after: int | None = None
        while True:
            answer = self._to.ask("audit.checkpoints", query={"after": after})
            page = answer.read(audit.CheckpointPage)
            yield from page.items
            if (after := page.next) is None:
                return

    def leaves(self, start: int = 0) -> Iterator[str]:
        """Yield the log's leaves from sequence ``start``, page by page."""
        position: int | None = start
        while position is not None:
            answer = self._to.ask("audit.leaves", query={"start": position})
            page = answer.read(audit.LeafPage)
            yield from page.items
            position = page.next

    def some_leaves(self, start: int, limit: int) -> tuple[str, ...]:
        """Return up to ``limit`` leaves (at most a page) from sequence ``start``."""
        query = {"start": start, "limit": limit}
        return self._to.ask("audit.leaves", query=query).read(audit.LeafPage).items

    def search_leaves(self, before: int | None, limit: int, **wanted: str) -> audit.SearchPage:
        """Return leaves that fit, newest first; ``wanted``: actor, action, space, meeting,
        resource_prefix, outcome, phase, code, recipient, since, until.
        """
        query = {"before": before, "limit": limit, **wanted}
        return self._to.ask("audit.search", query=query).read(audit.SearchPage)

    def proof(self, leaf: int, size: int | None = None) -> audit.ProofOut:
        """Return the proof that a leaf is in the tree of ``size`` leaves."""
        answer = self._to.ask("audit.proof", query={"size": size}, leaf=leaf)
        return answer.read(audit.ProofOut)

    def consistency(self, old: int, new: int | None = None) -> audit.ConsistencyOut:
        """Return the proof that the tree of ``new`` leaves extends that of ``old``."""
        answer = self._to.ask("audit.consistency", query={"old": old, "new": new})
        return answer.read(audit.ConsistencyOut)

    def manifests(self, space: str) -> Iterator[audit.ManifestOut]:
        """Yield the manifests of a space's epochs, page by page."""
        after: str | None = None
        while True:
            answer = self._to.ask("audit.manifests", query={"space": space, "after": after})
            page = answer.read(audit.ManifestPage)
            yield from page.items
            if (after := page.next) is None:
                return

    def evidence_requests(self) -> Iterator[audit.EvidenceRequestOut]:
        """Yield the requests that were carried out, page by page."""
        after: str | None = None
        while True:
            answer = self._to.ask("audit.requests", query={"after": after})
            page = answer.read(audit.EvidenceRequestPage)
            yield from page.items
            if (after := page.next) is None:
                return

    def registers(self) -> audit.RegisterList:
        """Return every register of people that was issued."""
        return self._to.ask("audit.registers").read(audit.RegisterList)

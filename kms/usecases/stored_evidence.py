"""Evidence read from the store, without HSM, PIN or row MACs: all of it is signed, and the log
names its digests. Writes nothing; who may read the files may read this.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

from kms.domain.ids import SpaceName
from kms.errors import NotFound
from kms.ports import Store
from kms.settings import Settings
from kms.usecases.evidence import (
    issued_key_list,
    issued_registers,
    stored_manifests,
    stored_requests,
)
from kms.wire.audit import (
    CheckpointOut,
    EvidenceRequestOut,
    ManifestOut,
    RegisterList,
    RegisterOut,
)
from kms.wire.evidence import manifest_out, request_out

_PAGE = 500
_T = TypeVar("_T")


class StoredEvidence:
    """What ``conclave audit export`` asks of a service, answered from the store."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._state, self._store = settings.paths.state, store

    def checkpoint(self) -> CheckpointOut:
        """Return the newest checkpoint; raise NotFound before the first."""
        found = self._store.last_checkpoint()
        if found is None:
            raise NotFound("the log has no signed checkpoint yet")
        return CheckpointOut(size=found[0], note=found[1])

    def checkpoints(self) -> Iterator[CheckpointOut]:
        """Yield every checkpoint, by size."""
        pages = _pages(lambda last: self._store.checkpoints(last[0] if last else 0, _PAGE))
        return (CheckpointOut(size=size, note=note) for size, note in pages)

    def leaves(self) -> Iterator[str]:
        """Yield the log's leaves."""
        position = 0
        while page := self._store.leaves(position, _PAGE):
            yield from (leaf.decode() for leaf in page)
            position += len(page)

    def key_list(self) -> str:
        """Return the newest key list (JWS); raise ConfigurationError."""
        return issued_key_list(self._state)

    def space_names(self) -> list[str]:
        """Return the name of every space."""
        return [sealed.row.key.partition("/")[2] for sealed in self._store.spaces()]

    def manifests(self, space: str) -> Iterator[ManifestOut]:
        """Yield the manifests of a space's epochs; raise IntegrityFailure."""
        name = SpaceName(space)
        pages = _pages(
            lambda last: stored_manifests(
                self._store, name, (last.meeting, last.epoch) if last else ("", -1), _PAGE
            )
        )
        return map(manifest_out, pages)

    def evidence_requests(self) -> Iterator[EvidenceRequestOut]:
        """Yield the requests that were carried out; raise IntegrityFailure."""
        pages = _pages(
            lambda last: stored_requests(self._store, last.request.id if last else "", _PAGE)
        )
        return (request_out(one.request, one.certificate) for one in pages)

    def registers(self) -> RegisterList:
        """Return every register of people that was issued; raise ConfigurationError."""
        found = issued_registers(self._state)
        return RegisterList(items=tuple(RegisterOut(number=n, statement=jws) for n, jws in found))


def _pages(fetch: Callable[[_T | None], list[_T]]) -> Iterator[_T]:
    """Yield page after page; ``fetch`` is given the last one's end."""
    last: _T | None = None
    while page := fetch(last):
        yield from page
        last = page[-1]

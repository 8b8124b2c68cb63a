"""Escrow coverage: whether each key that is not destroyed could be recovered, and by what.

A key is covered by a generation whose envelope is stored and is the one that the epoch's manifest,
or an addendum to it, names. Rows are checked page by page as they are counted, nothing is kept.
"""

from collections.abc import AsyncIterator, Container

from kms.domain.coverage import Coverage, Lack
from kms.domain.ids import MeetingId, RecipientId, SpaceName
from kms.domain.models import Epoch, RecipientKind
from kms.domain.rows import SealedRow
from kms.domain.states import KeyState
from kms.errors import IntegrityFailure, InvalidInput
from kms.ports import Store
from kms.statements.canonical import digest, read_row
from kms.statements.manifest import ManifestRecipient
from kms.statements.readers import peek_readers
from kms.usecases.services import Services

_PAGE = 100


async def count_space(
    services: Services, space: SpaceName, live: Container[int], into: Coverage
) -> None:
    """Count a space's epochs; ``live`` are the generations that are not destroyed and whose
    private half is kept. Raise IntegrityFailure for a row that was altered.
    """
    async for meeting in _meetings(services, space):
        after = -1
        while page := services.store.epochs(space, meeting, after, _PAGE):
            epochs = [_epoch(sealed) for sealed in page]
            await _check(services, space, page)
            for epoch in epochs:
                if epoch.state is not KeyState.DESTROYED:
                    into.count(epoch, covering(services.store, epoch, live))
            after = epochs[-1].epoch


async def _meetings(services: Services, space: SpaceName) -> AsyncIterator[MeetingId]:
    """Yield meetings by id: destroyed ones too, since only their epochs' rows are checked."""
    after = ""
    while page := services.store.meetings(space, after, _PAGE):
        for sealed in page:
            after = sealed.row.key.rpartition("/")[2]
            yield MeetingId(after)


async def _check(services: Services, space: SpaceName, page: list[SealedRow]) -> None:
    """Raise IntegrityFailure unless the rows are those that the log names, with sound MACs."""
    if any(one.row.version != services.store.row_version(one.row.key) for one in page):
        raise IntegrityFailure("a row is not the version that the log names")
    await services.workers.space(space).check_rows(page)


def _epoch(sealed: SealedRow) -> Epoch:
    try:
        record = read_row(sealed.row)
    except InvalidInput as error:
        raise IntegrityFailure("a row is not what its key says") from error
    if not isinstance(record, Epoch):
        raise IntegrityFailure("a row is not what its key says")
    return record


def covering(store: Store, epoch: Epoch, live: Container[int]) -> int | Lack:
    """Return the newest live generation whose envelope is there, or why there is none."""
    reason = Lack.MISSING
    for entry in sorted(_escrows(epoch), key=lambda one: -one.version):
        blob = store.envelope(epoch.space, epoch.meeting, epoch.epoch, RecipientId(entry.id))
        if blob is None:
            continue
        if digest(blob) != entry.blob_sha256:
            reason = Lack.ALTERED
        elif entry.version in live:
            return entry.version
        else:
            reason = Lack.GONE
    return reason


def _escrows(epoch: Epoch) -> tuple[ManifestRecipient, ...]:
    return peek_readers(epoch.manifest, epoch.addenda).of_kind(RecipientKind.ESCROW)

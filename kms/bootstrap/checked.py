"""Rows as ceremonies read them: in batches whose MACs the tokens check, each of the version that
the log names, and none missing. A row that is altered, older or gone is an IntegrityFailure.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice

from kms.ceremonies.ports import CeremonyToken
from kms.domain.approvals import RequestState
from kms.domain.ids import MeetingId, SpaceName
from kms.domain.policies import SITE_POLICY
from kms.domain.rows import Record, Row, RowKind, SealedRow, row_space
from kms.errors import IntegrityFailure, InvalidInput, NotFound
from kms.ports import Store
from kms.statements.canonical import read_row

PAGE = 500

TokenOf = Callable[[Row], CeremonyToken]
"""Gives the token that seals a row."""


class CheckedRows:
    """Reads of a store that nobody else writes meanwhile."""

    def __init__(self, store: Store, token_of: TokenOf) -> None:
        self._store, self._token_of = store, token_of

    def one(self, kind: RowKind, key: str) -> Record:
        """Return one record; raise NotFound, IntegrityFailure."""
        sealed = self._store.row(kind, key)
        if sealed is not None:
            return next(self._check([sealed]))
        if self._store.row_version(key):
            raise IntegrityFailure("a row that the log names is gone")
        raise NotFound(f"there is no {key}")

    def spaces(self) -> Iterator[Record]:
        """Yield every space."""
        return self._whole("space/", self._store.spaces())

    def recipients(self, space: SpaceName) -> Iterator[Record]:
        """Yield a space's recipients."""
        return self._whole(f"recipient/{space}/", self._store.recipients(space))

    def meetings(self, space: SpaceName) -> Iterator[Record]:
        """Yield all meetings of a space."""
        return self._whole(f"meeting/{space}/", meeting_rows(self._store, space))

    def epochs(self, space: SpaceName) -> Iterator[Record]:
        """Yield all epochs of a space, meeting by meeting."""
        meetings = meeting_rows(self._store, space)
        rows = (epoch_rows(self._store, space, meeting_of(one)) for one in meetings)
        return self._whole(f"epoch/{space}/", chain.from_iterable(rows))

    def holds(self, space: SpaceName) -> Iterator[Record]:
        """Yield every legal hold of a space."""
        return self._whole(f"hold/{space}/", self._store.holds(space))

    def disks(self, space: SpaceName) -> Iterator[Record]:
        """Yield every disk of a space."""
        return self._whole(f"disk/{space}/", disk_rows(self._store, space))

    def _whole(self, prefix: str, rows: Iterable[SealedRow]) -> Iterator[Record]:
        """Yield all records under a prefix; raise IntegrityFailure in the end if some are gone."""
        found = 0
        for batch in batches(rows):
            found += len(batch)
            yield from self._check(batch)
        if found != self._store.row_count(prefix):
            raise IntegrityFailure("a row that the log names is gone")

    def _check(self, batch: list[SealedRow]) -> Iterator[Record]:
        check_versions(self._store, batch)
        self._token_of(batch[0].row).check_rows(batch)
        return (read(sealed) for sealed in batch)


def batches(rows: Iterable[SealedRow]) -> Iterator[list[SealedRow]]:
    """Yield rows in lists of at most PAGE, none of them empty."""
    stream = iter(rows)
    while batch := list(islice(stream, PAGE)):
        yield batch


def meeting_rows(store: Store, space: SpaceName) -> Iterator[SealedRow]:
    """Yield the rows of a space's meetings as they lie there."""
    after = ""
    while page := store.meetings(space, after, PAGE):
        yield from page
        after = page[-1].row.key.rpartition("/")[2]


def epoch_rows(store: Store, space: SpaceName, meeting: MeetingId) -> Iterator[SealedRow]:
    """Yield the rows of a meeting's epochs as they lie there."""
    after = -1
    while page := store.epochs(space, meeting, after, PAGE):
        yield from page
        after = int(page[-1].row.key.rpartition("/")[2])


def disk_rows(store: Store, space: SpaceName) -> Iterator[SealedRow]:
    """Yield the rows of a space's disks as they lie there."""
    return (one for one in store.disks() if row_space(one.row.key, one.row.kind) == space)


def space_rows(store: Store, space: SpaceName) -> Iterator[SealedRow]:
    """Yield all rows that a space's token seals, as they lie there."""
    yield from store.recipients(space)
    for meeting in meeting_rows(store, space):
        yield meeting
        roster = store.row(RowKind.ROSTER, f"roster/{space}/{meeting_of(meeting)}")
        if roster is not None:
            yield roster
        yield from epoch_rows(store, space, meeting_of(meeting))
    policy = store.row(RowKind.POLICY, f"policy/{space}")
    if policy is not None:
        yield policy
    yield from store.grants(space)
    yield from store.holds(space)
    yield from store.shares(space)
    yield from disk_rows(store, space)
    yield from request_rows(store, space)


def site_rows(store: Store) -> Iterator[SealedRow]:
    """Yield all rows that the site's own token seals, as they lie there."""
    yield from store.spaces()
    policy = store.row(RowKind.SITE_POLICY, f"site-policy/{SITE_POLICY}")
    if policy is not None:
        yield policy
    yield from request_rows(store, "")


def request_rows(store: Store, space: str) -> Iterator[SealedRow]:
    """Yield the requests about a space, or about the site (empty), as they lie there."""
    for state in RequestState:
        after = ""
        while page := store.requests(state, after, PAGE):
            yield from (one for one in page if row_space(one.row.key, one.row.kind) == space)
            after = page[-1].row.key.rpartition("/")[2]


def count_space_rows(store: Store, space: SpaceName) -> int:
    """Return how many rows of a space the log names."""
    own = sum(store.row_count(f"{kind}/{space}/") for kind in RowKind if kind not in _OF_THE_SITE)
    return own + bool(store.row_version(f"{RowKind.POLICY}/{space}"))


def count_site_rows(store: Store) -> int:
    """Return how many rows of the site itself the log names."""
    own = sum(store.row_count(f"{kind}/") for kind in _OF_THE_SITE)
    return own + store.row_count(f"{RowKind.REQUEST}//")


_OF_THE_SITE = (RowKind.SPACE, RowKind.SITE_POLICY)


def check_versions(store: Store, rows: Iterable[SealedRow]) -> None:
    """Raise IntegrityFailure for a row that is not of the version that the log names."""
    for sealed in rows:
        if sealed.row.version != store.row_version(sealed.row.key):
            raise IntegrityFailure("a row is not the version that the log names")


def meeting_of(sealed: SealedRow) -> MeetingId:
    """Return the id of a meeting's row."""
    return MeetingId(sealed.row.key.rpartition("/")[2])


def read(sealed: SealedRow) -> Record:
    """Return a row's record; raise IntegrityFailure if it is not one of its key."""
    try:
        return read_row(sealed.row)
    except InvalidInput as error:
        raise IntegrityFailure("a row is not what its key says") from error

"""The store in a ceremony's hands: reads are checked by the tokens, writes are leaves in the
ceremony's name. What a leaf says already is not written twice.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any, cast

from kms.audit.leaf import LeafDraft, Outcome, Phase
from kms.bootstrap.checked import (
    CheckedRows,
    batches,
    check_versions,
    count_site_rows,
    count_space_rows,
    epoch_rows,
    read,
    site_rows,
    space_rows,
)
from kms.bootstrap.issued import last_transcript, newest_issue
from kms.bootstrap.own_leaves import OwnLeaves
from kms.bootstrap.told import check_space
from kms.ceremonies.ports import CeremonyToken, Entry, Issue, Issued
from kms.ceremonies.room import Brief
from kms.domain.disks import Disk
from kms.domain.grants import Hold
from kms.domain.ids import MeetingId, RecipientId, SpaceName
from kms.domain.models import Epoch, Meeting, Recipient, Space
from kms.domain.policies import SpacePolicy
from kms.domain.rows import Record, Row, RowKind, SealedRow, row_key, row_space
from kms.domain.states import KeyState, MeetingState
from kms.errors import ConfigurationError, IntegrityFailure, NotFound
from kms.ports import (
    Change,
    DropEnvelope,
    PutCheckpoint,
    PutEnvelopes,
    PutMac,
    PutRow,
    Store,
    Unit,
)
from kms.statements.canonical import make_row


class StoreRecords:
    """``Records`` over a store whose writer's lock this process holds. ``tokens`` gives a token by
    its label. It runs an event loop of its own, so it is not to be used on one.
    """

    def __init__(self, store: Store, tokens: Callable[[str], CeremonyToken], brief: Brief) -> None:
        self._store, self._tokens, self._site = store, tokens, brief.site
        self._rows = CheckedRows(store, self._token_of)
        self._own = OwnLeaves(store, brief.plan)
        self._runner = asyncio.Runner()

    def close(self) -> None:
        """End the event loop; the store is its owner's to close."""
        self._runner.close()

    # reads

    def spaces(self) -> tuple[Space, ...]:
        """Return every space."""
        return tuple(cast("Space", one) for one in self._rows.spaces())

    def recipients(self, space: SpaceName) -> tuple[Recipient, ...]:
        """Return a space's registered recipients."""
        return tuple(cast("Recipient", one) for one in self._rows.recipients(space))

    def unverified_recipients(self, space: SpaceName) -> tuple[Recipient, ...]:
        """Return a space's recipients WITHOUT checking MACs or versions."""
        return tuple(cast("Recipient", read(one)) for one in self._store.recipients(space))

    def meetings(self, space: SpaceName) -> Iterator[Meeting]:
        """Yield a space's meetings that are not destroyed."""
        for one in self._rows.meetings(space):
            meeting = cast("Meeting", one)
            if meeting.state is not MeetingState.DESTROYED:
                yield meeting

    def holds(self, space: SpaceName) -> tuple[Hold, ...]:
        """Return every legal hold of a space, lifted ones too."""
        return tuple(cast("Hold", one) for one in self._rows.holds(space))

    def disks(self, space: SpaceName) -> tuple[Disk, ...]:
        """Return every disk of a space, erased ones too."""
        return tuple(cast("Disk", one) for one in self._rows.disks(space))

    def policy(self, space: SpaceName) -> SpacePolicy | None:
        """Return a space's own policy, None if it has the defaults of the configuration."""
        try:
            return cast("SpacePolicy", self._rows.one(RowKind.POLICY, f"policy/{space}"))
        except NotFound:
            return None

    def epochs(self, space: SpaceName) -> Iterator[Epoch]:
        """Yield a space's epochs that are not destroyed, meeting by meeting."""
        return _living(self._rows.epochs(space))

    def epoch(self, space: SpaceName, meeting: MeetingId, epoch: int) -> Epoch:
        """Return one epoch; raise NotFound."""
        key = f"epoch/{space}/{meeting}/{epoch}"
        return cast("Epoch", self._rows.one(RowKind.EPOCH, key))

    def unverified_epochs(self, space: SpaceName, meeting: MeetingId) -> Iterator[Epoch]:
        """Yield a meeting's epochs that are not destroyed WITHOUT checking MACs or versions."""
        return _living(map(read, epoch_rows(self._store, space, meeting)))

    def envelope(
        self, space: SpaceName, meeting: MeetingId, epoch: int, recipient: RecipientId
    ) -> bytes | None:
        """Return one envelope's blob."""
        return self._store.envelope(space, meeting, epoch, recipient)

    def head(self) -> tuple[int, bytes]:
        """Return size and root of the log."""
        size = self._store.tree_size()
        return size, self._store.root(size)

    def newest(self, what: Issued) -> Issue:
        """Return what the log names last of a kind, apart from this ceremony's own."""
        return newest_issue(self._store, what, self._own.actor)

    def site_sealed(self) -> bool:
        """Whether the log's last word about the whole box is that it was sealed."""
        return self._store.site_sealed()

    def check_space(self, record: Space) -> None:
        """Raise IntegrityFailure unless the log tells the same of a space."""
        check_space(self._store, record)

    # writes

    def write(self, entry: Entry) -> int:
        """Make an entry durable, unless a leaf of this ceremony tells the same; return its number.

        Raise Conflict, StoreUnavailable, as the store does.
        """
        known = self._own.find(self._own.event(entry, {}))
        if known is not None:
            return known
        sealed = self._seal(entry.records)
        changes: list[Change] = [PutRow(one) for one in sealed]
        if entry.envelopes:
            changes.append(PutEnvelopes(entry.envelopes))
        changes += [DropEnvelope(*place) for place in entry.dropped]
        rows = {one.row.key: one.row.version for one in sealed}
        return self._log(self._own.event(entry, rows), changes)

    def intent(self, details: dict[str, Any]) -> int:
        """Write the intent leaf; those that earlier runs died in are told of as interrupted."""
        for seq in self._own.open_intents(self._store):
            self.result(seq, Outcome.INTERRUPTED, details)
        return self._log(self._own.run(Phase.INTENT, Outcome.PENDING, details))

    def result(self, intent: int, outcome: Outcome, details: dict[str, Any]) -> None:
        """Write the result leaf of an intent."""
        self._log(self._own.run(Phase.RESULT, outcome, details, intent))

    def ended(self) -> str:
        """Return the digest of the transcript that the log names as this ceremony's; or nothing."""
        return self._own.transcript

    def last_transcript(self) -> str:
        """Return the digest of the transcript that the log names last, apart from its own."""
        return last_transcript(self._store, self._own.actor)

    def sign_head(self) -> None:
        """Let the site's token sign the head, and store the checkpoint; nothing if that is done, or
        if the token is lost, as it may be in a recovery: the next one takes the log over.
        """
        if not self._tokens(self._site.token()).exists():
            return
        size = self._store.tree_size()
        last = self._store.last_checkpoint()
        if last is not None and last[0] == size:
            return
        signed = self.check_head()
        proof = self._store.consistency_proof(signed, size)
        token = self._tokens(self._site.token())
        note = token.sign_checkpoint(self._site.site, size, self._store.root(size), proof)
        self._commit(Unit((PutCheckpoint(size, note),)))

    def check_head(self) -> int:
        """Return the size that the site's token signed last; raise IntegrityFailure unless the log
        extends that.
        """
        size, root = self._tokens(self._site.token()).last_checkpoint(self._site.site)
        if self._store.tree_size() < size or self._store.root(size) != root:
            raise IntegrityFailure(
                "the audit log is not the one that was last signed: it was rolled back or altered",
                hint="restore the newest state; a site that lost it needs restore-site",
            )
        return size

    def check_log(self, size: int, root: bytes) -> None:
        """Raise IntegrityFailure unless the first ``size`` leaves have this root and this ceremony
        alone wrote what follows.
        """
        if not 0 < size <= self._store.tree_size() or self._store.root(size) != root:
            raise IntegrityFailure("the audit log is not the one that the plan names")
        if not self._own.wrote_all(self._store, size):
            raise IntegrityFailure(
                "the audit log went on after the plan was written", hint="make a new plan"
            )

    def reseal_rows(self) -> int:
        """Seal all rows but those of destroyed spaces anew; return how many.

        Versions stay, so no leaf names them. Raise IntegrityFailure for a row that is not of the
        version that the log names, or gone.
        """
        spaces = [cast("Space", read(one)) for one in self._store.spaces()]
        living = [one.space for one in spaces if not one.destroyed]
        return self._reseal(site_rows(self._store), count_site_rows(self._store)) + sum(
            self._reseal(space_rows(self._store, name), count_space_rows(self._store, name))
            for name in living
        )

    # parts

    def _token_of(self, row: Row) -> CeremonyToken:
        space = row_space(row.key, row.kind)
        try:
            return self._tokens(self._site.token(space))
        except KeyError:
            raise ConfigurationError(
                f"the configuration names no token for the space {space}",
                hint="add it to [[hsm.tokens]]",
            ) from None

    def _seal(self, records: Iterable[Record]) -> list[SealedRow]:
        rows = [make_row(one, self._store.row_version(row_key(one)) + 1) for one in records]
        sealed: list[SealedRow] = []
        for token, group in groupby(rows, self._token_of):
            sealed += token.seal_rows(list(group))
        return sealed

    def _reseal(self, rows: Iterable[SealedRow], named: int) -> int:
        count = 0
        for batch in batches(rows):
            check_versions(self._store, batch)
            plain = [one.row for one in batch]
            sealed = self._token_of(plain[0]).seal_rows(plain)
            self._commit(Unit(tuple(map(PutMac, sealed))))
            count += len(batch)
        if count != named:
            raise IntegrityFailure("a row that the log names is gone")
        return count

    def _log(self, leaf: LeafDraft, changes: Iterable[Change] = ()) -> int:
        (seq,) = self._commit(Unit(tuple(changes), (leaf,)))
        self._own.add(seq, leaf)
        return seq

    def _commit(self, unit: Unit) -> tuple[int, ...]:
        return self._runner.run(self._store.commit(unit))


def _living(records: Iterable[Record]) -> Iterator[Epoch]:
    for one in records:
        epoch = cast("Epoch", one)
        if epoch.state is not KeyState.DESTROYED:
            yield epoch

"""Moves epochs' keys from an older vault key of a space's token to the newest one.

What is opened is what the epoch's sealed row names, by a key of this token's own, and it goes to
the TRUSTED newest vault alone. What cannot be shown to be the epoch's key is refused, whatever is
wrong with it, by one text.
"""

from collections.abc import Sequence
from dataclasses import replace

from kms.ceremonies.ports import RewrapItem
from kms.domain.models import Envelope, Epoch
from kms.domain.rows import Row, SealedRow
from kms.domain.states import KeyState
from kms.errors import Forbidden, IntegrityFailure, InvalidInput
from kms.hsm.epochs import readers_of
from kms.hsm.keyring import SpaceKeyring
from kms.hsm.rewrap import Rewrapper
from kms.hsm.rows import RowSealer
from kms.hsm.token import Token
from kms.ports import Resealed, ResealItem
from kms.statements.addendum import addendum_to, keeper, sign_addendum
from kms.statements.canonical import make_row, read_row, unb64u
from kms.statements.readers import Readers


class Resealer:
    """Wraps the keys of one space's epochs to its newest vault key."""

    def __init__(self, token: Token, site: str, space: str) -> None:
        self._token = token
        self._site = site
        self._space = space

    def reseal(self, keys: SpaceKeyring, items: Sequence[ResealItem], now: int) -> Resealed:
        """Return the new envelopes and the epochs' next rows, in order.

        Every item is checked before the first key is opened. Raise Forbidden for another space or
        a source that is no older vault key, IntegrityFailure for a row or envelope that does not
        hold, TokenFault. No key stays behind.
        """
        checked = [(item, *self._check(keys, item)) for item in items]
        rewrappers = {
            source: Rewrapper(self._token, keys.older_vault(source), keys.always[:1])
            for source in {item.source for item in items}
        }
        done = [
            self._move(keys, rewrappers[item.source], item, epoch, readers, now)
            for item, epoch, readers in checked
        ]
        return Resealed(tuple(one for one, _row in done), tuple(row for _one, row in done))

    def _check(self, keys: SpaceKeyring, item: ResealItem) -> tuple[Epoch, Readers]:
        """Return the epoch and its readers, once MAC and signatures have held."""
        RowSealer.check(keys, [item.epoch])
        epoch = _epoch(item.epoch.row)
        if epoch.space != self._space:
            raise Forbidden("this token keeps the keys of another space")
        readers = readers_of(keys, self._site, epoch)
        if epoch.state is KeyState.DESTROYED or readers.entry(keys.always[0].id):
            raise IntegrityFailure(f"{item.epoch.row.key} has no key to move")
        readers.check_blob(item.source, item.blob)
        return epoch, readers

    def _move(
        self,
        keys: SpaceKeyring,
        rewrapper: Rewrapper,
        item: ResealItem,
        epoch: Epoch,
        readers: Readers,
        now: int,
    ) -> tuple[Envelope, SealedRow]:
        manifest, vault, row = readers.manifest, keys.always[0], item.epoch.row
        sealed = RewrapItem(item.blob, manifest.commitment_context(), unb64u(manifest.commitment))
        try:
            (blob,) = rewrapper.rewrap(0, sealed)
        except IntegrityFailure as error:
            raise IntegrityFailure(f"{row.key} has no sound envelope to open") from error
        told = addendum_to(
            epoch.manifest, manifest, now, keeper(vault.id, vault.kind, vault.version, blob)
        )
        addendum = sign_addendum(told, keys.manifest_kid, keys.sign_manifest)
        following = replace(epoch, addenda=(*epoch.addenda, addendum))
        envelope = Envelope(epoch.space, epoch.meeting, epoch.epoch, vault.id, blob)
        (new,) = RowSealer.seal_own(keys, [make_row(following, row.version + 1)])
        return envelope, new


def _epoch(row: Row) -> Epoch:
    try:
        record = read_row(row)
    except InvalidInput as error:
        raise IntegrityFailure("a row is not what its key says") from error
    if not isinstance(record, Epoch):
        raise InvalidInput("only epochs have keys to move")
    return record

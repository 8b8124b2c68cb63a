"""Wraps epochs' keys to a further keeper, batch by batch, and proves that none was left out.

Manifests and addenda are verified before anything is opened. What was wrapped stands in an
addendum, and the envelopes that the new one replaces go in the same commit: an interrupted run is
taken up where it was.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any, TypeAlias

from kms.ceremonies.ports import Entry, EscrowOpener, RewrapItem, SigningUse, VaultOpener
from kms.ceremonies.room import Facts, Room
from kms.ceremonies.steps.state import FIRST, key_list, newest, site_root
from kms.client.keys import SiteTrust
from kms.domain.ids import RecipientId
from kms.domain.models import Envelope, Epoch, Recipient, Space
from kms.domain.rows import row_key
from kms.errors import IntegrityFailure, NotFound
from kms.i18n import _
from kms.statements import archive
from kms.statements.addendum import addendum_to, keeper, sign_addendum, verify_addendum
from kms.statements.canonical import digest, unb64u
from kms.statements.keylist import KeyUse, ListedKey, load_ec
from kms.statements.manifest import Manifest
from kms.statements.readers import Readers

BATCH = 200
"""Epochs in one commit."""


Opener: TypeAlias = EscrowOpener | VaultOpener


@dataclass(frozen=True, slots=True)
class Rewrapping:
    """Keys wrapped to ``target``, which the token trusts as ``label``. ``openers`` says by what a
    keeper's envelopes are opened: several versions of a vault keep keys side by side.
    """

    openers: Mapping[RecipientId, Opener]
    target: Recipient
    label: str

    def source(self, readers: Readers) -> RecipientId:
        """Return the newest keeper of an epoch that can be opened; raise IntegrityFailure."""
        for entry in reversed(readers.entries):
            if entry.id in self.openers:
                return RecipientId(entry.id)
        raise IntegrityFailure(f"{readers.manifest.sub} is kept by nothing that opens here")


_Pair: TypeAlias = tuple[Epoch, Readers]


def site_trust(room: Room) -> SiteTrust:
    """Return what verifies manifests and addenda: the newest root and its key list."""
    number = newest(room.files, archive.KEY_LIST, "key list")
    token = room.files.read(archive.KEY_LIST.format(number)).decode("ascii")
    return SiteTrust(room.brief.site.site, site_root(room.files), token)


def read_readers(trust: SiteTrust, epoch: Epoch) -> Readers:
    """Return who reads an epoch; raise VerificationFailed, IntegrityFailure."""
    manifest = trust.manifest(epoch.manifest, epoch.space)
    if manifest.sub != f"{epoch.space}/{epoch.meeting}/{epoch.epoch}":
        raise IntegrityFailure(f"the manifest of {row_key(epoch)} is another epoch's")
    return Readers(manifest, trust.readers(epoch.manifest, epoch.addenda, epoch.space))


def item_of(room: Room, epoch: Epoch, readers: Readers, recipient: str) -> RewrapItem:
    """Return a recipient's envelope, ready to be opened; raise IntegrityFailure unless it is the
    one that manifest or addendum names.
    """
    blob = room.records.envelope(epoch.space, epoch.meeting, epoch.epoch, RecipientId(recipient))
    manifest = readers.manifest
    sound = readers.check_blob(recipient, blob)
    return RewrapItem(sound, manifest.commitment_context(), unb64u(manifest.commitment))


def rewrap_space(room: Room, space: Space, work: Rewrapping) -> Facts:
    """Wrap every epoch of a space that the target does not keep yet; return how many those were, of
    how many in all, how long it took and how many a second.
    """
    total = sum(1 for _epoch in room.records.epochs(space.space))
    text = _("{space}: keys wrapped to {label}").format(space=space.space, label=work.label)
    begun, seen, done = time.monotonic(), 0, 0
    for batch in _batches(room, space):
        left = [pair for pair in batch if pair[1].entry(work.target.recipient) is None]
        if left:
            _rewrap_batch(room, space, work, left)
        seen, done = seen + len(batch), done + len(left)
        room.people.progress(text, seen, total)
    took = time.monotonic() - begun
    return {
        "epochs": done,
        "milliseconds": int(took * 1000),
        "per_second": int(done / took) if done else 0,
        "total": total,
    }


def prove_space(room: Room, space: Space, target: Recipient) -> int:
    """Return how many keys a space has, all of which the target keeps; raise IntegrityFailure."""
    trust, count = site_trust(room), 0
    for epoch in room.records.epochs(space.space):
        item_of(room, epoch, read_readers(trust, epoch), target.recipient)
        count += 1
    return count


def _batches(room: Room, space: Space) -> Iterator[list[_Pair]]:
    """Yield a space's epochs with their readers, verified, in lists of at most BATCH."""
    trust = site_trust(room)
    pairs = ((epoch, read_readers(trust, epoch)) for epoch in room.records.epochs(space.space))
    while batch := list(islice(pairs, BATCH)):
        yield batch


def _rewrap_batch(room: Room, space: Space, work: Rewrapping, batch: Sequence[_Pair]) -> None:
    pairs = sorted(batch, key=lambda pair: row_key(pair[0]))
    signing, target = _Signing(room, space), work.target
    records, envelopes, dropped = [], [], []
    for (epoch, readers), blob in zip(pairs, _wrapped(room, space, work, pairs), strict=True):
        place = (epoch.space, epoch.meeting, epoch.epoch)
        extra = signing.sign(epoch, readers.manifest, target, blob)
        records.append(replace(epoch, addenda=(*epoch.addenda, extra)))
        envelopes.append(Envelope(*place, target.recipient, blob))
        replaced = (one.id for one in readers.of_kind(target.kind))
        dropped += [(*place, RecipientId(name)) for name in replaced]
    action, resource = f"{target.kind}.rewrap", f"spaces/{space.space}"
    told = _told(room, target, records)
    room.records.write(
        Entry(
            action,
            space.space,
            resource,
            told,
            tuple(records),
            tuple(envelopes),
            tuple(dropped),
        )
    )


def _wrapped(room: Room, space: Space, work: Rewrapping, pairs: Sequence[_Pair]) -> list[bytes]:
    """Return each epoch's key wrapped to the target, in the order of ``pairs``."""
    sources = [work.source(readers) for _epoch, readers in pairs]
    token = room.tokens(space.token)
    made: dict[int, bytes] = {}
    for source in dict.fromkeys(sources):
        places = [place for place, other in enumerate(sources) if other == source]
        items = [item_of(room, *pairs[place], source) for place in places]
        blobs = token.rewrap(work.openers[source], [work.label], items)
        made |= {place: blob for place, (blob,) in zip(places, blobs, strict=True)}
    return [made[place] for place in range(len(pairs))]


def _told(room: Room, target: Recipient, records: Sequence[Epoch]) -> dict[str, Any]:
    return {
        "addenda": [digest(record.addenda[-1].encode()) for record in records],
        "ceremony": room.brief.plan.file.id,
        "recipient": target.recipient,
        "version": target.version,
    }


class _Signing:
    """Signs addenda with the newest manifest key of a space, on its token."""

    def __init__(self, room: Room, space: Space) -> None:
        self._now = room.now()
        self._listed = manifest_key(room, space)
        self._key = load_ec(unb64u(self._listed.spki), self._listed.kid)
        token = room.tokens(space.token)
        self._signer = partial(token.sign, SigningUse.MANIFEST, FIRST)

    def sign(self, epoch: Epoch, manifest: Manifest, target: Recipient, blob: bytes) -> str:
        entry = keeper(target.recipient, target.kind, target.version, blob)
        told = addendum_to(epoch.manifest, manifest, self._now, entry)
        token = sign_addendum(told, self._listed.kid, self._signer)
        verify_addendum(token, self._key)
        return token


def manifest_key(room: Room, space: Space) -> ListedKey:
    """Return the newest listed manifest key of a space; raise NotFound."""
    found = [
        key
        for key in key_list(room.files).keys
        if (key.use, key.space) == (KeyUse.MANIFEST, space.space)
    ]
    if not found:
        raise NotFound(f"the key list has no manifest key of {space.space}")
    return found[-1]

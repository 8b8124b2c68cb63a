"""The audit log in memory: Merkle tree, version of each row, open intents; never ahead of the disk.

The writer's thread appends hashes; what readers may see is moved on the event loop alone.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from kms.audit.actions import SERVING, SITE_SEALS, UNSEALS
from kms.audit.leaf import GRANT, Leaf, LeafDraft, Outcome, Phase, encode_leaf
from kms.audit.merkle import MerkleTree, leaf_hash
from kms.errors import IntegrityFailure
from kms.store.versions import Versions

_DECODER = msgspec.json.Decoder(Leaf)
_ENCODER = msgspec.json.Encoder(order="sorted")
_PAGE = 4096


class LeafForm(NamedTuple):
    """A checked draft in canonical form, cut where its place and its time will stand."""

    head: bytes
    tail: bytes
    draft: LeafDraft

    def place(self, seq: int, time: bytes) -> bytes:
        """Return the leaf's bytes, equal to those of ``encode_leaf``."""
        return b'%b,"seq":%d,"space":%b,"time":"%b","v":1}' % (self.head, seq, self.tail, time)


_SEQ, _TIME = b',"seq":0,"space":', b',"time":"","v":1}'


def form_leaf(draft: LeafDraft) -> LeafForm:
    """Return a draft's form; raise InvalidInput for a draft without canonical form.

    Quotes within JSON strings are escaped, so the last ``"seq":0`` is the leaf's own.
    """
    head, _, rest = encode_leaf(draft, 0, "").rpartition(_SEQ)
    return LeafForm(head, rest[: -len(_TIME)], draft)


def leaf_time(micros: int) -> bytes:
    """Return RFC 3339 UTC with microseconds."""
    seconds, rest = divmod(micros, 1_000_000)
    stamp = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{stamp}.{rest:06d}Z".encode("ascii")


class Facts:
    """What the published part of the log says, for readers on the event loop."""

    def __init__(self) -> None:
        self.size = 0
        self.versions = Versions()
        self.intents: set[int] = set()
        self.served: dict[str, tuple[str, int]] = {}
        self.grants: dict[str, int] = {}
        self.site_sealed = False
        self.unsealed: dict[str, int] = {}

    def add(self, seq: int, leaf: Leaf | LeafDraft) -> None:
        """Take in the next leaf."""
        if leaf.rows:
            self.versions.learn(leaf.rows)
        if leaf.phase is Phase.INTENT:
            self.intents.add(seq)
        elif leaf.intent is not None:
            self.intents.discard(leaf.intent)
        if leaf.action in SERVING and leaf.outcome is Outcome.SUCCEEDED:
            self._count_use(leaf.resource)
        if GRANT in leaf.auth and leaf.outcome is not Outcome.REFUSED:
            self.grants[leaf.auth.rpartition(GRANT)[2]] = seq
        if leaf.action in SITE_SEALS:
            self.site_sealed = SITE_SEALS[leaf.action]
        if leaf.action in UNSEALS:
            self.unsealed[leaf.resource] = seq
        self.size = seq + 1

    def _count_use(self, resource: str) -> None:
        """Count an envelope of a meeting's latest served epoch."""
        meeting, _, epoch = resource.rpartition("/")
        known, count = self.served.get(meeting, ("", 0))
        if known == epoch:
            self.served[meeting] = (epoch, count + 1)
        elif not known or int(epoch) > int(known):
            self.served[meeting] = (epoch, 1)


def stored_leaves(connection: sqlite3.Connection, sql: str) -> Iterator[bytes]:
    """Yield every leaf's bytes; raise IntegrityFailure at a gap in the sequence."""
    cursor = connection.execute(sql)
    expected = 0
    while page := cursor.fetchmany(_PAGE):
        for seq, body in page:
            if seq != expected:
                raise IntegrityFailure(f"the log has no leaf {expected}")
            yield body
            expected += 1


def load(bodies: Iterable[bytes]) -> tuple[MerkleTree, Facts, int]:
    """Return tree, facts and the last leaf's time (microseconds since 1970) of a stored log.

    Raise IntegrityFailure for a leaf that is not in canonical form or not in its place.
    """
    tree, facts, last = MerkleTree(), Facts(), ""
    for seq, body in enumerate(bodies):
        try:
            leaf = _DECODER.decode(body)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            raise IntegrityFailure(f"leaf {seq} is not an audit leaf") from error
        if leaf.seq != seq or leaf.time < last or _ENCODER.encode(leaf) != body:
            raise IntegrityFailure(f"leaf {seq} is not what the service wrote")
        last = leaf.time
        facts.add(seq, leaf)
        tree.append(leaf_hash(body))
    return tree, facts, _micros(last) if last else 0


def _micros(time: str) -> int:
    try:
        moment = datetime.strptime(time, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise IntegrityFailure("the last leaf's time is not one") from error
    return round(moment.replace(microsecond=0).timestamp()) * 1_000_000 + moment.microsecond

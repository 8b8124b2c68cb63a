"""Meetings as their servers run them: who is in, what may be asked next, what came of it."""

import base64
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from kms.client.keys import EnvelopeOpener, EpochKey, SiteTrust
from kms.client.rosters import new_meeting, signed_roster
from kms.domain.ids import RecipientId
from kms.errors import NotFound
from kms.statements.manifest import ManifestRecipient
from kms.wire.replies import EpochOut, MeetingOut
from kms.wire.requests import RosterWish
from tests.practice.devices import load_authority, make_devices
from tests.practice.service import Service

Kind = Literal["open", "join", "leave", "manual", "suspicion"]
ALWAYS_WRAPPED = 2
"""Vault and escrow."""


@dataclass(frozen=True)
class Member:
    """Somebody who reads: fetched for by a server, opened by a key of its own."""

    opener: EnvelopeOpener
    server: str
    certificate: x509.Certificate | None = None

    @property
    def id(self) -> RecipientId:
        return self.opener.recipient


@dataclass(frozen=True)
class Wish:
    """A request that mints: what it is and who reads afterwards. It can be sent again."""

    room: "Room"
    kind: Kind
    members: tuple[Member, ...]
    roster: RosterWish
    key: str

    @property
    def wraps(self) -> int:
        return ALWAYS_WRAPPED + len(self.members)

    @property
    def roster_version(self) -> int:
        """The roster's version once the wish is granted."""
        return self.room.roster_version + (self.kind in {"open", "join", "leave"})

    def send(self) -> MeetingOut:
        room = self.room
        with room.service.server(room.server) as client:
            where = (room.space, room.meeting)
            if self.kind == "open":
                return client.open_meeting(
                    room.space, self.roster, meeting=room.meeting, idempotency_key=self.key
                )
            if self.kind in {"manual", "suspicion"}:
                return client.rotate(*where, self.kind, idempotency_key=self.key)
            return client.set_roster(*where, self.roster, if_version=room.roster_version)


class Room:
    """One meeting; ``last_epoch`` -1 and ``roster_version`` 0 until it is opened."""

    def __init__(self, service: Service, space: str, server: str, pool: Sequence[Member]) -> None:
        self.service, self.space, self.server, self.pool = service, space, server, tuple(pool)
        self.meeting = str(new_meeting())
        self.members: tuple[Member, ...] = ()
        self.roster_version, self.last_epoch = 0, -1

    def again(self) -> "Room":
        """Another meeting of the same people."""
        return Room(self.service, self.space, self.server, self.pool)

    def wishes(self) -> list[Wish]:
        """Every change that is possible now."""
        if self.last_epoch < 0:
            return [self._wish("open", self.pool[:2]), self._wish("open", self.pool)]
        rotations = [self._wish("manual", self.members), self._wish("suspicion", self.members)]
        absent = [one for one in self.pool if one not in self.members]
        joins = [self._wish("join", (*self.members, one)) for one in absent]
        leaves = [self._wish("leave", self.members[1:])] if len(self.members) > 1 else []
        return [*rotations, *joins, *leaves]

    def adopt(self, wish: Wish, view: MeetingOut) -> None:
        """Take the state that a granted wish leaves."""
        self.members = wish.members
        self.roster_version, self.last_epoch = view.roster_version, view.last_epoch

    def look(self) -> MeetingOut | None:
        """The meeting as its server sees it; None if there is none."""
        with self.service.server(self.server) as client:
            try:
                return client.meeting(self.space, self.meeting)
            except NotFound:
                return None

    def check_readable(self, epoch: EpochOut, roster: Sequence[str], trust: SiteTrust) -> None:
        """Every reader of the epoch who is on the roster opens it, all to the same key."""
        readers = self.readers(epoch, trust)
        keys = {
            self._open(member, epoch).base_key
            for member in self.pool
            if member.id in roster and any(entry.id == member.id for entry in readers)
        }
        assert len(keys) == 1, f"{len(keys)} different keys of one epoch"

    def readers(self, epoch: EpochOut, trust: SiteTrust) -> list[ManifestRecipient]:
        """The roster's part of an epoch's manifest, which is verified."""
        named = trust.manifest(epoch.manifest, self.space).recipients
        return [entry for entry in named if entry.sender >= 0]

    def _open(self, member: Member, epoch: EpochOut) -> EpochKey:
        with self.service.server(member.server) as client:
            got = client.envelope(self.space, self.meeting, member.id, epoch=epoch.epoch)
        assert got.manifest == epoch.manifest
        blob = base64.b64decode(got.blob)
        where = {"space": self.space, "meeting": self.meeting, "epoch": epoch.epoch}
        return member.opener.open(got.manifest, blob, **where)

    def _wish(self, kind: Kind, members: Sequence[Member]) -> Wish:
        members = tuple(members)
        return Wish(self, kind, members, self._roster(members), str(uuid.uuid4()))

    def _roster(self, members: Sequence[Member]) -> RosterWish:
        devices = [one.certificate for one in members if one.certificate is not None]
        if not devices:
            return RosterWish(recipients=tuple(one.id for one in members))
        statement = signed_roster(
            self._roster_key(),
            devices,
            space=self.space,
            meeting=self.meeting,
            version=self.roster_version + 1,
            issued=int(time.time()),
        )
        return RosterWish(statement=statement)

    def _roster_key(self) -> ec.EllipticCurvePrivateKey:
        pem = self.service.site.server(self.server).own_key.read_bytes()
        key = load_pem_private_key(pem, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return key


def rooms(service: Service) -> list[Room]:
    """One meeting to be opened in each space of a practice site."""
    site, trust = service.site, service.trust()
    authority = load_authority(site.device_ca_key, site.device_ca)
    devices = make_devices(("ann", "bob", "cho"), authority)
    banking = [
        Member(EnvelopeOpener(trust, one.key, "RSA-OAEP"), "ms-1", one.certificate)
        for one in devices
    ]
    treasury = [Member(service.opener(name), name) for name in ("ms-a", "ms-b")]
    return [
        Room(service, "investment-banking", "ms-1", banking),
        Room(service, "treasury", "ms-a", treasury),
    ]

"""A meeting's media as one device sees it: seals its own frames, opens the others' by their KID.

Follows the epochs: a next one is adopted before it begins, a superseded one is forgotten a short
grace after its successor began, so that a leaver cannot go on under the old key.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from kms.client.keys import EpochKey
from kms.client.sframe import FrameOpener, FrameSealer, decode_header, fresh_counter
from kms.domain.ids import RecipientId
from kms.errors import Conflict, FrameRefused
from kms.statements.manifest import RING_BITS

LIVE_EPOCHS = 8
"""Below the 16 indices of the ring, so that no index is used again while its epoch lives."""


@dataclass(frozen=True, slots=True)
class OpenedFrame:
    """An opened frame.

    ``sender`` is who the KID says. Members share the key, so another member could have made the
    frame, an outsider not (RFC 9605, section 9).
    """

    sender: RecipientId
    epoch: int
    frame: bytes


@dataclass(slots=True)
class _Live:
    key: EpochKey
    sealer: FrameSealer | None
    openers: dict[int, FrameOpener] = field(default_factory=dict)

    def opener(self, sender: int) -> FrameOpener:
        if sender not in self.openers:
            self.openers[sender] = FrameOpener(self.key.base_key, self.key.kid(sender))
        return self.openers[sender]


class MediaSession:
    """The live epochs of one meeting. Not for use by several threads at once."""

    def __init__(
        self, first: EpochKey, *, grace: float = 5.0, clock: Callable[[], float] = time.time
    ) -> None:
        """``grace`` is for how many seconds a superseded epoch's late frames still open."""
        self._meeting = (first.manifest.iss, first.space, first.meeting)
        self._grace, self._clock = grace, clock
        self._live: dict[int, _Live] = {}
        self._begun = -1  # the highest epoch ever in force: sending never goes back below it
        self._roster = (-1, 0)  # the highest epoch ever adopted, and its roster's version
        self.adopt(first)

    @property
    def epochs(self) -> list[int]:
        """The numbers of the live epochs, oldest first."""
        return sorted(self._live)

    def adopt(self, key: EpochKey) -> None:
        """Take an epoch's key; its frames open at once and are sent from its ``nbf`` on.

        Adopting the same epoch again changes nothing, since its counters must go on. Raise
        Conflict for another meeting's key, for a second key of a live epoch, and for an epoch
        whose roster is older than that of an epoch before it: who left would be back.
        """
        if (key.manifest.iss, key.space, key.meeting) != self._meeting:
            raise Conflict("the key is of another meeting")
        live = self._live.get(key.epoch)
        if live is not None:
            if live.key != key:
                raise Conflict("the epoch has another key")
            return
        self._check_roster(key.epoch, key.manifest.roster_version)
        sealer = None
        if key.sender is not None:
            sealer = FrameSealer(key.base_key, key.kid(key.sender), first=fresh_counter())
        self._live[key.epoch] = _Live(key, sealer)
        self._forget_overtaken()

    def _check_roster(self, epoch: int, version: int) -> None:
        """Raise Conflict unless rosters only grow newer with the epochs' numbers."""
        newest, seen = self._roster
        behind, ahead = epoch <= newest and version > seen, epoch >= newest and version < seen
        if behind or ahead:
            raise Conflict("the epoch's roster is older than one before it")
        self._roster = max(self._roster, (epoch, version))

    def cancel(self, epoch: int) -> None:
        """Forget an epoch that was published and then cancelled; its frames open no more.

        If it has begun already, nothing is sent until a later epoch is adopted: whoever says
        "cancelled" cannot so make the device send under an older key again.
        """
        self._note_begun()
        self._live.pop(epoch, None)

    def encrypt(self, frame: bytes, metadata: bytes = b"") -> bytes:
        """Return the frame sealed in the current epoch under the device's own sender index.

        Raise FrameRefused when no live epoch is in force or the device may only read.
        """
        live = self._current()
        if live is None or live.sealer is None:
            raise FrameRefused("there is no epoch to send in", hint="fetch the current epoch")
        return live.sealer.seal(frame, metadata)

    def decrypt(self, sealed: bytes, metadata: bytes = b"") -> OpenedFrame:
        """Return a frame of any live epoch and its sender; raise FrameRefused."""
        self._forget_superseded()
        kid = decode_header(sealed).kid
        sender, ring = kid >> RING_BITS, kid & ((1 << RING_BITS) - 1)
        for live in self._live.values():
            if live.key.ring == ring and sender in live.key.senders:
                frame = live.opener(sender).open(sealed, metadata)
                return OpenedFrame(live.key.senders[sender], live.key.epoch, frame)
        raise FrameRefused("the frame does not open")

    def _current(self) -> _Live | None:
        self._note_begun()
        live = self._live.get(self._begun)
        return live if live is not None and self._clock() < live.key.manifest.exp else None

    def _note_begun(self) -> None:
        now = self._clock()
        begun = (n for n, live in self._live.items() if live.key.manifest.nbf <= now)
        self._begun = max(self._begun, *begun, -1)

    def _forget_superseded(self) -> None:
        """Drop what the grace is over for: superseded, or past its maximum age."""
        now = self._clock()
        settled = [
            n for n, live in self._live.items() if live.key.manifest.nbf + self._grace <= now
        ]
        oldest = max(settled, default=-1)
        self._keep(
            lambda live: live.key.epoch >= oldest and now < live.key.manifest.exp + self._grace
        )

    def _forget_overtaken(self) -> None:
        """Drop what is too old for the ring, and what was cancelled: a later one begins first."""
        newest = max(self._live)
        begins = {n: live.key.manifest.nbf for n, live in self._live.items()}
        self._keep(
            lambda live: (
                live.key.epoch > newest - LIVE_EPOCHS
                and begins[live.key.epoch]
                <= min(b for n, b in begins.items() if n >= live.key.epoch)
            )
        )

    def _keep(self, wanted: Callable[[_Live], bool]) -> None:
        self._live = {n: live for n, live in self._live.items() if wanted(live)}

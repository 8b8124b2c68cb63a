"""Encrypted disks: devices that were seen, disks that are enrolled, their keys, works under way.

A disk's id is its LUKS UUID too. Nothing here is secret: keys exist only encrypted.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from kms.domain.ids import DiskId, SpaceName, parse_mount_name
from kms.errors import InvalidInput, StateNotAllowed

MIN_BYTES = 16 << 20
"""A smaller device is never enrolled: the header takes 4 MiB."""


class DiskState(StrEnum):
    """How a device stands, as the appliance daemon last reported it.

    ``seen``: it appeared and is being looked at. ``unknown``: nothing of ours lies on it.
    ``quarantined``: it claims to be ours, or is, but failed a check; only people go on with it.
    ``enrolled``: its header is the registered one. ``locked``: people or a seal closed it, and it
    stays so. ``rotating``: its keys are being made or replaced. ``gone``: it is unplugged.
    """

    SEEN = "seen"
    UNKNOWN = "unknown"
    QUARANTINED = "quarantined"
    ENROLLED = "enrolled"
    LOCKED = "locked"
    OPEN = "open"
    MOUNTED = "mounted"
    ROTATING = "rotating"
    ERASING = "erasing"
    GONE = "gone"


_S = DiskState
_ANY = frozenset({_S.QUARANTINED, _S.GONE})
TRANSITIONS: dict[DiskState, frozenset[DiskState]] = {
    _S.SEEN: _ANY | {_S.UNKNOWN, _S.ENROLLED, _S.LOCKED, _S.OPEN, _S.MOUNTED, _S.ROTATING,
                     _S.ERASING},
    _S.UNKNOWN: _ANY | {_S.SEEN, _S.ROTATING},
    _S.QUARANTINED: frozenset({_S.SEEN, _S.ERASING, _S.GONE}),
    _S.ENROLLED: _ANY | {_S.SEEN, _S.LOCKED, _S.OPEN, _S.ROTATING, _S.ERASING},
    _S.LOCKED: _ANY | {_S.SEEN, _S.OPEN, _S.ROTATING, _S.ERASING},
    _S.OPEN: _ANY | {_S.MOUNTED, _S.LOCKED, _S.ROTATING, _S.ERASING},
    _S.MOUNTED: _ANY | {_S.OPEN, _S.LOCKED, _S.ROTATING, _S.ERASING},
    _S.ROTATING: _ANY | {_S.SEEN, _S.UNKNOWN, _S.ENROLLED, _S.LOCKED, _S.OPEN, _S.MOUNTED,
                         _S.ERASING},
    _S.ERASING: _ANY | {_S.SEEN, _S.UNKNOWN},
    _S.GONE: frozenset({_S.SEEN}),
}  # fmt: skip
"""After a restart of the daemon every device is ``seen`` again: reality is looked at anew."""


def check_disk_transition(old: DiskState, new: DiskState) -> None:
    """Raise StateNotAllowed unless a device may go from ``old`` to ``new``."""
    if new is not old and new is not DiskState.SEEN and new not in TRANSITIONS[old]:
        raise StateNotAllowed(
            "a disk does not go from {old} to {new}", about={"old": old, "new": new}
        )


class Work(StrEnum):
    """What is being done to a disk's keys; it goes on after every interruption.

    ``format``: an empty device gets its header. ``encrypt``: a file system is encrypted in place.
    ``slot``: another slot key. ``recovery``: another recovery key, tested. ``volume``: another
    volume key, and with it all others. ``recover``: keys anew with a recovery key that a quorum
    has recovered. ``erase``: the KEK is destroyed.
    """

    NONE = "none"
    FORMAT = "format"
    ENCRYPT = "encrypt"
    SLOT = "slot"
    RECOVERY = "recovery"
    VOLUME = "volume"
    RECOVER = "recover"
    ERASE = "erase"


NEW_SLOT = frozenset({Work.FORMAT, Work.ENCRYPT, Work.SLOT, Work.VOLUME, Work.RECOVER})
"""Works that make another slot key."""
NEW_RECOVERY = frozenset({Work.FORMAT, Work.ENCRYPT, Work.RECOVERY, Work.VOLUME, Work.RECOVER})
"""Works that make another recovery key."""
REENCRYPTS = frozenset({Work.ENCRYPT, Work.VOLUME})
"""Works during which a header may say that reencryption is under way."""
_MAY_BE_LOST = frozenset({Work.SLOT, Work.RECOVERY, Work.RECOVER})
"""Works that a recovery takes the place of: what they brought may be lost with the KEK."""


@dataclass(frozen=True, slots=True)
class SlotKey:
    """A disk's slot key (64 bytes) encrypted by version ``kek`` of the disk's KEK: base64url of
    IV (12), ciphertext (64), tag (16). ``made`` in seconds since 1970.
    """

    kek: int
    sealed: str
    made: int


@dataclass(frozen=True, slots=True)
class RecoveryKey:
    """A disk's recovery key (64 bytes).

    ``escrowed``: encrypted by RSA-OAEP to the disk escrow key of ``generation`` (base64url; empty
    once the disk is erased). ``sealed``: by version ``kek`` of the KEK as in SlotKey, only while a
    work goes on that needs it again; then empty. ``tested``: when it last opened the disk (0:
    never).
    """

    generation: int
    escrowed: str
    made: int
    kek: int = 0
    sealed: str = ""
    tested: int = 0


@dataclass(frozen=True, slots=True)
class MountPolicy:
    """Where an open disk is mounted: below the appliance's mount root, under this name; empty:
    nowhere. Always nosuid, nodev, noexec. ``automatic``: opened and mounted when it is plugged in.
    """

    name: str = ""
    automatic: bool = True
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Disk:
    """An enrolled disk of a space; its row is sealed by the space's worker alone.

    ``header`` is the SHA-256 (base64url) of the registered header region, empty while there is
    none. ``key`` and ``recovery`` open it; ``work`` is bringing those that begin with ``next`` onto
    it. ``volume`` counts volume keys from 1. ``replaces``: the disk (id) whose files it took over.
    ``overwrite``: people knew that something lay on it, to be formatted over.
    ``keks``: the highest version of its KEK that there ever was. Times in seconds since 1970.
    """

    space: SpaceName
    disk: DiskId
    serial: str
    size: int
    label: str
    mount: MountPolicy
    work: Work
    enrolled: int
    header: str = ""
    volume: int = 0
    key: SlotKey | None = None
    next_key: SlotKey | None = None
    recovery: RecoveryKey | None = None
    next_recovery: RecoveryKey | None = None
    replaces: str = ""
    overwrite: bool = False
    erased: int = 0
    keks: int = 0

    @property
    def committed(self) -> bool:
        """Whether the keys of the work under way are the disk's keys already."""
        return self.next_key is None and self.next_recovery is None and self.key is not None

    def began(self, work: Work, key: SlotKey | None, recovery: RecoveryKey | None) -> "Disk":
        """Return the disk with a work begun and the keys that it brings; raise StateNotAllowed."""
        check_may_begin(self, work)
        return replace(self, work=work, next_key=key, next_recovery=recovery)

    def commit(self) -> "Disk":
        """Return the disk with its next keys as its keys; raise StateNotAllowed."""
        if self.work in {Work.NONE, Work.ERASE} or (not self.next_key and not self.next_recovery):
            raise StateNotAllowed("no keys wait to become the disk's")
        return replace(
            self,
            key=self.next_key or self.key,
            recovery=self.next_recovery or self.recovery,
            next_key=None,
            next_recovery=None,
        )

    def finish(self, header: str, now: int) -> "Disk":
        """Return the disk after its work, with the header that it has now; raise StateNotAllowed
        before the commit.
        """
        if self.work in {Work.NONE, Work.ERASE} or not self.committed or self.recovery is None:
            raise StateNotAllowed("the work is not committed")
        tested = now if self.work in NEW_RECOVERY else self.recovery.tested
        return replace(
            self,
            work=Work.NONE,
            header=header,
            volume=self.volume + (self.work in REENCRYPTS or self.work is Work.FORMAT),
            recovery=replace(self.recovery, sealed="", kek=0, tested=tested),
        )

    def erase(self, now: int) -> "Disk":
        """Return the disk without a key that opens it; raise StateNotAllowed if it is erased."""
        if self.erased:
            raise StateNotAllowed("the disk is erased already")
        kept = self.recovery or self.next_recovery
        silent = RecoveryKey(kept.generation, "", kept.made) if kept else None
        return replace(
            self,
            work=Work.ERASE,
            key=None,
            next_key=None,
            recovery=silent,
            next_recovery=None,
            erased=now,
        )


def check_may_begin(disk: Disk, work: Work) -> None:
    """Raise StateNotAllowed unless the work may begin on the disk now."""
    first = work in {Work.FORMAT, Work.ENCRYPT}
    lost = work is Work.RECOVER and disk.work in _MAY_BE_LOST
    if disk.erased or work in {Work.NONE, Work.ERASE}:
        raise StateNotAllowed("nothing begins on an erased disk")
    waits = disk.next_key or disk.next_recovery or (disk.work is not Work.NONE and not first)
    if waits and not lost:
        raise StateNotAllowed(f"the work {disk.work} is not over", hint="it goes on by itself")
    if first and (disk.key is not None or disk.work is not work):
        raise StateNotAllowed("the disk has its first keys already")
    if not first and disk.key is None:
        raise StateNotAllowed("the disk has no keys yet")


# --- what people approve -------------------------------------------------------------------------


class Preparation(StrEnum):
    """How a device becomes a disk: formatted anew, or its file system encrypted in place."""

    FORMAT = "format"
    ENCRYPT = "encrypt"


@dataclass(frozen=True, slots=True)
class DiskWish:
    """Parameters of ``disk.enroll``: which device becomes which disk. ``replaces``: the disk (id)
    whose files it takes over, else empty. ``overwrite``: also if something lies on the device.
    """

    disk: DiskId
    serial: str
    size: int
    preparation: Preparation
    label: str
    mount: MountPolicy
    replaces: str = ""
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class DiskTarget:
    """Parameters of ``disk.erase``. ``absent``: the device is lost or broken, so nothing on it can
    be erased beside its keys.
    """

    disk: DiskId
    absent: bool = False


def disk_of(space: SpaceName, wish: DiskWish, now: int) -> Disk:
    """Return the disk that an approved request enrols."""
    return Disk(
        space=space,
        disk=wish.disk,
        serial=wish.serial,
        size=wish.size,
        label=wish.label,
        mount=wish.mount,
        work=Work(wish.preparation.value),
        enrolled=now,
        replaces=wish.replaces,
        overwrite=wish.overwrite,
    )


# --- what the appliance reports and is told ------------------------------------------------------


class OrderKind(StrEnum):
    """What the appliance daemon is asked to do with one device."""

    PREPARE = "prepare"
    UNLOCK = "unlock"
    LOCK = "lock"
    ROTATE_SLOT = "rotate-slot"
    ROTATE_VOLUME = "rotate-volume"
    VERIFY_RECOVERY = "verify-recovery"
    RECOVER = "recover"
    QUARANTINE = "quarantine"
    RELEASE = "release"
    BACK_UP_HEADER = "back-up-header"
    RESTORE_HEADER = "restore-header"
    ERASE = "erase"


class OrderState(StrEnum):
    """What became of an order."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


ENDED = frozenset({OrderState.DONE, OrderState.FAILED})


@dataclass(frozen=True, slots=True)
class DiskOrder:
    """An order to the appliance daemon. Not sealed: it opens nothing and decides no key.

    ``disk`` is empty for a device that is not enrolled. ``sealed_key``: for ``recover``, the
    recovery key as the ceremony sealed it to the appliance (base64url). ``dry_run``: the daemon
    says what it would do and changes nothing. ``progress`` in percent; ``message`` for people.
    """

    order: str
    kind: OrderKind
    serial: str
    disk: str
    space: str
    principal: str
    created: int
    state: OrderState = OrderState.WAITING
    dry_run: bool = False
    sealed_key: str = ""
    progress: int = 0
    code: str = ""
    message: str = ""
    ended: int = 0


@dataclass(frozen=True, slots=True)
class Device:
    """A block device as the appliance daemon last reported it, by its serial number.

    ``disk``: the enrolled disk's id, else empty. ``content``: what lies on it, as udev says
    (``crypto_LUKS``, ``ext4``, empty). ``code`` and ``reason``: why it is in this state.
    """

    serial: str
    node: str
    size: int
    model: str
    content: str
    state: DiskState
    disk: str = ""
    code: str = ""
    reason: str = ""
    mounted: str = ""
    changed: int = 0


def check_description(label: str, mount: MountPolicy) -> None:
    """Raise InvalidInput unless a disk can be called so and mounted there."""
    parse_mount_name(label)
    if mount.name:
        parse_mount_name(mount.name)


def check_size(size: int) -> None:
    """Raise InvalidInput for a device that is too small."""
    if size < MIN_BYTES:
        raise InvalidInput(f"a disk has at least {MIN_BYTES} bytes")

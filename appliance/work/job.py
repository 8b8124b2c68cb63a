"""A work on the keys of one pinned disk: every step first looks what is done already.

So a work that was interrupted anywhere is simply done again. The keys of the disk, and those that
are to become its keys, stand in kms before any of them is on the device.
"""

from appliance.storage.device import Pinned
from appliance.storage.header import Header, parse_region, read_region
from appliance.storage.luks import mapping
from appliance.work.bench import Bench, passphrase
from appliance.work.checking import check_opens, check_settled, identifiers
from kms.domain.disks import Disk, Work
from kms.domain.ids import DiskId
from kms.errors import IntegrityFailure

Keys = tuple[bytes | None, ...]


class Job:
    """What is under way; ``recovered``: the recovery key that a quorum recovered, for RECOVER."""

    def __init__(
        self, bench: Bench, pinned: Pinned, disk: DiskId, *, recovered: bytes | None = None
    ) -> None:
        self.bench, self.pinned, self.recovered = bench, pinned, recovered
        self.held = bench.link.held(disk)
        self.notes: list[str] = []
        """What whoever ordered it should be told."""

    @property
    def disk(self) -> Disk:
        """The disk as its worker knows it."""
        return self.held.disk

    @property
    def name(self) -> str | None:
        """The name of its mapping while it is open."""
        name = mapping(self.disk.disk)
        return name if self.bench.luks.is_open(name) else None

    def header(self) -> Header:
        """Return the header as it is now; raise HeaderRefused."""
        return parse_region(read_region(self.pinned.descriptor))

    def tell(self, percent: int, text: str) -> None:
        """Say how far it is."""
        self.bench.told(percent, text)

    # --- keys ------------------------------------------------------------------------------------

    def opens(self, key: bytes | None) -> bool:
        """Whether a key opens the disk."""
        if key is None:
            return False
        return self.bench.luks.opens(self.pinned.path, passphrase(key)) is not None

    def bring(self, keys: Keys, by: Keys) -> None:
        """Have every one of ``keys`` open the disk, by any of ``by`` that does; raise
        IntegrityFailure if none of these does, or one of those does not afterwards.
        """
        wanted = [key for key in keys if key is not None]
        missing = [key for key in wanted if not self.opens(key)]
        if missing:
            opener = self.opener((*by, *wanted))
            for key in missing:
                self.bench.luks.add_slot(self.pinned.path, passphrase(opener), passphrase(key))
        for key in missing:
            check_opens(self.bench, self.pinned.path, key)

    def keep_only(self, *keys: bytes | None) -> None:
        """Wipe every slot that none of the keys opens; each of them has to open one."""
        kept = [check_opens(self.bench, self.pinned.path, key) for key in keys]
        self.bench.luks.kill_slots_but(self.pinned.path, kept)

    def wipe(self, key: bytes | None, *, by: bytes | None) -> None:
        """Wipe the slot that ``key`` opens, if any, once ``by`` opens another one."""
        check_opens(self.bench, self.pinned.path, by)
        if key is not None and by is not None and self.opens(key):
            self.bench.luks.kill_slot(self.pinned.path, passphrase(key), passphrase(by))

    def opener(self, keys: Keys) -> bytes:
        """Return the first key that opens the disk; raise IntegrityFailure if none does."""
        for key in keys:
            if key is not None and self.opens(key):
                return key
        raise IntegrityFailure(
            "no key that kms has opens the disk",
            hint="restore the registered header, or recover the disk with a quorum",
        )

    # --- what kms is told ------------------------------------------------------------------------

    def begin(self, work: Work) -> None:
        """Have the keys made that the work brings."""
        self.bench.link.begin(self.disk.disk, work)
        self.held = self.bench.link.held(self.disk.disk)

    def commit(self) -> None:
        """Have the work's keys become the disk's."""
        self.bench.link.commit(self.held)
        self.held = self.held.committed()

    def finish(self) -> None:
        """Register the header as the work left it, with exactly the slots that it has to have."""
        luks, keys = self.bench.luks, self.held.keys
        luks.set_token(self.pinned.path, identifiers(self.disk, self.bench.link.site))
        for key in (keys.key, keys.recovery):
            if key is not None:
                check_opens(self.bench, self.pinned.path, key)
        digest = check_settled(self.bench, self.pinned, self.disk)
        self.bench.link.finish(self.held, digest)
        self.bench.backups.save(self.disk.disk, read_region(self.pinned.descriptor))

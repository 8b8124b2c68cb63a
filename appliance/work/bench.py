"""What every work on one device needs, what comes of it, and how its steps are told."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from appliance.link import Link
from appliance.run import Programs
from appliance.storage.backups import HeaderBackups
from appliance.storage.file_systems import FileSystems
from appliance.storage.luks import Luks, mapping
from appliance.storage.mounts import Mounts
from kms.domain.disks import DiskState
from kms.domain.ids import DiskId
from kms.statements.canonical import b64u

Told = Callable[[int, str], None]
"""Hears how far a work is (percent) and what is being done."""


@dataclass(frozen=True, slots=True)
class Bench:
    """The tools for one device: their programs end when something more urgent wants it.

    ``run``: a folder in memory for copies of headers.
    """

    programs: Programs
    link: Link
    luks: Luks
    systems: FileSystems
    mounts: Mounts
    backups: HeaderBackups
    run: Path
    told: Told

    def is_open(self, disk: DiskId) -> bool:
        """Whether the disk is open."""
        return self.luks.is_open(mapping(disk))

    def mounted(self, disk: DiskId) -> Path | None:
        """Return where the disk is mounted, None if it is not."""
        places = self.mounts.of(mapping(disk))
        return places[0].point if places else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the device stands afterwards, as it is to be reported.

    ``mounted``: where, or empty. ``message``: for whoever ordered it. ``steps``: what a dry run
    found that would be done, in order.
    """

    state: DiskState
    mounted: str = ""
    message: str = ""
    steps: tuple[str, ...] = ()


def passphrase(key: bytes) -> bytes:
    """Return the LUKS passphrase of a slot key or recovery key."""
    return b64u(key).encode("ascii")


def standing(bench: Bench, disk: DiskId, message: str = "", steps: tuple[str, ...] = ()) -> Outcome:
    """Return how a disk stands by what the machine says: mounted, open or closed."""
    if not bench.is_open(disk):
        return Outcome(DiskState.ENROLLED, "", message, steps)
    where = bench.mounted(disk)
    state = DiskState.MOUNTED if where else DiskState.OPEN
    return Outcome(state, str(where or ""), message, steps)

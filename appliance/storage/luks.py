"""LUKS2 by cryptsetup: the only module that runs it.

A passphrase is the text form of a key (base64url without padding, 86 characters). Nothing here
trusts a header: whoever calls has it checked (header_policy) first.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from appliance.run import Limits, ProgramFailed, Programs, Secret
from appliance.storage.header import REGION_BYTES, parse_region, read_region
from kms.domain.ids import DiskId
from kms.errors import StateNotAllowed

Progress = Callable[[int], None]
"""Hears how far a reencryption is, in percent."""

_PBKDF = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--hash", "sha256")
"""A key of 512 random bits gains nothing by a costly derivation."""
_SHAPE = (
    "--type", "luks2", "--cipher", "aes-xts-plain64", "--key-size", "512",
    "--luks2-metadata-size", "64k", "--luks2-keyslots-size", "3968k",
)  # fmt: skip
"""So data begin at REGION_BYTES."""
_REDUCE = 2 * REGION_BYTES
"""What a file system gives up to be encrypted in place: the header, and as much to move through."""
_REFUSED, _BUSY = 2, 5
"""cryptsetup(8), exit codes: no key for it; the device exists or is busy."""
_SLOT = re.compile(rb"^Key slot (\d+) unlocked", re.MULTILINE)
_CHANGES = Limits(seconds=60.0)
_REENCRYPTION = Limits(seconds=None, memory=1 << 30)
_CONTROL = Path("/dev/mapper/control")
_MAPPER = Path("/dev/mapper")
_UUID_PREFIX = "CRYPT-LUKS2-"


def mapping(disk: DiskId) -> str:
    """Return the name under which a disk is open: below /dev/mapper."""
    return f"conclave-{disk}"


class Luks:
    """Changes headers and opens devices. A target is a Pinned's path: node or image file.

    Every method raises ProgramFailed where cryptsetup refuses.
    """

    def __init__(self, programs: Programs) -> None:
        self._programs = programs

    def format(self, target: Path, disk: DiskId, passphrase: bytes, *, sector: int = 4096) -> None:
        """Write a new header; whatever lay there is lost."""

    def add_slot(self, target: Path, existing: bytes, new: bytes) -> None:
        """Let another passphrase open the disk too."""

    def opens(self, target: Path, passphrase: bytes) -> int | None:
        """Return the slot that the passphrase opens, None if it opens none. ``target`` may be a
        copy of the header region.
        """

    def kill_slots_but(self, target: Path, keep: Sequence[bytes]) -> int:
        """Wipe every slot that none of the passphrases opens; return how many.

        Raise StateNotAllowed, having changed nothing, unless each of them opens one.
        """

    def set_token(self, target: Path, identifiers: Mapping[str, str]) -> None:
        """Have one token of type ``conclave`` with the identifiers, and no other token."""

    def reencrypt(
        self,
        target: Path,
        passphrases: Sequence[bytes],
        on_progress: Progress,
        *,
        name: str | None = None,
    ) -> None:
        """Give the disk another volume key, to its end. ``passphrases``: of every slot there is,
        in any order; StateNotAllowed unless they are exactly those. ``name``: the mapping while
        the disk is open; None: it is closed.
        """

    def resume(
        self,
        target: Path,
        passphrase: bytes,
        on_progress: Progress,
        *,
        name: str | None = None,
    ) -> None:
        """Go on with a reencryption (or encryption in place) that was interrupted, to its end."""

    def encrypt_init(self, target: Path, disk: DiskId, passphrase: bytes) -> None:
        """Begin to encrypt a file system in place: header and first slot are on the device after.

        The last 8 MiB of the device have to be free (file_systems.shrink). cryptsetup adds no slot
        before ``resume`` has come to its end.
        """

    def erase(self, target: Path) -> None:
        """Wipe all slots and overwrite the header region."""

    def open(
        self, copy: Path, node: Path, name: str, passphrase: bytes, *, read_only: bool = False
    ) -> None:
        """Open a device by a copy of its header, never by the header on it."""

    def close(self, name: str) -> None:
        """Close an open disk; raise ProgramFailed while it is in use."""

    def suspend(self, name: str) -> None:
        """Wipe the volume key of an open disk from memory; whoever reads or writes it waits."""

    def resume_open(self, copy: Path, name: str, passphrase: bytes) -> None:
        """Give a suspended disk its key again."""

    def is_open(self, name: str) -> bool:
        """Whether a mapping of that name exists."""

    def active(self) -> tuple[str, ...]:
        """Return the names of all mappings of ours that exist."""

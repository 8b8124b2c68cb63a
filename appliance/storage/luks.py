"""LUKS2 by cryptsetup: the only module that runs it.

A passphrase is the text form of a key (base64url without padding, 86 characters). Nothing here
trusts a header: whoever calls has it checked (header_policy) first.
"""

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from appliance.run import Argument, Limits, ProgramFailed, Programs, Result, Secret
from appliance.storage.device import size_of, write_at
from appliance.storage.header import REGION_BYTES, Header, header_of, parse_region, region_of
from appliance.storage.header_policy import KEY_BYTES, TOKEN
from appliance.storage.reencrypted import end, has_done_all
from kms.domain.ids import DiskId
from kms.errors import ConclaveError, StateNotAllowed

Progress = Callable[[int], None]
"""Hears how far a reencryption is, in percent."""

_QUIET = ("--batch-mode", "--disable-external-tokens")
"""Asks nobody, and loads no library by the name of a token."""
_DERIVATION = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000")
"""A key of 512 random bits gains nothing by a costly derivation."""
_SHAPE = (
    *("--type", "luks2", "--cipher", "aes-xts-plain64", "--key-size", str(8 * KEY_BYTES)),
    *("--hash", "sha256", "--luks2-metadata-size", "64k", "--luks2-keyslots-size", "3968k"),
)
"""So data begin at REGION_BYTES."""
_PROGRESS = ("--progress-json", "--progress-frequency", "1")
REDUCTION = 2 * REGION_BYTES
"""What a file system gives up to be encrypted in place: the header, and as much to move through."""
_NO_PERMISSION = 2
"""cryptsetup(8), exit codes: no slot opens by this passphrase."""
_NOT_IN_USE = "No usable keyslot is available"
_SLOT = re.compile(rb"^Key slot ([0-9]+) unlocked", re.MULTILINE)
_BLOCK = 4096
_CHANGE = Limits(seconds=60.0)
_LONG = Limits(seconds=None, memory=1 << 30)
CONTROL = Path("/dev/mapper/control")
_PREFIX = "conclave-"


class NoDeviceMapper(ConclaveError):  # noqa: N818 -- named as in kms/errors.py
    """This host cannot open encrypted disks; everything else about them it can."""

    code = "no_device_mapper"


def mapping(disk: DiskId) -> str:
    """Return the name under which a disk is open: below /dev/mapper."""
    return f"{_PREFIX}{disk}"


class Luks:
    """Changes headers and opens devices. A target is a Pinned's path: node or image file.

    Every method raises ProgramFailed where cryptsetup refuses, and HeaderRefused where it has to
    look at a header that is none.
    """

    def __init__(self, programs: Programs, sysfs: Path = Path("/sys/block")) -> None:
        self._programs, self._sysfs = programs, sysfs

    # --- headers and slots -----------------------------------------------------------------------

    def format(self, target: Path, disk: DiskId, passphrase: bytes, *, sector: int = 4096) -> None:
        """Write a new header; whatever lay there is lost."""
        shape = (*_SHAPE, *_DERIVATION, "--sector-size", str(sector), "--uuid", disk)
        self._run("luksFormat", *shape, "--key-file", Secret(0), target, secrets=(passphrase,))

    def add_slot(self, target: Path, existing: bytes, new: bytes) -> None:
        """Let another passphrase open the disk too."""
        words = (*_DERIVATION, "--key-file", Secret(0), target, Secret(1))
        self._run("luksAddKey", *words, secrets=(existing, new))

    def opens(self, target: Path, passphrase: bytes) -> int | None:
        """Return the slot of the disk's volume key that the passphrase opens, None if it opens
        none. ``target`` may be a copy of the header region.
        """
        if not header_of(target).slots:
            return None
        words = (
            "--verbose",
            "--type",
            "luks2",
            "--test-passphrase",
            "--key-file",
            Secret(0),
            target,
        )
        try:
            result = self._run("open", *words, secrets=(passphrase,), limits=Limits())
        except ProgramFailed as error:
            # The second: it opens a slot, but one of a volume key that is not in use (yet).
            if error.status == _NO_PERMISSION or _NOT_IN_USE in error.message:
                return None
            raise
        found = _SLOT.search(result.out)
        return int(found[1]) if found else None

    def kill_slots_but(self, target: Path, keep: Sequence[bytes]) -> int:
        """Wipe every slot but the one that each of the passphrases opens; return how many.

        Raise StateNotAllowed, having changed nothing, unless each of them opens one, and while a
        reencryption goes on.
        """
        header = header_of(target)
        if header.reencrypts:
            raise StateNotAllowed("a reencryption goes on", hint="let it come to its end first")
        kept = self._slots_of(target, header, keep)
        others = sorted(header.slots - kept)
        for slot in others:
            words = ("--key-file", Secret(0), target, str(slot))
            self._run("luksKillSlot", *words, secrets=(keep[0],))
        return len(others)

    def kill_slot(self, target: Path, passphrase: bytes, other: bytes) -> None:
        """Wipe the slot that a passphrase opens, by another one's; raise StateNotAllowed, having
        changed nothing, unless they open one each.
        """
        slot = self._slot(target, passphrase)
        if slot == self._slot(target, other):
            raise StateNotAllowed("the last slot is never wiped")
        words = ("--key-file", Secret(0), target, str(slot))
        self._run("luksKillSlot", *words, secrets=(other,))

    def set_token(self, target: Path, identifiers: Mapping[str, str]) -> None:
        """Have one token of type ``conclave`` with the identifiers, and no other token."""
        wanted = {"type": TOKEN, "keyslots": [], **identifiers}
        tokens = header_of(target).metadata.tokens
        for number in tokens:
            if tokens != {"0": wanted}:
                self._run("token", "remove", "--token-id", number, target)
        if tokens != {"0": wanted}:
            words = ("token", "import", "--token-id", "0", "--json-file", "-", target)
            self._run(*words, stdin=json.dumps(wanted).encode())

    def erase(self, target: Path) -> None:
        """Wipe all slots, then overwrite the header region, whatever it holds; raise OSError."""
        # A damaged header, or one amid a reencryption, is refused: it is overwritten all the same.
        with suppress(ProgramFailed):
            self._run("erase", target)
        size = min(REGION_BYTES, size_of(target))
        # The first block goes last: until then the device says whose it is.
        for content in (os.urandom(size - _BLOCK), bytes(size - _BLOCK)):
            write_at(target, _BLOCK, content)
        write_at(target, 0, bytes(_BLOCK))

    # --- reencryption ----------------------------------------------------------------------------

    def reencrypt(
        self,
        target: Path,
        passphrases: Sequence[bytes],
        on_progress: Progress,
        *,
        name: str | None = None,
    ) -> None:
        """Give the disk another volume key, to its end. ``passphrases``: those of all slots, in any
        order; else StateNotAllowed, since cryptsetup drops a slot whose passphrase it is not given.
        ``name``: the mapping while the disk is open; None: it is closed.
        """
        header = header_of(target)
        found = {self._slot(target, one): one for one in passphrases}
        if header.reencrypts or found.keys() != header.slots:
            raise StateNotAllowed("the passphrases are not those of all slots")
        lines = b"".join(found[slot] + b"\n" for slot in sorted(header.slots))
        words = ("--resilience", "checksum", "--hash", "sha256", *_DERIVATION)
        self._reencrypt(*words, target=target, name=name, on_progress=on_progress, stdin=lines)

    def resume(
        self,
        target: Path,
        passphrase: bytes,
        on_progress: Progress,
        *,
        name: str | None = None,
    ) -> None:
        """Go on with a reencryption (or encryption in place) that was interrupted, to its end."""
        # After a power cut amid writing, cryptsetup wants to put that stretch right first.
        if name is None and not self.end_if_done(target):
            words = ("--key-file", Secret(0), target)
            self._run("repair", *words, secrets=(passphrase,), limits=_LONG)
        if self.end_if_done(target) or not header_of(target).reencrypts:
            return
        self._reencrypt(
            *("--resume-only", "--key-file", Secret(0)),
            target=target,
            name=name,
            on_progress=on_progress,
            secrets=(passphrase,),
        )

    def end_if_done(self, target: Path) -> bool:
        """Tidy up after a reencryption that has done all data; return whether it was one. Raise
        HeaderRefused, OSError.
        """
        region = region_of(target)
        if not has_done_all(parse_region(region)):
            return False
        end(target, region)
        return True

    def encrypt_init(self, target: Path, disk: DiskId, passphrase: bytes, folder: Path) -> None:
        """Begin to encrypt a file system in place: header and first slot are on the device after.

        The last REDUCTION bytes of the device have to be free (file_systems.shrink). cryptsetup
        adds no slot before ``resume`` has come to its end. It makes the header in ``folder``, which
        has to outlast a power cut, and puts it onto the device last: see in_place.py.
        """
        shape = (*_SHAPE, *_DERIVATION, "--sector-size", "512", "--uuid", disk)
        words = ("--encrypt", "--init-only", "--reduce-device-size", str(REDUCTION), *shape)
        self._reencrypt(
            *(*words, "--key-file", Secret(0)),
            target=target,
            name=None,
            on_progress=lambda _percent: None,
            secrets=(passphrase,),
            folder=folder,
        )

    # --- open devices ----------------------------------------------------------------------------

    def open(
        self, copy: Path, node: Path, name: str, passphrase: bytes, *, read_only: bool = False
    ) -> None:
        """Open a device by a copy of its header, never by the header on it. Raise NoDeviceMapper
        where the kernel has none.
        """
        check_device_mapper()
        words = ("--type", "luks2", "--header", copy, "--key-file", Secret(0))
        mode = ("--readonly",) if read_only else ()
        self._run("open", *words, *mode, node, name, secrets=(passphrase,), limits=Limits())

    def close(self, name: str) -> None:
        """Close an open disk; raise ProgramFailed while it is in use."""
        self._run("close", name)

    def suspend(self, name: str) -> None:
        """Wipe the volume key of an open disk from memory; whoever reads or writes it waits."""
        self._run("luksSuspend", name)

    def resume_open(self, copy: Path, name: str, passphrase: bytes) -> None:
        """Give a suspended disk its key again."""
        words = ("--header", copy, "--key-file", Secret(0), name)
        self._run("luksResume", *words, secrets=(passphrase,), limits=Limits())

    def node_of(self, name: str) -> Path:
        """Return the node of an open disk: where udev runs the name below /dev/mapper is a link."""
        return Path("/dev/mapper", name).resolve()

    def is_open(self, name: str) -> bool:
        """Whether a mapping of that name exists."""
        return name in self._mappings()

    def is_suspended(self, name: str) -> bool:
        """Whether the key of an open disk is wiped from memory already."""
        return self._mappings().get(name, False)

    def active(self) -> tuple[str, ...]:
        """Return the names of all mappings of ours that exist."""
        return tuple(sorted(self._mappings()))

    # --- parts -----------------------------------------------------------------------------------

    def _mappings(self) -> dict[str, bool]:
        """Return the names of all mappings of ours, and whether each is suspended."""
        found = {}
        for place in self._sysfs.glob("dm-*/dm"):
            with suppress(OSError):  # closed meanwhile
                name = (place / "name").read_text().strip()
                found[name] = False
                found[name] = (place / "suspended").read_text().strip() == "1"
        return {name: told for name, told in found.items() if name.startswith(_PREFIX)}

    def _slot(self, target: Path, passphrase: bytes) -> int:
        slot = self.opens(target, passphrase)
        if slot is None:
            raise StateNotAllowed("a passphrase opens no slot")
        return slot

    def _slots_of(self, target: Path, header: Header, keep: Sequence[bytes]) -> set[int]:
        kept = {self._slot(target, passphrase) for passphrase in keep}
        if not keep or len(kept) != len(keep) or not kept <= header.bound_slots:
            raise StateNotAllowed("the passphrases to keep open no slot each")
        return kept

    def _reencrypt(
        self,
        *words: Argument,
        target: Path,
        name: str | None,
        on_progress: Progress,
        stdin: bytes = b"",
        secrets: Sequence[bytes] = (),
        folder: Path = Path("/"),
    ) -> None:
        # Of a file cryptsetup cannot tell whether it is open somewhere; of a node it looks itself.
        file = () if target.is_block_device() else ("--force-offline-reencrypt",)
        place: tuple[Argument, ...] = (*file, target) if name is None else ("--active-name", name)
        self._run(
            "reencrypt",
            *(*words, *_PROGRESS, *place),
            stdin=stdin,
            secrets=secrets,
            limits=_LONG,
            on_line=lambda line: _hear(line, on_progress),
            folder=folder,
        )

    def _run(
        self,
        action: str,
        *words: Argument,
        stdin: bytes = b"",
        secrets: Sequence[bytes] = (),
        limits: Limits = _CHANGE,
        ok: tuple[int, ...] = (0,),
        on_line: Callable[[bytes], None] | None = None,
        folder: Path = Path("/"),
    ) -> Result:
        return self._programs.run(
            ("cryptsetup", action, *_QUIET, *words),
            stdin=stdin,
            secrets=secrets,
            limits=limits,
            ok=ok,
            on_line=on_line,
            folder=folder,
        )


def check_device_mapper() -> None:
    """Raise NoDeviceMapper where the kernel has none."""
    try:
        os.close(os.open(CONTROL, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        raise NoDeviceMapper("this host has no device-mapper") from error


def _hear(line: bytes, on_progress: Progress) -> None:
    try:
        said = json.loads(line)
        done, whole = int(said["device_bytes"]), int(said["device_size"])
    except (ValueError, KeyError, TypeError):
        return
    on_progress(min(100, 100 * done // whole) if whole else 100)

"""Looks at a device before anything is done with it: is it the disk, is its header the right one.

A refused header raises HeaderRefused: the daemon puts the disk into quarantine, and nothing on it
is touched.
"""

from pathlib import Path

from appliance.storage.device import DeviceRef, Pinned
from appliance.storage.header import parse_region, read_region, region_digest
from appliance.storage.header_policy import Expected, check_header
from appliance.storage.metadata import HeaderRefused
from appliance.work.bench import Bench, passphrase
from kms.domain.disks import Disk, Work
from kms.errors import IntegrityFailure, StateNotAllowed


def identifiers(disk: Disk, site: str) -> dict[str, str]:
    """Return what a disk's header says of it: whose it is, and nothing that opens it."""
    return {"disk": disk.disk, "site": site, "space": disk.space}


def check_device(ref: DeviceRef, disk: Disk) -> None:
    """Raise HeaderRefused (``device``) unless the device is the one that was enrolled."""
    if (ref.serial, ref.size) != (disk.serial, disk.size):
        raise HeaderRefused("device", "the device has another serial number or size than the disk")


def check(bench: Bench, pinned: Pinned, disk: Disk) -> bytes:
    """Return the header region of a disk, checked; raise HeaderRefused.

    It is the registered one while no work goes on, otherwise one that the work may have left.
    """
    check_device(pinned.ref, disk)
    region = read_region(pinned.descriptor)
    check_header(
        parse_region(region),
        Expected(
            disk=disk.disk,
            size=disk.size,
            token=identifiers(disk, bench.link.site),
            work=disk.work,
            digest=disk.header,
        ),
    )
    if disk.work is Work.NONE:
        bench.backups.save(disk.disk, region)
    return region


def check_settled(bench: Bench, pinned: Pinned, disk: Disk) -> str:
    """Return the digest of the header that a work has made, once it is as a header at rest has to
    be; raise HeaderRefused.
    """
    region = read_region(pinned.descriptor)
    digest = region_digest(region)
    expected = Expected(
        disk=disk.disk,
        size=disk.size,
        token=identifiers(disk, bench.link.site),
        digest=digest,
    )
    check_header(parse_region(region), expected)
    return digest


def check_opens(bench: Bench, target: Path, key: bytes | None) -> bytes:
    """Return the passphrase of a key that opens a disk, or a copy of its header; raise
    IntegrityFailure for one that does not, StateNotAllowed without a key.
    """
    if key is None:
        raise StateNotAllowed("kms has no key of this disk", hint="see its state with disk show")
    text = passphrase(key)
    if bench.luks.opens(target, text) is None:
        raise IntegrityFailure(
            "the key that kms has does not open the disk",
            hint="restore the registered header, or recover the disk with a quorum",
        )
    return text

"""Mends the beginning of an encryption in place that a power cut interrupted.

cryptsetup makes the header in a file, copies the first 4 MiB of the device to its end, and then
puts the header over them. Between, nothing but that file knows how to go on.
"""

from pathlib import Path

from appliance.storage.device import read_at, size_of, write_start
from appliance.storage.header import REGION_BYTES, parse_region
from appliance.storage.metadata import HeaderRefused
from kms.domain.ids import DiskId

_BLOCK = 4096


def mend_beginning(target: Path, disk: DiskId, folder: Path) -> None:
    """Put the header that is left in ``folder`` onto the device if what it replaces was copied to
    the end; in any case leave nothing in ``folder``. Raise OSError.
    """
    left = folder / f"LUKS2-temp-{disk}.new"
    if not left.exists():
        return
    header = left.read_bytes()[:REGION_BYTES]
    if _is_whole(header) and _was_copied(target, header):
        write_start(target, header)
    left.unlink()


def _is_whole(header: bytes) -> bool:
    """Whether cryptsetup had written it to its end: the last it says is what goes on."""
    try:
        found = parse_region(header)
    except HeaderRefused:
        return False
    return found.agree and found.reencrypts


def _was_copied(target: Path, header: bytes) -> bool:
    """Whether the device begins with what lies at its end, but for what the header's writing has
    replaced already.
    """
    with target.open("rb") as device:
        first = read_at(device.fileno(), 0, REGION_BYTES)
        last = read_at(device.fileno(), size_of(target) - REGION_BYTES, REGION_BYTES)
    return all(
        first[start : start + _BLOCK]
        in {last[start : start + _BLOCK], header[start : start + _BLOCK]}
        for start in range(0, REGION_BYTES, _BLOCK)
    )

"""Ends the header of a reencryption that has done all data, but was cut off before tidying up.

cryptsetup (seen: 2.6.1) takes such a header for one whose data are all still to be done. Going on
it encrypts them a second time, which destroys them, or it stops forever, for the old key's slots
are gone already. So it is never asked to: the header is brought here to where it would have ended.
"""

import hashlib
import json
import os
import struct
from pathlib import Path
from typing import Any

from appliance.storage.device import write_at
from appliance.storage.header import COPY_BYTES, REGION_BYTES, Header, parse_region
from appliance.storage.metadata import HeaderRefused, Metadata

_BACKUP = ("backup-previous", "backup-final", "backup-moved-segment")
_BINARY_BYTES = 4096
_SEQUENCE, _SALT, _CHECKSUM = slice(16, 24), slice(104, 168), slice(448, 512)


def has_done_all(header: Header) -> bool:
    """Whether a reencryption goes on by the header's word that has nothing left to do: the one
    segment is bound to the key of the segment that there shall be in the end.
    """
    found = header.metadata
    segments = [number for number, one in found.segments.items() if not _is_backup(one.flags)]
    final = [number for number, one in found.segments.items() if "backup-final" in one.flags]
    if not header.reencrypts or len(segments) != 1 or len(final) != 1:
        return False
    return not found.segments[segments[0]].flags and _digest_of(found, *segments, *final) != ""


def end(target: Path, region: bytes) -> None:
    """Tidy up a header region for which ``has_done_all`` holds. Slots of the old key, and where the
    reencryption kept what it worked at, are overwritten first. Raise HeaderRefused, OSError.
    """
    new = ended(region)
    write_at(target, 2 * COPY_BYTES, new[2 * COPY_BYTES :])
    write_at(target, 0, new[:COPY_BYTES])
    write_at(target, COPY_BYTES, new[COPY_BYTES : 2 * COPY_BYTES])


def ended(region: bytes) -> bytes:
    """Return what the region is to be in the end; raise HeaderRefused."""
    header = parse_region(region)
    newest = max(header.copies, key=lambda copy: copy.sequence)
    text: dict[str, Any] = json.loads(newest.text.partition(b"\0")[0])
    new = bytearray(region)
    for slot in _tidied(text, newest.metadata):
        area = newest.metadata.keyslots[slot].area
        if not 2 * COPY_BYTES <= area.begin < area.end <= REGION_BYTES:
            raise HeaderRefused("areas", "a slot lies where none may be")
        new[area.begin : area.end] = os.urandom(area.end - area.begin)
    content = json.dumps(text, separators=(",", ":")).encode()
    place = 0 if header.copies[0] is newest else COPY_BYTES
    binary = bytes(region[place : place + _BINARY_BYTES])
    for at, magic in ((0, b"LUKS\xba\xbe"), (COPY_BYTES, b"SKUL\xba\xbe")):
        new[at : at + COPY_BYTES] = _copy(binary, magic, at, newest.sequence + 1, content)
    return bytes(new)


def _tidied(text: dict[str, Any], found: Metadata) -> list[str]:
    """Drop from the JSON what is of the reencryption or the old key; return the dropped slots."""
    (segment,) = (number for number, one in found.segments.items() if not _is_backup(one.flags))
    kept = _digest_of(found, segment)
    slots = found.digests[kept].keyslots
    dropped = [number for number in found.keyslots if number not in slots]
    text["segments"] = {"0": text["segments"][segment]}
    text["digests"] = {kept: {**text["digests"][kept], "segments": ["0"]}}
    text["keyslots"] = {number: text["keyslots"][number] for number in slots}
    del text["config"]["requirements"]
    return dropped


def _copy(binary: bytes, magic: bytes, place: int, sequence: int, content: bytes) -> bytes:
    """Return a whole copy of a header: binary part, JSON, checksum (on-disk format 1.1, 2.1)."""
    new = bytearray(binary + content.ljust(COPY_BYTES - _BINARY_BYTES, b"\0"))
    new[:6] = magic
    new[_SEQUENCE] = struct.pack(">Q", sequence)
    new[_SALT] = os.urandom(64)
    new[256:264] = struct.pack(">Q", place)
    new[_CHECKSUM] = bytes(64)
    new[_CHECKSUM] = hashlib.sha256(new).digest().ljust(64, b"\0")
    return bytes(new)


def _is_backup(flags: tuple[str, ...]) -> bool:
    return any(flag in _BACKUP for flag in flags)


def _digest_of(found: Metadata, *segments: str) -> str:
    """Return the digest that segments are all bound to, or none."""
    bound = (number for number, one in found.digests.items() if {*segments} <= {*one.segments})
    return next(bound, "")

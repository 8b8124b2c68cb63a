"""Headers as somebody writes them who had the disk for a while: each is one that cryptsetup takes,
or works at for long, and that the policy has to refuse.
"""

import base64
import hashlib
import json
import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.storage.header import COPY_BYTES, REGION_BYTES
from tests.fixtures.luks import DISK, ImageDisk, image_disk, passphrase, volume_key

BINARY = 4096
OTHER = "01900000-0000-7000-8000-0000000a77ac"
Edit = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Forgery:
    """A way to forge a disk's header. ``fault``: the check that has to refuse it once the digest
    is not looked at (while a work goes on). ``before`` happens before the header is registered,
    ``make`` then forges it.
    """

    name: str
    fault: str
    make: Callable[[ImageDisk], None]
    before: Callable[[ImageDisk], None] = lambda _disk: None


# --- writing headers -----------------------------------------------------------------------------


def metadata(path: Path) -> dict[str, Any]:
    """Return the JSON of a disk's first header."""
    with path.open("rb") as file:
        file.seek(BINARY)
        return json.loads(file.read(COPY_BYTES - BINARY).partition(b"\0")[0])


def write_text(path: Path, text: bytes, *, copies: tuple[int, ...] = (0, COPY_BYTES)) -> None:
    """Put a JSON text into headers, with checksums that are right."""
    area = text.ljust(COPY_BYTES - BINARY, b"\0")
    with path.open("r+b") as file:
        for place in copies:
            file.seek(place)
            binary = bytearray(file.read(BINARY))
            binary[448:512] = bytes(64)
            binary[448:480] = hashlib.sha256(bytes(binary) + area).digest()
            file.seek(place)
            file.write(bytes(binary) + area)


def write_field(
    path: Path, offset: int, value: bytes, *, copies: tuple[int, ...] = (0, COPY_BYTES)
) -> None:
    """Put a value into binary headers, with checksums that are right."""
    with path.open("r+b") as file:
        for place in copies:
            file.seek(place + offset)
            file.write(value)
            file.seek(place)
            whole = bytearray(file.read(COPY_BYTES))
            whole[448:512] = bytes(64)
            file.seek(place + 448)
            file.write(hashlib.sha256(whole).digest())


def edited(edit: Edit) -> Callable[[ImageDisk], None]:
    """Return a forger that edits the JSON of both headers."""

    def make(disk: ImageDisk) -> None:
        found = metadata(disk.path)
        edit(found)
        write_text(disk.path, json.dumps(found, separators=(",", ":")).encode())

    return make


# --- the attack that works -----------------------------------------------------------------------


def _diffuse(block: bytes) -> bytes:
    parts = (block[start : start + 32] for start in range(0, len(block), 32))
    return b"".join(
        hashlib.sha256(struct.pack(">I", number) + part).digest()[: len(part)]
        for number, part in enumerate(parts)
    )


def _xor(one: bytes, other: bytes) -> bytes:
    return (int.from_bytes(one) ^ int.from_bytes(other)).to_bytes(len(one))


def af_split(key: bytes, stripes: int = 4000) -> bytes:
    """Return a key as LUKS splits it (anti-forensic, SHA-256)."""
    last, parts = bytes(len(key)), []
    for _ in range(stripes - 1):
        parts.append(os.urandom(len(key)))
        last = _diffuse(_xor(last, parts[-1]))
    return b"".join([*parts, _xor(last, key)])


def null_cipher(disk: ImageDisk) -> None:
    """Make slot and segment unencrypted, with a volume key of the attacker's: to a cryptsetup that
    lets it pass (CVE-2025-58356) any passphrase opens it, and all that is written later lies there
    in the clear.
    """
    stranger = passphrase()
    disk.luks.format(disk.path, disk.disk, stranger)
    found, volume = metadata(disk.path), volume_key(disk.path, stranger)
    found["keyslots"]["0"]["area"]["encryption"] = "cipher_null-ecb"
    found["segments"]["0"]["encryption"] = "cipher_null-ecb"
    write_text(disk.path, json.dumps(found).encode())
    with disk.path.open("r+b") as file:
        file.seek(int(found["keyslots"]["0"]["area"]["offset"]))
        file.write(af_split(volume))


def other_disk(disk: ImageDisk) -> None:
    """Put the whole header of another disk of ours onto this one."""
    folder = disk.path.parent / "other"
    folder.mkdir()
    other = image_disk(folder, disk=OTHER)
    _put(disk, other.path.read_bytes()[:REGION_BYTES])
    shutil.rmtree(folder)


def rotate(disk: ImageDisk) -> None:
    """Keep a copy of the header, then give the disk another slot key."""
    disk.path.with_suffix(".old").write_bytes(disk.path.read_bytes()[:REGION_BYTES])
    new = passphrase()
    disk.luks.add_slot(disk.path, disk.key, new)
    disk.luks.kill_slots_but(disk.path, [new, disk.recovery])


def old_header(disk: ImageDisk) -> None:
    """Bring back the header as it was before a slot was killed: the old key opens it again."""
    _put(disk, disk.path.with_suffix(".old").read_bytes())


def _put(disk: ImageDisk, region: bytes) -> None:
    with disk.path.open("r+b") as file:
        file.write(region)


# --- edits ---------------------------------------------------------------------------------------


def _segment_null(found: dict[str, Any]) -> None:
    """Leave the slots as they are: the disk's own keys open it, and what is written is in the
    clear.
    """
    found["segments"]["0"]["encryption"] = "cipher_null-ecb"


def _slot_null(found: dict[str, Any]) -> None:
    found["keyslots"]["1"]["area"]["encryption"] = "cipher_null-ecb"


def _weak_key(found: dict[str, Any]) -> None:
    found["keyslots"]["0"]["key_size"] = 16


def _argon2(found: dict[str, Any]) -> None:
    salt = base64.b64encode(bytes(32)).decode()
    dear = {"type": "argon2id", "time": 4, "memory": 4 << 20, "cpus": 4, "salt": salt}
    found["keyslots"]["0"]["kdf"] = dear


def _argon2_long(found: dict[str, Any]) -> None:
    _argon2(found)
    found["keyslots"]["0"]["kdf"] |= {"time": 2**31 - 1, "memory": 64}


def _passes(found: dict[str, Any]) -> None:
    found["keyslots"]["0"]["kdf"]["iterations"] = 1_000_000


def _no_passes(found: dict[str, Any]) -> None:
    found["keyslots"]["0"]["kdf"]["iterations"] = 1


def _dear_digest(found: dict[str, Any]) -> None:
    found["digests"]["0"]["iterations"] = 2**32 - 1


def _requirement(found: dict[str, Any]) -> None:
    found["config"]["requirements"] = {"mandatory": ["online-reencrypt-v2"]}


def _old_requirement(found: dict[str, Any]) -> None:
    found["config"]["requirements"] = {"mandatory": ["online-reencrypt"]}


def _decryption(found: dict[str, Any]) -> None:
    """Say that the disk is on its way to be decrypted: going on with it would bring all into the
    clear.
    """
    _requirement(found)
    area = {"type": "none", "offset": "1048576", "size": "4096"}
    slot = {
        "type": "reencrypt",
        "key_size": 1,
        "mode": "decrypt",
        "direction": "forward",
        "area": area,
    }
    found["keyslots"]["5"] = slot
    found["digests"]["1"] = {**found["digests"]["0"], "keyslots": ["5"], "segments": []}
    plain = {"type": "linear", "offset": "4194304", "size": "dynamic", "flags": ["backup-final"]}
    found["segments"]["1"] = plain


def _flags(found: dict[str, Any]) -> None:
    found["config"]["flags"] = ["no-read-workqueue", "allow-discards"]


def _token(found: dict[str, Any]) -> None:
    found["tokens"]["1"] = {"type": "luks2-keyring", "keyslots": ["0"], "key_description": "x"}


def _token_library(found: dict[str, Any]) -> None:
    found["tokens"]["0"] = {"type": "../../../tmp/evil", "keyslots": ["0"]}


def _token_other(found: dict[str, Any]) -> None:
    found["tokens"]["0"]["disk"] = OTHER


def _offset(found: dict[str, Any]) -> None:
    found["segments"]["0"]["offset"] = str(REGION_BYTES + 4096)


def _second_segment(found: dict[str, Any]) -> None:
    found["segments"]["0"]["size"] = str(8 << 20)
    plain = {"type": "linear", "offset": str(REGION_BYTES + (8 << 20)), "size": "dynamic"}
    found["segments"]["1"] = plain


def _tweak(found: dict[str, Any]) -> None:
    found["segments"]["0"]["iv_tweak"] = "8"


def _sector(found: dict[str, Any]) -> None:
    found["segments"]["0"]["sector_size"] = 1024


def _overlap(found: dict[str, Any]) -> None:
    found["keyslots"]["1"]["area"]["offset"] = found["keyslots"]["0"]["area"]["offset"]


def _over_header(found: dict[str, Any]) -> None:
    found["keyslots"]["0"]["area"]["offset"] = "4096"


def _over_data(found: dict[str, Any]) -> None:
    found["keyslots"]["1"]["area"]["offset"] = str(REGION_BYTES - 4096)


def _splitter(found: dict[str, Any]) -> None:
    found["keyslots"]["0"]["af"]["stripes"] = 1


def _priority(found: dict[str, Any]) -> None:
    found["keyslots"]["0"]["priority"] = 2


def _second_volume_key(found: dict[str, Any]) -> None:
    found["digests"]["0"]["keyslots"] = ["0"]
    found["digests"]["1"] = {**found["digests"]["0"], "keyslots": ["1"]}


def _integrity(found: dict[str, Any]) -> None:
    none = {"type": "none", "journal_encryption": "none", "journal_integrity": "none"}
    found["segments"]["0"]["integrity"] = none


def _huge(found: dict[str, Any]) -> None:
    found["segments"]["0"]["offset"] = "9" * 40


def _sizes(found: dict[str, Any]) -> None:
    found["config"]["keyslots_size"] = "4096"


def _many_slots(found: dict[str, Any]) -> None:
    for number in range(5, 11):
        area = {**found["keyslots"]["0"]["area"], "offset": str((1 << 20) + number * 262144)}
        found["keyslots"][str(number)] = {**found["keyslots"]["0"], "area": area}
        found["digests"]["0"]["keyslots"].append(str(number))


def _extra_slot(disk: ImageDisk) -> None:
    """Add a slot, as whoever saw a passphrase could, for one of his own; more than any work has."""
    for _ in range(3):
        disk.luks.add_slot(disk.path, disk.key, passphrase())


def _text(change: Callable[[bytes], bytes]) -> Callable[[ImageDisk], None]:
    def make(disk: ImageDisk) -> None:
        text = json.dumps(metadata(disk.path), separators=(",", ":")).encode()
        write_text(disk.path, change(text))

    return make


def _double_key(text: bytes) -> bytes:
    return text.replace(b'"type":"crypt"', b'"type":"crypt","encryption":"cipher_null-ecb"')


def _deep(_text_: bytes) -> bytes:
    return b"[" * 60_000


def _hidden(text: bytes) -> bytes:
    return text + b"\0\0hidden"


def _float(text: bytes) -> bytes:
    return text.replace(b'"sector_size":4096', b'"sector_size":4.096e3')


def _not_a_number(text: bytes) -> bytes:
    return text.replace(b'"sector_size":4096', b'"sector_size":NaN')


def _endless(text: bytes) -> bytes:
    return text.replace(b'"sector_size":4096', b'"sector_size":' + b"9" * 50_000)


def _uuid(disk: ImageDisk) -> None:
    write_field(disk.path, 168, OTHER.encode().ljust(40, b"\0"))


def _label(disk: ImageDisk) -> None:
    write_field(disk.path, 24, b"$(reboot); ../../etc".ljust(48, b"\0"))


def _version(disk: ImageDisk) -> None:
    write_field(disk.path, 6, b"\0\1")


def _checksum(disk: ImageDisk) -> None:
    for place in (0, COPY_BYTES):
        with disk.path.open("r+b") as file:
            file.seek(place + 448)
            file.write(bytes(32))


def _algorithm(disk: ImageDisk) -> None:
    write_field(disk.path, 72, b"sha512".ljust(32, b"\0"))


def _newer_second(disk: ImageDisk) -> None:
    """Let the second copy be newer and name a null cipher: cryptsetup goes by it."""
    found = metadata(disk.path)
    _segment_null(found)
    write_text(disk.path, json.dumps(found).encode(), copies=(COPY_BYTES,))
    write_field(disk.path, 16, (2**32).to_bytes(8), copies=(COPY_BYTES,))


def _third_copy(disk: ImageDisk) -> None:
    """Damage the first copy and hide one inside it, where cryptsetup looks before the second."""
    with disk.path.open("r+b") as file:
        file.write(b"\0")
        file.seek(0x4000)
        file.write(b"SKUL\xba\xbe")


def _edits(fault: str, *edits: Edit) -> list[Forgery]:
    return [Forgery(edit.__name__.strip("_"), fault, edited(edit)) for edit in edits]


def _makes(fault: str, *makes: Callable[[ImageDisk], None]) -> list[Forgery]:
    return [Forgery(make.__name__.strip("_"), fault, make) for make in makes]


def _texts(*changes: Callable[[bytes], bytes]) -> list[Forgery]:
    return [Forgery(change.__name__.strip("_"), "json", _text(change)) for change in changes]


FORGERIES: tuple[Forgery, ...] = (
    *_makes("cipher", null_cipher, _newer_second),
    *_edits("cipher", _segment_null, _slot_null),
    *_edits("key_size", _weak_key),
    *_edits("kdf", _argon2, _argon2_long, _passes, _no_passes),
    *_edits("key_digest", _dear_digest),
    *_edits("requirements", _requirement, _old_requirement, _decryption),
    *_edits("flags", _flags),
    *_edits("token", _token, _token_library, _token_other),
    *_edits("segments", _offset, _second_segment, _tweak),
    *_edits("sector", _sector),
    *_edits("areas", _overlap, _over_header, _over_data),
    *_edits("splitter", _splitter),
    *_edits("slots", _priority, _many_slots),
    *_edits("digests", _second_volume_key),
    *_edits("json", _integrity, _huge),
    *_edits("sizes", _sizes),
    *_texts(_double_key, _deep, _hidden, _float, _not_a_number, _endless),
    *_makes("uuid", _uuid, other_disk),
    *_makes("label", _label),
    *_makes("binary", _version, _algorithm),
    *_makes("checksum", _checksum),
    *_makes("copies", _third_copy),
    *_makes("slots", _extra_slot),
    Forgery("old_header", "", old_header, before=rotate),
)
"""``old_header`` alone is refused by nothing but the registered digest."""

assert len({forgery.name for forgery in FORGERIES}) == len(FORGERIES)
assert DISK != OTHER

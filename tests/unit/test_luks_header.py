"""Our own reader of LUKS2 headers and its policy, on headers that this test writes."""

import hashlib
import json
import struct
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.storage.header import (
    COPY_BYTES,
    REGION_BYTES,
    claimed_uuid,
    claims_luks,
    parse_region,
)
from appliance.storage.header_policy import Expected, check_header
from appliance.storage.metadata import HeaderRefused
from kms.domain.disks import Work
from tests.fixtures.luks import DISK, MIB, identifiers

SALT = "AAAA"


def slot(number: int) -> dict[str, Any]:
    area = {"type": "raw", "offset": str(131072 + number * 258048), "size": "258048"}
    return {
        "type": "luks2",
        "key_size": 64,
        "af": {"type": "luks1", "stripes": 4000, "hash": "sha256"},
        "area": area | {"encryption": "aes-xts-plain64", "key_size": 64},
        "kdf": {"type": "pbkdf2", "hash": "sha256", "iterations": 1000, "salt": SALT},
    }


def key_digest(slots: list[str], segments: list[str]) -> dict[str, Any]:
    return {
        "type": "pbkdf2",
        "keyslots": slots,
        "segments": segments,
        "hash": "sha256",
        "iterations": 1000,
        "salt": SALT,
        "digest": SALT,
    }


def crypt(offset: int = REGION_BYTES, size: str = "dynamic", *flags: str) -> dict[str, Any]:
    return {
        "type": "crypt",
        "offset": str(offset),
        "size": size,
        "iv_tweak": "0",
        "encryption": "aes-xts-plain64",
        "sector_size": 4096,
    } | ({"flags": list(flags)} if flags else {})


def healthy(slots: int = 2) -> dict[str, Any]:
    numbers = [str(number) for number in range(slots)]
    return {
        "keyslots": {number: slot(int(number)) for number in numbers},
        "tokens": {"0": {"type": "conclave", "keyslots": [], **identifiers()}},
        "segments": {"0": crypt()},
        "digests": {"0": key_digest(numbers, ["0"])},
        "config": {"json_size": "61440", "keyslots_size": "4063232"},
    }


def reencrypting() -> dict[str, Any]:
    """A header in the middle of a change of the volume key."""
    found = healthy(4)
    area = {"type": "checksum", "offset": "1163264", "size": "3031040", "hash": "sha256"}
    own = {"type": "reencrypt", "key_size": 1, "mode": "reencrypt", "direction": "forward"}
    found["keyslots"]["4"] = own | {"area": area | {"sector_size": 4096}}
    found["segments"] = {
        "0": crypt(REGION_BYTES, str(MIB)),
        "1": crypt(REGION_BYTES + MIB),
        "2": crypt(REGION_BYTES, "dynamic", "backup-previous"),
        "3": crypt(REGION_BYTES, "dynamic", "backup-final"),
    }
    found["digests"] = {
        "0": key_digest(["0", "1"], ["1", "2"]),
        "1": key_digest(["2", "3"], ["0", "3"]),
        "2": key_digest(["4"], []),
    }
    found["config"]["requirements"] = {"mandatory": ["online-reencrypt-v2"]}
    return found


def copy(found: dict[str, Any], place: int, sequence: int = 3, uuid: str = DISK) -> bytes:
    magic = b"SKUL\xba\xbe" if place else b"LUKS\xba\xbe"
    fields = (magic, 2, COPY_BYTES, sequence, b"", b"sha256", bytes(64), uuid.encode(), b"", place)
    binary = struct.pack(">6sHQQ48s32s64s40s48sQ", *fields).ljust(4096, b"\0")
    text = json.dumps(found).encode().ljust(COPY_BYTES - 4096, b"\0")
    checksum = hashlib.sha256(binary + text).digest()
    return binary[:448] + checksum + binary[480:] + text


def region(first: bytes, second: bytes) -> bytes:
    return (first + second).ljust(REGION_BYTES, b"\0")


def written(found: dict[str, Any], **fields: Any) -> bytes:
    return region(copy(found, 0, **fields), copy(found, COPY_BYTES, **fields))


def expected(work: Work = Work.NONE, data: bytes = b"", size: int = 32 * MIB) -> Expected:
    digest = parse_region(data).digest if data else ""
    return Expected(DISK, size, identifiers(), work, digest)


def fault_of(data: bytes, wanted: Expected) -> str:
    try:
        check_header(parse_region(data), wanted)
    except HeaderRefused as refused:
        return refused.fault
    return ""


def test_a_healthy_header_passes() -> None:
    data = written(healthy())
    check_header(parse_region(data), expected(data=data))
    assert parse_region(data).slots == {0, 1}
    assert not parse_region(data).reencrypts


def test_without_a_registered_digest_none_passes() -> None:
    data = written(healthy())
    assert fault_of(data, expected()) == "digest"


@pytest.mark.parametrize(
    ("slots", "works"),
    [
        (0, {Work.FORMAT}),
        (1, {Work.FORMAT, Work.ENCRYPT}),
        (2, set(Work) - {Work.NONE}),
        (3, {Work.SLOT, Work.RECOVERY, Work.VOLUME, Work.RECOVER}),
        (4, {Work.VOLUME, Work.RECOVER}),
        (5, {Work.RECOVER}),
        (6, set()),
    ],
)
def test_how_many_slots_there_may_be_depends_on_the_work(slots: int, works: set[Work]) -> None:
    data = written(healthy(slots))
    passes = {work for work in Work if not fault_of(data, expected(work))}
    assert passes - {Work.ERASE} == works - {Work.ERASE}


def test_only_a_change_of_the_volume_key_reencrypts() -> None:
    data = written(reencrypting())
    faults = {work: fault_of(data, expected(work, data)) for work in Work}
    assert faults.pop(Work.VOLUME) == ""
    assert faults.pop(Work.ENCRYPT) != ""
    assert set(faults.values()) == {"requirements"}


@pytest.mark.parametrize(
    ("key", "value"),
    [("mode", "decrypt"), ("mode", "encrypt"), ("direction", "backward")],
)
def test_a_reencryption_is_of_the_kind_that_the_work_makes(key: str, value: str) -> None:
    found = reencrypting()
    found["keyslots"]["4"][key] = value
    assert fault_of(written(found), expected(Work.VOLUME)) == "mode"


def test_a_reencryption_towards_plaintext_is_refused() -> None:
    found = reencrypting()
    found["segments"]["3"] |= {"type": "linear"}
    assert fault_of(written(found), expected(Work.VOLUME)) == "segments"


def test_a_volume_key_waits_unused_only_while_one_is_changed() -> None:
    found = healthy(4)
    found["digests"] = {"0": key_digest(["0", "1"], ["0"]), "1": key_digest(["2", "3"], [])}
    assert fault_of(written(found), expected(Work.VOLUME)) == ""
    assert fault_of(written(found), expected(Work.RECOVER)) == "digests"


@pytest.mark.parametrize("size", [0, 4 * MIB, 32 * MIB + 512, -1])
def test_the_device_has_the_size_that_the_header_needs(size: int) -> None:
    assert fault_of(written(healthy()), expected(Work.SLOT, size=size)) == "size"


def test_two_copies_that_differ_pass_only_while_a_work_goes_on() -> None:
    older, newer = copy(healthy(), 0, 3), copy(healthy(3), COPY_BYTES, 4)
    data = region(older, newer)
    assert fault_of(data, expected(data=data)) == "copies"
    assert fault_of(data, expected(Work.SLOT)) == ""
    assert len(parse_region(data).slots) == 3, "the newer one counts"


@pytest.mark.parametrize("damaged", [0, COPY_BYTES])
def test_a_torn_copy_passes_only_while_a_work_goes_on(damaged: int) -> None:
    data = bytearray(written(healthy()))
    data[damaged + 5000] ^= 1
    assert fault_of(bytes(data), expected(data=bytes(data))) == "copies"
    assert fault_of(bytes(data), expected(Work.SLOT)) == ""
    data[damaged + 5000 ^ COPY_BYTES] ^= 1
    assert fault_of(bytes(data), expected(Work.SLOT)) == "checksum"


def test_each_intact_copy_has_to_pass() -> None:
    bad = healthy()
    bad["segments"]["0"]["encryption"] = "cipher_null-ecb"
    for first, second in ((bad, healthy()), (healthy(), bad)):
        data = region(copy(first, 0), copy(second, COPY_BYTES))
        assert fault_of(data, expected(Work.SLOT)) == "cipher"


def test_what_a_header_claims_is_told_without_belief() -> None:
    data = written(healthy(), uuid=DISK)
    assert claims_luks(data)
    assert claimed_uuid(data) == DISK
    assert not claims_luks(bytes(REGION_BYTES))
    assert claimed_uuid(bytes(100)) == ""
    assert claimed_uuid(written(healthy(), uuid="$(id)\n-x")) == "d-"


@given(st.binary(max_size=4096), st.integers(0, 2 * COPY_BYTES))
@settings(deadline=None, max_examples=60)
def test_any_bytes_are_a_header_or_refused(noise: bytes, place: int) -> None:
    data = bytearray(written(healthy()))
    data[place : place + len(noise)] = noise
    with suppress(HeaderRefused):
        parse_region(bytes(data[:REGION_BYTES]).ljust(REGION_BYTES, b"\0"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=20,
)


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_whatever_is_put_into_the_json_passes_only_if_it_is_what_was_there(
    data: st.DataObject,
) -> None:
    found = healthy()
    at = found
    while True:
        key = data.draw(st.sampled_from(sorted(at)))
        if not isinstance(at[key], dict) or not at[key] or data.draw(st.booleans()):
            break
        at = at[key]
    was, at[key] = at[key], data.draw(JSON)
    wanted = expected(Work.SLOT)
    try:
        check_header(parse_region(written(found)), wanted)
    except HeaderRefused:
        return
    # Salts and digests may be any; the token may be missing while a work goes on.
    assert at[key] == was or key in {"salt", "digest", "tokens", "size"}

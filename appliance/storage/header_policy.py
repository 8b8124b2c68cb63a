"""Which LUKS2 headers may be used: those that this box writes, and no other.

Each check has a name, which a refusal carries as ``fault``. A header with a null cipher accepts any
passphrase and leaves what is written in the clear; one with a dear derivation keeps cryptsetup busy
for hours: both lie on a disk that was out of sight, so nothing on it is believed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from appliance.storage.header import COPY_BYTES, REGION_BYTES, Header
from appliance.storage.metadata import Area, HeaderRefused, Kdf, Metadata, Slot
from kms.domain.disks import REENCRYPTS, Work
from kms.domain.ids import DiskId

TOKEN = "conclave"  # noqa: S105 -- a type of LUKS2 token
CIPHER = "aes-xts-plain64"
KEY_BYTES = 64
"""Of a volume key: AES-256 in XTS."""
ITERATIONS = range(1000, 100_001)
SECTORS = frozenset({512, 4096})
REENCRYPTION = "online-reencrypt-v2"
"""The requirement while a reencryption goes on; its older form is not authenticated."""

_STRIPES = 4000
_BINARY_BYTES = 4096
_FLAGS = frozenset({"in-reencryption", "backup-previous", "backup-final", "backup-moved-segment"})
_SHAPES = {
    Work.VOLUME: ("reencrypt", "forward", "checksum", frozenset({"crypt"})),
    Work.ENCRYPT: ("encrypt", "backward", "datashift", frozenset({"crypt", "linear"})),
}
"""Mode, direction, resilience and kinds of segments of the reencryption that a work makes. Never
``decrypt``, which would bring what is on the disk into the clear.
"""
_SLOTS = {
    Work.NONE: range(2, 3),
    Work.FORMAT: range(3),
    Work.ENCRYPT: range(1, 3),
    Work.SLOT: range(2, 4),
    Work.RECOVERY: range(2, 4),
    Work.VOLUME: range(2, 5),
    Work.RECOVER: range(2, 6),
    Work.ERASE: range(5),
}
"""How many key slots there may be during a work, whatever interrupted it."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a disk's header has to be. ``size``: of the device in bytes. ``token``: the identifiers
    in its token. ``digest``: the registered one, never empty unless a work goes on; then it is not
    compared.
    """

    disk: DiskId
    size: int
    token: Mapping[str, str] = field(default_factory=dict)
    work: Work = Work.NONE
    digest: str = ""


@dataclass(frozen=True, slots=True)
class _Case:
    header: Header
    found: Metadata
    expected: Expected

    @property
    def reencrypts(self) -> bool:
        """Whether the header says that a reencryption goes on and the work allows it."""
        said = self.found.config.requirements.mandatory
        return self.expected.work in REENCRYPTS and said == (REENCRYPTION,)

    @property
    def slots(self) -> list[Slot]:
        """Slots that a passphrase opens."""
        return [slot for slot in self.found.keyslots.values() if slot.type == "luks2"]


def check_header(header: Header, expected: Expected) -> None:
    """Raise HeaderRefused, naming the first check that fails, unless the header may be used.

    While a work goes on a power cut may have left one copy damaged or older: then both that are
    intact have to pass.
    """
    if expected.work is Work.NONE:
        _refuse_unless(header.agree, "copies", "the two copies of the header differ")
        same = bool(expected.digest) and header.digest == expected.digest
        _refuse_unless(same, "digest", "the header is not the registered one")
    for copy in header.copies:
        _refuse_unless(copy.uuid == expected.disk, "uuid", "the header is another disk's")
        _refuse_unless(not copy.label + copy.subsystem, "label", "the header bears a label")
        case = _Case(header, copy.metadata, expected)
        for check in _CHECKS:
            check(case)


def _refuse_unless(holds: bool, fault: str, message: str) -> None:
    if not holds:
        raise HeaderRefused(fault, message)


def _check_config(case: _Case) -> None:
    config = case.found.config
    sizes = (int(config.json_size), int(config.keyslots_size))
    wanted = (COPY_BYTES - _BINARY_BYTES, REGION_BYTES - 2 * COPY_BYTES)
    _refuse_unless(sizes == wanted, "sizes", "the header's areas have other sizes")
    _refuse_unless(not config.flags, "flags", "the header asks for flags")
    plain = not config.requirements.mandatory
    _refuse_unless(plain or case.reencrypts, "requirements", "the header asks for more than LUKS2")


def _check_ciphers(case: _Case) -> None:
    crypts = [one for one in case.found.segments.values() if one.type == "crypt"]
    ciphers = {one.encryption for one in crypts} | {one.area.encryption for one in case.slots}
    _refuse_unless(ciphers <= {CIPHER}, "cipher", f"the header names a cipher other than {CIPHER}")
    sizes = {size for one in case.slots for size in (one.key_size, one.area.key_size)}
    _refuse_unless(sizes <= {KEY_BYTES}, "key_size", f"a key has other than {KEY_BYTES} bytes")
    sectors = {one.sector_size for one in crypts}
    _refuse_unless(len(sectors) == 1 and sectors <= SECTORS, "sector", "a sector has another size")


def _check_derivations(case: _Case) -> None:
    for slot in case.slots:
        _refuse_unless(_is_cheap(slot.kdf), "kdf", "a slot's key is derived in another way")
        af = slot.af and (slot.af.type, slot.af.stripes, slot.af.hash)
        _refuse_unless(af == ("luks1", _STRIPES, "sha256"), "splitter", "a slot is split otherwise")
    for one in case.found.digests.values():
        cheap = one.iterations in ITERATIONS and (one.type, one.hash) == ("pbkdf2", "sha256")
        _refuse_unless(cheap, "key_digest", "a key's digest is made in another way")


def _is_cheap(kdf: Kdf | None) -> bool:
    if kdf is None or kdf.iterations not in ITERATIONS:
        return False
    other = {kdf.time, kdf.memory, kdf.cpus} - {None}
    return (kdf.type, kdf.hash) == ("pbkdf2", "sha256") and not other


def _check_slots(case: _Case) -> None:
    allowed = _SLOTS[case.expected.work]
    _refuse_unless(len(case.slots) in allowed, "slots", "there are more or fewer slots than two")
    normal = all(slot.priority is None and slot.mode is None for slot in case.slots)
    _refuse_unless(normal, "slots", "a slot has a priority or a mode")
    own = [slot for slot in case.found.keyslots.values() if slot.type == "reencrypt"]
    _refuse_unless(len(own) == case.reencrypts, "slots", "a slot is kept for a reencryption")
    if own:
        mode, direction, resilience, _ = _SHAPES[case.expected.work]
        found = (own[0].mode, own[0].direction, own[0].area.type)
        _refuse_unless(
            found == (mode, direction, resilience), "mode", "another reencryption goes on"
        )


def _check_areas(case: _Case) -> None:
    areas = sorted((slot.area for slot in case.found.keyslots.values()), key=_begin)
    inside = all(
        2 * COPY_BYTES <= area.begin < area.end <= REGION_BYTES and area.begin % _BINARY_BYTES == 0
        for area in areas
    )
    apart = all(one.end <= other.begin for one, other in pairwise(areas))
    roomy = all(
        slot.area.type == "raw" and slot.area.end - slot.area.begin >= KEY_BYTES * _STRIPES
        for slot in case.slots
    )
    _refuse_unless(inside and apart and roomy, "areas", "slots lie where none may lie")


def _begin(area: Area) -> int:
    return area.begin


def _check_segments(case: _Case) -> None:
    segments = case.found.segments
    if case.reencrypts:
        kinds = _SHAPES[case.expected.work][3]
        known = all(one.type in kinds and set(one.flags) <= _FLAGS for one in segments.values())
        final = [one for one in segments.values() if "backup-final" in one.flags]
        whole = [(one.type, one.offset, one.size) for one in final]
        right = known and whole == [("crypt", str(REGION_BYTES), "dynamic")]
        _refuse_unless(right, "segments", "a reencryption goes on that is none of ours")
        return
    shape = [
        (number, one.type, one.offset, one.size, one.iv_tweak, one.flags)
        for number, one in segments.items()
    ]
    right = shape == [("0", "crypt", str(REGION_BYTES), "dynamic", "0", ())]
    _refuse_unless(right, "segments", "the disk is not one encrypted stretch behind its header")


def _check_size(case: _Case) -> None:
    sectors = {one.sector_size for one in case.found.segments.values() if one.sector_size}
    data = case.expected.size - REGION_BYTES
    fits = data > 0 and all(data % sector == 0 for sector in sectors)
    _refuse_unless(fits, "size", "the device has another size than its header needs")


def _check_digests(case: _Case) -> None:
    digests = case.found.digests.values()
    covered = [number for one in digests for number in one.keyslots]
    once = sorted(covered) == sorted(case.found.keyslots)
    _refuse_unless(once, "digests", "a slot belongs to no volume key, or to two")
    if not case.reencrypts:
        # Another volume key waits, unused, while cryptsetup begins or ends a reencryption.
        waits = case.expected.work in REENCRYPTS
        used = [one.segments for one in digests if one.segments or not waits]
        _refuse_unless(used == [("0",)], "digests", "there is another volume key than the disk's")


def _check_tokens(case: _Case) -> None:
    wanted = {"type": TOKEN, "keyslots": [], **case.expected.token}
    tokens = list(case.found.tokens.values())
    missing = case.expected.work is not Work.NONE and not tokens
    _refuse_unless(missing or tokens == [wanted], "token", "the header's token is another one")


_CHECKS: tuple[Callable[[_Case], None], ...] = (
    _check_config,
    _check_ciphers,
    _check_derivations,
    _check_slots,
    _check_areas,
    _check_segments,
    _check_size,
    _check_digests,
    _check_tokens,
)

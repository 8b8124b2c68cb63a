"""What is left of a log of writes once the power is gone."""

import struct
from pathlib import Path

import pytest

from tests.vm.write_cache import WriteCache

SECTOR = 512
FLUSH, DISCARD = 1, 4


def head(entries: int) -> bytes:
    return struct.pack("<QQQI", 0x6A736677736872, 1, entries, SECTOR).ljust(SECTOR, b"\0")


def entry(sector: int, data: bytes = b"", flags: int = 0, count: int = 0) -> bytes:
    found = struct.pack("<QQQQ", sector, count or len(data) // SECTOR, flags, 0)
    return found.ljust(SECTOR, b"\0") + data


def block(letter: bytes, sectors: int = 1) -> bytes:
    return letter * SECTOR * sectors


@pytest.fixture
def disk(tmp_path: Path) -> WriteCache:
    image = tmp_path / "disk.img"
    image.write_bytes(block(b"-", 8))
    cache = WriteCache(image, torn=8 * SECTOR)
    cache.power_on()
    return cache


def lose(disk: WriteCache, *parts: bytes, kept: float = 0.0, seed: int = 1) -> bytes:
    log = disk.image.with_suffix(".writes")
    with log.open("r+b") as file:
        file.write(b"".join(parts))
    disk.lost = disk.lose_power(seed, kept)
    return disk.image.read_bytes()


def test_what_was_flushed_stays(disk: WriteCache) -> None:
    parts = (entry(2, block(b"a")), entry(0, flags=FLUSH), entry(2, block(b"b")))
    left = lose(disk, head(2), *parts)
    assert left == block(b"-", 2) + block(b"a") + block(b"-", 5)
    assert disk.lost == SECTOR


def test_what_was_not_flushed_may_stay_sector_by_sector(disk: WriteCache) -> None:
    found = {lose_half(disk, seed) for seed in range(256)}
    assert len(found) == 16


def lose_half(disk: WriteCache, seed: int) -> bytes:
    disk.image.write_bytes(block(b"-", 8))
    disk.power_on()
    return lose(disk, head(0), entry(0, block(b"a", 4)), kept=0.5, seed=seed)


def test_everything_may_have_reached_the_medium(disk: WriteCache) -> None:
    parts = (entry(0, block(b"a", 2)), entry(1, block(b"b")), entry(7, block(b"c")))
    left = lose(disk, head(0), *parts, kept=1.0)
    assert left == block(b"a") + block(b"b") + block(b"-", 5) + block(b"c")


def test_a_discard_changes_nothing(disk: WriteCache) -> None:
    left = lose(disk, head(0), entry(0, flags=DISCARD, count=8), entry(1, block(b"a")), kept=1.0)
    assert left == block(b"-") + block(b"a") + block(b"-", 6)


def test_a_flush_behind_a_write_that_was_on_its_way_counts(disk: WriteCache) -> None:
    """The log has a gap where the write would stand, but its head counts the flush after it."""
    left = lose(disk, head(3), entry(0, block(b"a")), bytes(2 * SECTOR), entry(0, flags=FLUSH))
    assert left == block(b"a") + block(b"-", 7)


def test_before_any_write_there_is_nothing(disk: WriteCache) -> None:
    assert lose(disk) == block(b"-", 8)


def test_a_block_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    cache = WriteCache(image)
    found = set()
    for seed in range(64):
        image.write_bytes(block(b"-", 24))
        cache.power_on()
        left = lose(cache, head(0), entry(4, block(b"a", 16)), kept=0.5, seed=seed)
        found.add(bytes(left[at] for at in range(4 * SECTOR, 20 * SECTOR, SECTOR)))
    parts = (b"aaaa", b"----"), (b"aaaaaaaa", b"--------"), (b"aaaa", b"----")
    assert found == {a + b + c for a in parts[0] for b in parts[1] for c in parts[2]}

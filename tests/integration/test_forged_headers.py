"""Forged headers: each is refused by its check, at once; the dangerous ones are shown to be so."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from appliance.run import Limits, ProgramFailed, Programs, Secret
from appliance.storage.header import (
    REGION_BYTES,
    copied,
    header_of,
    parse_region,
    region_digest,
)
from appliance.storage.header_policy import Expected, check_header
from appliance.storage.metadata import HeaderRefused
from kms.domain.disks import Work
from tests.fixtures.luks import ImageDisk, identifiers, image_disk, passphrase
from tests.scenarios.forged_headers import FORGERIES, Forgery, null_cipher

FORGED = {forgery.name: forgery for forgery in FORGERIES}
ALL = pytest.mark.parametrize("forgery", FORGERIES, ids=lambda forgery: forgery.name)


@pytest.fixture
def disk(tmp_path: Path) -> ImageDisk:
    return image_disk(tmp_path)


@ALL
def test_a_forged_header_is_refused(disk: ImageDisk, forgery: Forgery) -> None:
    forgery.before(disk)
    registered = disk.expected()
    forgery.make(disk)
    with pytest.raises(HeaderRefused) as refused:
        check_header(header_of(disk.path), registered)
    assert refused.value.hint


@ALL
def test_its_own_check_refuses_it_while_a_work_goes_on(disk: ImageDisk, forgery: Forgery) -> None:
    forgery.before(disk)
    expected = disk.expected(Work.SLOT)
    forgery.make(disk)
    began = time.monotonic()
    fault = ""
    try:
        check_header(header_of(disk.path), expected)
    except HeaderRefused as refused:
        fault = refused.fault
    assert fault == forgery.fault
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("work", [work for work in Work if work is not Work.ERASE])
@pytest.mark.parametrize("name", ["null_cipher", "decryption", "argon2", "third_copy", "uuid"])
def test_no_work_lets_the_worst_pass(disk: ImageDisk, name: str, work: Work) -> None:
    FORGED[name].make(disk)
    # Also if the forged header itself were the registered one.
    size, token = disk.path.stat().st_size, identifiers()
    digest = region_digest(disk.path.read_bytes()[:REGION_BYTES])
    with pytest.raises(HeaderRefused):
        check_header(header_of(disk.path), Expected(disk.disk, size, token, work, digest))


def test_cryptsetup_alone_opens_a_disk_that_would_be_written_in_the_clear(disk: ImageDisk) -> None:
    FORGED["segment_null"].make(disk)
    assert disk.luks.opens(disk.path, disk.key) == 0
    dump = ["/usr/sbin/cryptsetup", "luksDump", disk.path]
    said = subprocess.run(dump, capture_output=True, text=True, check=True).stdout
    assert "cipher: cipher_null-ecb" in said, "nothing in cryptsetup minds"


def test_a_null_cipher_in_a_slot_opens_by_any_passphrase_or_by_none(disk: ImageDisk) -> None:
    """Which of both depends on cryptsetup's version; that it never comes to that, on the policy."""
    null_cipher(disk)
    assert how_it_opens(disk) in {"by any passphrase", "by none"}


def how_it_opens(disk: ImageDisk) -> str:
    try:
        found = {disk.luks.opens(disk.path, passphrase()) for _ in range(3)}
    except ProgramFailed as refused:
        return "by none" if "cipher_null" in refused.message else refused.message
    return "by any passphrase" if found == {0} else str(found)


def test_even_unchecked_a_dear_derivation_ends_soon(disk: ImageDisk) -> None:
    """The bounds on every run hold where the policy would not."""
    for name, limits in (("argon2", Limits()), ("argon2_long", Limits(seconds=1))):
        FORGED[name].make(disk)
        words = ("cryptsetup", "open", "--test-passphrase", "--key-file", Secret(0), disk.path)
        began = time.monotonic()
        with pytest.raises(ProgramFailed):
            Programs().run(words, secrets=(disk.key,), limits=limits)
        assert time.monotonic() - began < 10


def test_what_was_checked_is_what_is_used(disk: ImageDisk, tmp_path: Path) -> None:
    region = disk.path.read_bytes()[:REGION_BYTES]
    check_header(parse_region(region), disk.expected())
    with copied(region, tmp_path) as copy:
        null_cipher(disk)
        assert disk.luks.opens(copy, passphrase()) is None
        assert disk.luks.opens(copy, disk.key) == 0


def test_all_forgeries_together_take_little_time_and_memory(disk: ImageDisk) -> None:
    """In a process that may have no more than 256 MiB of address space beside the interpreter's."""
    script = (
        "import sys, resource, pathlib\n"
        "resource.setrlimit(resource.RLIMIT_AS, (256 << 20, 256 << 20))\n"
        "from appliance.storage.header import parse_region\n"
        "from appliance.storage.metadata import HeaderRefused\n"
        "for path in sys.argv[1:]:\n"
        "    try: parse_region(pathlib.Path(path).read_bytes())\n"
        "    except HeaderRefused: pass\n"
        "status = pathlib.Path('/proc/self/status').read_text()\n"
        "print(status.partition('VmHWM:')[2].split()[0])\n"
    )
    paths = []
    for number, forgery in enumerate(FORGERIES):
        if forgery.name in {"deep", "endless", "hidden", "double_key", "many_slots"}:
            forgery.make(disk)
            paths.append(disk.path.parent / f"{number}.region")
            paths[-1].write_bytes(disk.path.read_bytes()[:REGION_BYTES])
            disk = image_disk(disk.path.parent)
    began = time.monotonic()
    said = subprocess.run(
        [sys.executable, "-c", script, *paths],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert time.monotonic() - began < 10
    assert int(said.stdout) < 256 << 10

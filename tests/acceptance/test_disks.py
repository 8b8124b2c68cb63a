"""Encrypted disks: what has to be shown of them, a test for each line."""

from collections.abc import Callable
from pathlib import Path

from tests.practice.service import serving
from tests.scenarios import disks, erased_disks, many_disks, power_cuts, tampered
from tests.scenarios.bays import host_bay, machine_bay
from tests.scenarios.site import fresh_site
from tests.vm.tools import require

CUTS, SEED = 30, 20_261_122
MANY = 200
REPLUG_SECONDS = 3.0

Figure = Callable[[str], None]


def test_the_story_of_a_disk(tmp_path: Path, figure: Figure) -> None:
    """A virtual machine: a blank disk is plugged in, enrolled, filled, pulled out and searched: no
    canary is found, though on an unencrypted disk with the same files all are; dissect.fve does not
    open it with anything on the disk or in the store. Plugged in again it is mounted within 3 s of
    udev's event; a seal closes it at once."""
    require()
    with serving(fresh_site(tmp_path)) as service, machine_bay(service, tmp_path) as bay:
        story = disks.run(bay, SEED)
    figure(
        f"canaries found: {story.on_disk} on the disk, {story.on_control} on the unencrypted one"
    )
    figure(f"{story.tried} values of disk and store tried, {len(story.opened_by)} opened it")
    for what, seconds in story.seconds.items():
        figure(f"{what}: {seconds:.2f} s")
    story.check()
    assert story.opens_with_its_key
    assert story.seconds[disks.REPLUGGED] <= REPLUG_SECONDS


def test_power_cuts(tmp_path: Path, figure: Figure) -> None:
    """The machine is killed at 30 moments of formatting, replacing slot key and volume key, and
    erasing, and loses what its disks had not flushed: afterwards exactly one set of keys opens the
    disk and its files are there, or the erasure is completed."""
    require()
    with serving(fresh_site(tmp_path)) as service, machine_bay(service, tmp_path) as bay:
        told = power_cuts.run(bay, CUTS, SEED)
    for text in told.figures():
        figure(text)
    assert told.cuts.total() == CUTS
    assert set(told.cuts) == set(power_cuts.WORKS)


def test_forged_headers(tmp_path: Path, figure: Figure) -> None:
    """Forged headers (null cipher, 4 GB and 2^31 passes of argon2, other slots, tokens, segments,
    requirements, another disk's header, an old one): each is refused by the real daemon within 10 s
    and 256 MB, quarantined, logged, not written to; names of devices that attack are inert."""
    require(("cryptsetup",))
    with serving(fresh_site(tmp_path)) as service, host_bay(service, tmp_path) as bay:
        told = tampered.run(bay)
    for text in told.figures():
        figure(text)
    tampered.check(told)


def test_erased_means_erased(tmp_path: Path, figure: Figure) -> None:
    """A disk was copied with its header backups and the database before it was erased: nothing of
    that opens the copy, no HSM worker releases its keys; a quorum of escrow does open it, as the
    certificate, verified offline, says."""
    told = erased_disks.run(fresh_site(tmp_path), tmp_path)
    figure(f"{told.tried} values of the copies tried, {told.backups} backups of the header")
    figure(f"{len(told.opened_by)} opened the copy; keys with the old database: {told.release}")
    figure(f"escrow generation {told.certificate.escrow} by a quorum opens it: {told.quorum_opens}")
    erased_disks.check(told)


def test_many_disks(tmp_path: Path, figure: Figure) -> None:
    """200 disks are enrolled, each by a quorum, and prepared by the daemon; then a version of every
    disk's KEK is replaced: time and rate."""
    require(("cryptsetup",))
    with serving(fresh_site(tmp_path)) as service, host_bay(service, tmp_path) as bay:
        told = many_disks.run(bay, MANY)
    for text in told.figures():
        figure(text)
    many_disks.check(told)

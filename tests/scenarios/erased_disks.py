"""Erased means erased: a disk was copied, with its header backups and the database, before people
erased it. With all that nothing opens the copy; a quorum of escrow does, as the certificate says.

The daemon runs on the host with an image file.
"""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from kms.domain.disks import Disk, DiskState, OrderKind
from kms.errors import ConclaveError
from kms.practice import PracticeSite
from kms.settings import load
from kms.statements.canonical import decode_record, unb64u
from kms.statements.diskkeys import unbind_recovery
from kms.statements.erasure import ErasureCertificate, Slots, verify_erasure
from kms.statements.keylist import verify_keylist
from tests.fixtures.escrow import OAEP_SHA1, recover_disk_escrow
from tests.practice.service import serving
from tests.scenarios import stolen
from tests.scenarios.bays import HostBay, blank, host_bay, passphrase
from tests.scenarios.stolen import Loot

SERIAL = "WD-ERASED-1"
_MEGABYTES = 24


@dataclass
class Copied:
    """What a thief copied before the erasure."""

    image: Path
    database: Path
    backups: list[Path]


@dataclass
class Report:
    """What opened the copy afterwards."""

    certificate: ErasureCertificate | None = None
    tried: int = 0
    opened_by: list[str] = field(default_factory=list)
    backups: int = 0
    device_opens: bool = True
    release: str = ""
    """How asking for the keys ended on a site whose database was put back."""
    quorum_opens: bool = False


def run(site: PracticeSite, folder: Path) -> Report:
    """Copy, erase, try; raise AssertionError where something does not come about."""
    report = Report()
    with serving(site) as service, host_bay(service, folder) as bay:
        copied = prepare_and_copy(bay)
        own = passphrase(bay.held(SERIAL).keys.key)
        assert stolen.opens(copied.image, own)
        request = bay.erase(SERIAL).id
        bay.await_order(next(o.order for o in bay.orders(SERIAL) if o.kind is OrderKind.ERASE))
        report.device_opens = stolen.opens(bay.images / f"{SERIAL}.img", own)
        report.certificate = certified(bay, request)
        disk = bay.serials[SERIAL]
    try_everything(copied, disk, report)
    put_back(site, copied.database)
    report.release = ask_for_keys(site, disk, folder)
    report.quorum_opens = by_quorum(site, copied, disk)
    return report


def prepare_and_copy(bay: HostBay) -> Copied:
    """Have a disk enrolled and prepared, its header backed up; copy all that a thief could."""
    image = blank(bay.images, SERIAL, _MEGABYTES)
    bay.start()
    bay.await_state(SERIAL, DiskState.UNKNOWN)
    bay.enrol(SERIAL)
    bay.await_order(bay.orders(SERIAL)[0].order)
    bay.obey(OrderKind.BACK_UP_HEADER, SERIAL)
    thief = bay.folder / "thief"
    thief.mkdir()
    copied = Copied(thief / "copy.img", thief / "copy.db", [])
    shutil.copy(image, copied.image)
    database = bay.service.settings.paths.database
    with (
        closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(copied.database)) as target,
    ):
        source.backup(target)
    shutil.copytree(bay.folder / "state" / "headers", thief / "headers")
    copied.backups = [path for path in (thief / "headers").rglob("*") if path.is_file()]
    return copied


def certified(bay: HostBay, request: str) -> ErasureCertificate:
    """Return the certificate of erasure, verified offline by the pinned root."""
    with bay.service.console() as client:
        text = client.certificate(request).certificate
    root = serialization.load_pem_public_key(bay.service.site.site_root.read_bytes())
    keys = verify_keylist(bay.service.site.key_list.read_text().strip(), root)
    found = verify_erasure(text, keys)
    assert (found.request, found.disk, found.serial) == (request, bay.serials[SERIAL], SERIAL)
    return found


def try_everything(copied: Copied, disk: str, report: Report) -> None:
    """Try every value of the copies on the copied disk, and on it with each header backup."""
    loot = Loot.of(copied.image, copied.database, disk)
    report.tried, report.backups = len(loot.values), len(copied.backups)
    report.opened_by = stolen.tried(copied.image, loot)
    with copied.image.open("rb") as file:
        region = file.read(stolen.HEADER_BYTES)
    for backup in copied.backups:
        assert backup.read_bytes() == region, "another header would have to be tried too"


def put_back(site: PracticeSite, database: Path) -> None:
    """Put the copied database in the place of the site's."""
    present = load(site.config).paths.database
    for path in (present, *(present.with_name(present.name + end) for end in ("-wal", "-shm"))):
        path.unlink(missing_ok=True)
    shutil.copy(database, present)


def ask_for_keys(site: PracticeSite, disk: str, folder: Path) -> str:
    """Return how the service refuses to release the disk's keys with the old database."""
    try:
        with serving(site) as service:
            bay = HostBay(service, folder, {SERIAL: disk})
            bay.held(SERIAL)
    except ConclaveError as error:
        return error.code
    except AssertionError:
        return "the service does not start"
    return ""


def by_quorum(site: PracticeSite, copied: Copied, disk: str) -> bool:
    """Return whether the recovery key that the copied database holds under escrow opens the copy,
    once the officers' shares have decrypted it.
    """
    with closing(sqlite3.connect(copied.database)) as database:
        rows = database.execute("SELECT body FROM disk WHERE disk = ?", (disk,)).fetchall()
    record = decode_record(rows[0][0], Disk)
    assert record.recovery is not None
    sealed = unb64u(record.recovery.escrowed)
    plain = recover_disk_escrow(site).decrypt(sealed, OAEP_SHA1)
    key = unbind_recovery(plain, site.site_id, record, record.recovery.generation)
    return stolen.opens(copied.image, passphrase(key))


def check(report: Report) -> None:
    """Raise AssertionError unless only a quorum opens the copy, and the certificate says so."""
    assert report.opened_by == []
    assert not report.device_opens
    assert report.backups
    assert report.release
    assert report.quorum_opens
    assert report.certificate is not None
    assert report.certificate.slots is Slots.ERASED
    assert report.certificate.escrow == 1

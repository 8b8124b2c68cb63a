"""A device becomes a disk: formatted anew, or its file system encrypted where it lies.

Nothing is formatted that holds anything, unless officers knew so; and never a header of this very
disk with slots that its first key does not open.
"""

from pathlib import Path

from appliance.storage.file_systems import content_of, has_ext4
from appliance.storage.header import claimed_uuid, claims_luks, copied, parse_region, read_region
from appliance.storage.in_place import mend_beginning
from appliance.storage.luks import NoDeviceMapper, check_device_mapper, mapping
from appliance.storage.metadata import HeaderRefused
from appliance.work.bench import passphrase
from appliance.work.checking import check, check_opens
from appliance.work.job import Job
from appliance.work.transfer import source_of, take_over
from kms.domain.disks import Work
from kms.errors import StateNotAllowed


def format_device(job: Job) -> None:
    """Carry out the work FORMAT."""
    keys = job.held.keys
    source = source_of(job.bench, job.disk)
    if source is not None:
        check_device_mapper()
    if not job.disk.committed:
        if not _is_begun(job):
            _check_may_overwrite(job)
            job.tell(5, "writing the header")
            job.pinned.check()
            job.bench.luks.format(job.pinned.path, job.disk.disk, _first(keys.next_key))
        check(job.bench, job.pinned, job.disk)
        job.bring((keys.next_key, keys.next_recovery), by=(keys.next_key,))
        job.commit()
    job.tell(60, "making the file system")
    _make_file_system(job, source)


def encrypt_device(job: Job) -> None:
    """Carry out the work ENCRYPT. Until all is encrypted only the slot key opens the disk:
    cryptsetup adds no slot before.
    """
    keys = job.held.keys
    if not job.disk.committed:
        mend_beginning(job.pinned.path, job.disk.disk, job.bench.backups.folder)
        if not _is_begun(job):
            _begin_encryption(job)
        check(job.bench, job.pinned, job.disk)
        if job.header().reencrypts:
            first = check_opens(job.bench, job.pinned.path, keys.next_key)
            job.bench.luks.resume(
                job.pinned.path, first, lambda percent: job.tell(percent, "encrypting")
            )
        job.bring((keys.next_key, keys.next_recovery), by=(keys.next_key,))
        job.commit()


def _is_begun(job: Job) -> bool:
    """Whether the header that the work writes is there; raise HeaderRefused if another one is."""
    region = read_region(job.pinned.descriptor)
    if not claims_luks(region):
        return False
    if claimed_uuid(region) != job.disk.disk:
        if job.disk.work is Work.FORMAT and job.disk.overwrite:
            return False
        raise HeaderRefused("uuid", "another encrypted disk's header lies on the device")
    try:
        slots = parse_region(region).slots
    except HeaderRefused:
        return False  # a power cut while it was written: nothing is encrypted by it yet
    if not slots:
        return False
    check(job.bench, job.pinned, job.disk)
    if not job.opens(job.held.keys.next_key):
        raise HeaderRefused("taken", "the disk has slots that its first key does not open")
    return True


def _check_may_overwrite(job: Job) -> None:
    """Raise StateNotAllowed if something lies on the device of which officers did not know: by what
    udev said when it appeared, and by what is there now.
    """
    region, told = read_region(job.pinned.descriptor), job.pinned.ref.content
    if job.disk.overwrite or claims_luks(region):  # then it is our own, begun: _is_begun looked
        return
    found = content_of(region) or ("" if told == "crypto_LUKS" else told)
    if found:
        raise StateNotAllowed(
            f"something lies on the device: {found}",
            hint="if it may be lost, enrol the device anew with --overwrite",
        )


def _begin_encryption(job: Job) -> None:
    if job.pinned.ref.content not in {"", "ext4"}:
        raise StateNotAllowed(
            f"only ext4 is encrypted in place, not {job.pinned.ref.content}",
            hint="copy the files to another disk and enrol this one with preparation format",
        )
    job.tell(1, "checking and shrinking the file system")
    job.pinned.check()
    job.bench.systems.shrink(job.pinned.path)
    job.tell(2, "beginning to encrypt")
    first = _first(job.held.keys.next_key)
    folder = job.bench.backups.folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    job.bench.luks.encrypt_init(job.pinned.path, job.disk.disk, first, folder)


def _make_file_system(job: Job, source: Path | None) -> None:
    """Make a file system on a disk that has none, with the replaced disk's files on it; one that
    is finished is never made anew.
    """
    name, bench = mapping(job.disk.disk), job.bench
    try:
        if job.name is None:
            _open(job)
    except NoDeviceMapper:
        job.notes.append("no file system was made: this host has no device-mapper")
        return
    node = bench.luks.node_of(name)
    if source is not None:
        take_over(bench, job.disk, source)
    elif not has_ext4(node):
        bench.systems.make(node)
    bench.luks.close(name)


def _open(job: Job) -> None:
    region = check(job.bench, job.pinned, job.disk)
    with copied(region, job.bench.run) as copy:
        first = check_opens(job.bench, copy, job.held.keys.key)
        job.bench.luks.open(copy, job.pinned.path, mapping(job.disk.disk), first)


def _first(key: bytes | None) -> bytes:
    if key is None:
        raise StateNotAllowed("kms has made no key for the disk yet")
    return passphrase(key)

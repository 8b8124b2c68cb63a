"""Opens a disk by a checked copy of its header and mounts it."""

from appliance.run import ProgramFailed
from appliance.storage.device import DeviceRef, pin
from appliance.storage.file_systems import has_ext4
from appliance.storage.header import copied
from appliance.storage.luks import check_device_mapper, mapping
from appliance.work.bench import Bench, Outcome, passphrase, standing
from appliance.work.checking import check, check_opens
from appliance.work.job import Job
from appliance.work.works import FIRST, end
from kms.domain.disks import Disk, Work
from kms.domain.ids import DiskId
from kms.errors import StateNotAllowed


def unlock(bench: Bench, ref: DeviceRef, disk: DiskId) -> Outcome:
    """Open a disk and mount it as its policy says; a work under way is ended first.

    Raise HeaderRefused, NoDeviceMapper, StateNotAllowed, DeviceChanged, ProgramFailed, and what
    kms says.
    """
    with pin(ref) as pinned:
        job = Job(bench, pinned, disk)
        if job.disk.erased or job.disk.work in FIRST:
            raise StateNotAllowed("the disk is erased or not prepared yet")
        if job.disk.work is not Work.NONE:
            end(job)
            job = Job(bench, pinned, disk)
        region = check(bench, pinned, job.disk)
        check_device_mapper()
        _make_way(bench, job.disk)
        if not bench.is_open(disk):
            _open(job, region)
        return _mount(bench, job.disk)


def _make_way(bench: Bench, disk: Disk) -> None:
    """Close what is open and mounted nowhere: it may be suspended, or left from a crash."""
    if bench.is_open(disk.disk) and bench.mounted(disk.disk) is None:
        bench.luks.close(mapping(disk.disk))


def _open(job: Job, region: bytes) -> None:
    policy, bench = job.disk.mount, job.bench
    key, node, name = job.held.keys.key, job.pinned.path, mapping(job.disk.disk)
    with copied(region, bench.run) as copy:
        try:
            bench.luks.open(copy, node, name, passphrase(key or b""), read_only=policy.read_only)
        except ProgramFailed:
            check_opens(bench, copy, key)  # says so if it is the key
            raise


def _mount(bench: Bench, disk: Disk) -> Outcome:
    """Mount an open disk if it is to be; one without a file system stays open alone."""
    name, policy = mapping(disk.disk), disk.mount
    if not policy.name or bench.mounted(disk.disk) is not None:
        return standing(bench, disk.disk)
    if not has_ext4(bench.luks.node_of(name)):
        return standing(bench, disk.disk, "there is no file system on the disk")
    bench.mounts.mount(name, policy.name, read_only=policy.read_only)
    return standing(bench, disk.disk)

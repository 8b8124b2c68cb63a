"""Closes disks: as people order it, or at once when a space is sealed or a device is pulled out."""

import logging

from appliance.run import ProgramFailed
from appliance.storage.luks import mapping
from appliance.storage.mounts import DiskBusy
from appliance.work.bench import Bench, Outcome
from kms.domain.disks import DiskState
from kms.domain.ids import DiskId

_log = logging.getLogger(__name__)


def lock(bench: Bench, disk: DiskId) -> Outcome:
    """Unmount and close a disk; raise DiskBusy while programs use it."""
    name = mapping(disk)
    if bench.luks.is_open(name):
        bench.mounts.unmount(name)
        try:
            bench.luks.close(name)
        except ProgramFailed as error:
            raise DiskBusy(
                "the disk is in use, though it is not mounted any more",
                hint="end what uses it (fuser -v, dmsetup info), and order it to be locked again",
            ) from error
    return Outcome(DiskState.LOCKED)


def close_at_once(bench: Bench, disk: DiskId) -> Outcome:
    """Close a disk whatever uses it: where it cannot be closed its key is wiped from memory.

    Asks nothing of kms and nothing of the device, which may be gone. Raise ProgramFailed if even
    that fails.
    """
    name = mapping(disk)
    if not bench.luks.is_open(name):
        return Outcome(DiskState.LOCKED)
    try:
        bench.mounts.detach(name)
        bench.luks.close(name)
    except ProgramFailed as error:
        _log.warning("%s cannot be closed, so it is suspended: %s", name, error.message)
        if not bench.luks.is_suspended(name):
            bench.luks.suspend(name)
        return Outcome(DiskState.LOCKED, message="programs use the disk: its key was wiped")
    return Outcome(DiskState.LOCKED)

"""Looks at disks: which devices people should know of, whose recovery keys are long due."""

import logging
from collections import Counter

from kms.domain.disks import Device, DiskState
from kms.errors import ConclaveError
from kms.usecases.disks.common import disks_of, space_of
from kms.usecases.disks.devices import IN_USE, NOT_PREPARED
from kms.usecases.disks.views import recovery_due
from kms.usecases.queries import is_present
from kms.usecases.services import Services
from kms.usecases.watch.state import SeenDevice

_LOG = logging.getLogger(__name__)
_LATE_SECONDS = 7 * 24 * 3600
"""The appliance tests recovery keys itself when they are due, as soon as the disk is there."""
_KNOWN = frozenset({IN_USE, NOT_PREPARED})
"""Codes of devices on which nothing of ours lies, and which nobody need wonder about."""


async def look_at_devices(services: Services) -> None:
    """Find the devices that people should look at."""
    devices = services.store.devices()
    services.watched.facts.devices = tuple(
        SeenDevice(_space(services, one), one.serial, one.state, one.code)
        for one in devices
        if one.state is DiskState.QUARANTINED
        or (one.state is DiskState.UNKNOWN and one.code not in _KNOWN)
    )


def _space(services: Services, device: Device) -> str:
    sealed = services.store.disk(device.disk) if device.disk else None
    return space_of(sealed) if sealed else ""


async def look_at_disks(services: Services) -> None:
    """Count the disks whose recovery key is long due, in every space that is not sealed."""
    untested, now = Counter[str](), services.seconds()
    for space in sorted({space_of(one) for one in services.store.disks()}):
        if not is_present(services, space):
            continue
        try:
            found = await disks_of(services, space)
        except ConclaveError as error:
            _LOG.warning("the disks of %s cannot be checked: %s", space, error.code)
            continue
        due = (recovery_due(services, one.disk) for one in found)
        untested[space] = sum(0 < one <= now - _LATE_SECONDS for one in due)
    services.watched.facts.untested = untested

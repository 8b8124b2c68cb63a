"""Devices as the appliance reports them; each change of state stands in the log."""

from kms.domain.disks import Device
from kms.usecases.services import Call, Services


async def report(services: Services, call: Call, device: Device) -> Device:
    """Remember how a device stands; raise StateNotAllowed for a step that no device takes."""
    raise NotImplementedError

"""What is due on disks by time: recovery keys are tested, slot keys and KEKs replaced."""

from kms.usecases.services import Services


class DiskSchedule:
    """Places what is due, one order per disk at a time."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def run(self) -> None:
        """Look now and then, until cancelled."""
        raise NotImplementedError

"""Keys of a disk on their way to the appliance, and its next KEK."""

from kms.domain.ids import DiskId
from kms.usecases.disks.views import DiskView
from kms.usecases.services import Call, Services


async def fetch(
    services: Services, call: Call, disk: DiskId, nonce: bytes
) -> tuple[DiskView, bytes]:
    """Return the disk and its keys sealed to the appliance for this nonce (16 bytes)."""
    raise NotImplementedError


async def rotate_kek(services: Services, call: Call, disk: DiskId) -> DiskView:
    """Make the disk's next KEK and drop the older ones."""
    raise NotImplementedError

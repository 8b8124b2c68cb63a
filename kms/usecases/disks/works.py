"""Works on a disk's keys: begun, committed and finished, each once and each repeatable."""

from kms.domain.disks import Work
from kms.domain.ids import DiskId
from kms.usecases.disks.views import DiskView
from kms.usecases.services import Call, Services


async def begin(services: Services, call: Call, disk: DiskId, work: Work) -> DiskView:
    """Begin a work; the same one under way is returned as it stands."""
    raise NotImplementedError


async def commit(services: Services, call: Call, disk: DiskId) -> DiskView:
    """Make the work's keys the disk's."""
    raise NotImplementedError


async def finish(services: Services, call: Call, disk: DiskId, header: str) -> DiskView:
    """End the work; ``header`` is the SHA-256 (base64url) of the header region now."""
    raise NotImplementedError

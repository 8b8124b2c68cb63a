"""Orders to the appliance: placed by people and the schedule, taken and reported by the daemon."""

from dataclasses import dataclass

from kms.domain.disks import DiskOrder, OrderKind, OrderState
from kms.usecases.services import Call, Services


@dataclass(frozen=True, slots=True)
class OrderBatch:
    """What waits for the appliance, oldest first, running ones included; ``sealed``: the spaces
    whose disks are to be closed. ``version`` changes when any of it does.
    """

    version: int
    orders: tuple[DiskOrder, ...]
    sealed: tuple[str, ...]


async def place(
    services: Services,
    call: Call,
    kind: OrderKind,
    serial: str,
    dry_run: bool,
    sealed_key: str,
) -> DiskOrder:
    """Place an order about a device; ``sealed_key`` is empty but for ``recover``."""
    raise NotImplementedError


async def page(
    services: Services, call: Call, before: str, limit: int, disk: str
) -> list[DiskOrder]:
    """Return a page of orders, newest first, before one (empty: the newest), of one disk or all."""
    raise NotImplementedError


async def one(services: Services, call: Call, order: str) -> DiskOrder:
    """Return one order; raise NotFound."""
    raise NotImplementedError


async def take(services: Services, call: Call, version: int, wait: float) -> OrderBatch:
    """Return what waits, at once if its version is not ``version``, else after ``wait`` seconds."""
    raise NotImplementedError


async def report(
    services: Services,
    call: Call,
    order: str,
    state: OrderState,
    progress: int,
    code: str,
    message: str,
) -> DiskOrder:
    """Remember how far an order is, or its end; raise NotFound, StateNotAllowed."""
    raise NotImplementedError

"""A field that names a meeting: by its id, or by the end of it, as the board shows ids."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from kms.errors import InvalidInput, StoreUnavailable
from kms.usecases.finding import Place
from kms.usecases.services import Call, Services
from kms.web.visit import Visit

Find = Callable[[Services, Call, str], Awaitable[list[Place]]]


@dataclass(frozen=True, slots=True)
class Named:
    """What was typed and the meetings that it names (None: they cannot be looked for now);
    ``error``: it can name none.
    """

    typed: str
    found: tuple[Place, ...] | None = ()
    error: InvalidInput | None = None

    @property
    def one(self) -> Place | None:
        """The meeting, if it is just one."""
        return self.found[0] if self.found and len(self.found) == 1 else None


async def named(visit: Visit, operation: str, find: Find) -> Named:
    """Return what the field ``meeting`` names; raise Forbidden."""
    typed = visit.query("meeting").strip()
    if not typed:
        return Named("")
    try:
        return Named(typed, tuple(await find(visit.services, visit.call(operation), typed)))
    except InvalidInput as error:
        return Named(typed, error=error)
    except StoreUnavailable:
        return Named(typed, None)

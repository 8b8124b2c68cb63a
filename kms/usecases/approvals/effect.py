"""What an approved request does: the type that the use cases of life cycle and policy return."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from kms.domain.rows import Record, SealedRow
from kms.ports import Change
from kms.statements.request import CheckedRequest
from kms.usecases.services import Call, Services


@dataclass(frozen=True, slots=True)
class Effect:
    """Everything in one commit with the request's end: ``records`` each with the version that its
    row will have, ``changes`` beside them, and what the log says of it. ``details`` need not name
    the request. ``before``: the row of the disk that is erased, as it stands.
    """

    resource: str
    records: tuple[tuple[Record, int], ...]
    changes: tuple[Change, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)
    before: SealedRow | None = None


Prepare = Callable[[Services, Call, CheckedRequest], Awaitable[Effect]]
"""Returns the effect of a request whose approvals hold, or raises what forbids it now. It changes
nothing itself; where the parameters name a meeting, its lock is held.
"""

Afterwards = Callable[[Services, Call, CheckedRequest], Awaitable[None]]
"""What follows once the effect is durable; it bears being done twice."""

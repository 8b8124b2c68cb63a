"""How far the report is that is being made."""

import asyncio
from dataclasses import dataclass, field

from kms.domain.reports import Period
from kms.errors import ConclaveError


@dataclass(slots=True)
class ReportMaking:
    """The report that is being made, for whom, how far it is: leaves gathered of so many, then
    figures worked out. ``made`` is the last one's id, ``error`` why there is none.
    """

    period: Period | None = None
    by: str = ""
    size: int = 0
    leaves: int = 0
    figures: int = 0
    made: str = ""
    error: ConclaveError | None = None
    task: asyncio.Task[None] | None = field(default=None, compare=False)

    @property
    def running(self) -> bool:
        """Whether a report is being made."""
        return self.task is not None and not self.task.done()

    def hear(self, count: int) -> None:
        """Take in how far it is: leaves count up, then figures from one."""
        if self.figures or count < self.leaves:
            self.figures = count
        else:
            self.leaves = count

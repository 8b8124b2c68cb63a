"""Reports by the calendar: of the last whole month or quarter, unless there is one.

What is due is read from what lies there, so nothing is lost with a process, and none is made twice.
"""

import asyncio
import logging

from kms.domain.reports import Every
from kms.errors import ConclaveError, StateNotAllowed
from kms.usecases.activations import SERVICE
from kms.usecases.reports.making import keep_report, period_named
from kms.usecases.services import Call, Services

LOOK_SECONDS = 3600.0
_LOG = logging.getLogger(__name__)


class ReportSchedule:
    """The background work of one process."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def run(self) -> None:
        """Make what is due, for ever; what fails is tried again."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Make the report of the last whole period unless it is there, or the log began later."""
        every = self._services.settings.reports.every
        if every is Every.NEVER:
            return
        period = period_named(self._services, f"last-{every}")
        try:
            await keep_report(self._services, Call(SERVICE, "report.make", ""), period)
        except StateNotAllowed:
            return
        except ConclaveError as error:
            _LOG.warning("the report of the last %s waits: %s", every, error.code)
        except Exception:  # noqa: BLE001 -- a full disk may stop reports, never the key service
            _LOG.exception("the report of the last %s failed unexpectedly", every)

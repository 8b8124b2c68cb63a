"""Making a report while whoever asked goes on: begun, watched until it is over; one at a time."""

import asyncio
import logging

from kms.domain.reports import Period
from kms.errors import ConclaveError, StateNotAllowed
from kms.policy.authorizer import Target
from kms.usecases.reports.making import make_report, period_named
from kms.usecases.reports.progress import ReportMaking
from kms.usecases.services import Call, Services, authorize

_LOG = logging.getLogger(__name__)


async def begin_report(services: Services, call: Call, name: str) -> None:
    """Begin to make the report of a period that is named as for ``period_named``; raise Forbidden,
    InvalidInput, StateNotAllowed while another is being made.
    """
    await authorize(services, call, Target(), "reports")
    period, state = period_named(services, name), services.report_making
    if state.running:
        raise StateNotAllowed("a report is being made", hint="wait until it is there")
    state.period, state.by, state.size = period, call.principal.name, services.store.tree_size()
    state.leaves, state.figures, state.made, state.error = 0, 0, "", None
    state.task = asyncio.create_task(_run(services, call, period, state))


async def watch_report(services: Services, call: Call) -> ReportMaking:
    """Return how far the report is; raise Forbidden."""
    await authorize(services, call, Target(), "reports")
    return services.report_making


async def _run(services: Services, call: Call, period: Period, state: ReportMaking) -> None:
    try:
        kept = await make_report(services, call, period, state.hear)
        state.made = kept.told.report
    except ConclaveError as error:
        state.error = error
    except Exception:  # noqa: BLE001 -- nobody awaits this task: what went wrong must show
        _LOG.exception("a report failed unexpectedly")
        state.error = ConclaveError("the service failed")

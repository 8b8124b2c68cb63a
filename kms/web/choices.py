"""What a request can name, to be chosen from: callers, legal holds, reports."""

from collections.abc import Mapping
from dataclasses import dataclass

from kms.domain.approvals import RULES, GrantWish, HoldTarget
from kms.domain.ids import parse_space
from kms.domain.reports import ReportTarget
from kms.domain.text import visible
from kms.i18n import _
from kms.reports.wording import days
from kms.usecases.grantees import Grantee, list_grantees
from kms.usecases.lifecycle.holds import list_holds
from kms.usecases.reports.exporting import list_reports
from kms.web.names import called
from kms.web.visit import PAGE_ROWS, Visit
from kms.web.words import moment, short, word


@dataclass(frozen=True, slots=True)
class Choice:
    """What a form hands in, and how it reads; ``fit``: whether a request about it can succeed."""

    value: str
    text: str
    fit: bool = True


async def choices(visit: Visit, given: Mapping[str, str]) -> dict[str, tuple[Choice, ...]]:
    """Return what there is to choose from, by the parameter's name; of all others people type."""
    kind = RULES[given["operation"]].parameters
    if kind is GrantWish:
        return {"principal": await _callers(visit, given["space"])}
    if kind is HoldTarget:
        return {"hold": await _holds(visit, given["space"])}
    if kind is ReportTarget:
        return {"report": await _reports(visit, given["report"])}
    return {}


async def _callers(visit: Visit, space: str) -> tuple[Choice, ...]:
    found = await list_grantees(visit.services, visit.call("approval.read"), parse_space(space))
    return tuple(Choice(one.name, _told(one), one.lacks) for one in found)


def _told(one: Grantee) -> str:
    if not one.roles:
        return _("{caller} (no role there yet)").format(caller=one.name)
    roles = _(", ").join(map(word, one.roles))
    return _("{caller} (has: {roles})").format(caller=one.name, roles=roles)


async def _holds(visit: Visit, space: str) -> tuple[Choice, ...]:
    """Return the holds that can be lifted, the newest first."""
    found = await list_holds(visit.services, visit.call("hold.list"), parse_space(space))
    return tuple(
        Choice(
            one.hold,
            f"{short(one.meeting) if one.meeting else _('the whole space')}: "
            f"{visible(one.reason)} ({called(one.placed_by)}, {moment(one.placed)})",
        )
        for one in reversed(found)
        if not one.lifted
    )


async def _reports(visit: Visit, given: str) -> tuple[Choice, ...]:
    """Return the newest reports, and the one that was ``given``."""
    kept, _altered = await list_reports(visit.services, visit.call("report.list"))
    told = [one.told for one in kept]
    offset = visit.services.settings.site.utc_offset_minutes
    return tuple(
        Choice(one.report, f"{days(one.since, one.until, offset)} · {short(one.report)}")
        for number, one in enumerate(told)
        if number < PAGE_ROWS or one.report == given
    )

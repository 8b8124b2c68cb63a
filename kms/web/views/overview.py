"""The overview: what is sealed, whether HSM and log are well, what waits for people, the alerts.

Everything comes from memory or from reads of a few rows: the watcher counted before.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from kms.domain.models import Principal
from kms.i18n import _
from kms.statements.sealing import BOX
from kms.usecases.queries import SiteStatus, living_spaces, site_status
from kms.usecases.services import Services
from kms.usecases.watch.health import list_alerts
from kms.usecases.watch.state import READY, Facts, SpaceKeys
from kms.web.alerted import told
from kms.web.roles import OVERSEERS, PEOPLE
from kms.web.visit import Kind, Page, Visit
from kms.web.voting import count_mine
from kms.web.words import count, moment


@dataclass(frozen=True, slots=True)
class Tile:
    """A figure that says at a glance how something stands, and where to look further."""

    label: str
    value: str
    tone: str = ""
    note: str = ""
    href: str = ""


async def _overview(visit: Visit) -> Response:
    return visit.show("overview.html", **await _values(visit))


async def _now(visit: Visit) -> Response:
    return visit.show("part-overview.html", **await _values(visit))


async def _values(visit: Visit) -> dict[str, Any]:
    services = visit.services
    status = await site_status(services, visit.call("status.read"))
    alerts = await list_alerts(services, visit.call("alert.list"))
    spaces = await living_spaces(services, visit.call("space.list"))
    facts = services.watched.facts
    return {
        "tiles": tuple(_tiles(visit, status, facts, await count_mine(visit))),
        "alerts": tuple(told(visit, one) for one in alerts),
        "spaces": tuple((one, facts.keys.get(one.space)) for one in spaces),
        "workers": status.workers,
        "status": status,
    }


def _tiles(visit: Visit, status: SiteStatus, facts: Facts, mine: int) -> Iterator[Tile]:
    services, principal = visit.services, visit.principal
    yield _sealed(services, principal)
    yield _hsm(status)
    yield _log(status, facts)
    waiting = [one for one in facts.waiting if not one.space or principal.reaches(one.space)]
    yield Tile(
        _("Requests that wait for approval"),
        count(len(waiting)),
        "warn" if waiting else "good",
        _("{count} wait for your approval").format(count=count(mine)) if mine else "",
        "/approvals" if principal.roles & OVERSEERS else "",
    )
    yield _overdue(facts, principal)
    yield _escrow(facts)


def _sealed(services: Services, principal: Principal) -> Tile:
    sealed = [one for one in services.seals.spaces if one == BOX or principal.reaches(one)]
    text = _("{count} spaces sealed").format(count=len(sealed)) if sealed else _("Not sealed")
    return Tile(_("Seal"), text, "bad" if sealed else "good", ", ".join(sorted(sealed)))


def _hsm(status: SiteStatus) -> Tile:
    ready = sum(state == READY for state in status.workers.values())
    tone = "good" if ready == len(status.workers) else "bad"
    return Tile(_("HSM tokens that answer"), f"{ready} / {len(status.workers)}", tone)


def _log(status: SiteStatus, facts: Facts) -> Tile:
    well = not facts.log_error and status.key_operations == READY
    note = _("{count} entries not under a checkpoint yet").format(
        count=count(status.tree_size - status.checkpoint_size)
    )
    text = _("Written and signed") if well else _("Key operations stand still")
    return Tile(_("Audit log"), text, "good" if well else "bad", note)


def _overdue(facts: Facts, principal: Principal) -> Tile:
    seen: list[SpaceKeys] = [one for name, one in facts.keys.items() if principal.reaches(name)]
    if not facts.keys_at:
        return Tile(_("Overdue keys"), _("Not counted yet"), href="/rotation?overdue=1")
    overdue, present = sum(one.overdue for one in seen), sum(one.open for one in seen)
    note = _("of {count} keys in use; counted at {time}").format(
        count=count(present), time=moment(facts.keys_at)
    )
    return Tile(
        _("Overdue keys"), count(overdue), "bad" if overdue else "good", note, "/rotation?overdue=1"
    )


def _escrow(facts: Facts) -> Tile:
    found = facts.escrow
    if found is None or found.coverage is None:
        return Tile(_("Key escrow"), _("Not counted yet"), href="/escrow")
    text, tone = _coverage(found.gaps, sum(found.coverage.epochs.values()))
    note = _("{gaps} gaps, {drills} drills due, {owed} duties; counted at {time}").format(
        gaps=found.gaps, drills=found.drills, owed=found.owed, time=moment(found.counted)
    )
    warned = "warn" if found.drills + found.owed and tone != "bad" else tone
    return Tile(_("Key escrow"), text, warned, note, "/escrow")


def _coverage(gaps: int, keys: int) -> tuple[str, str]:
    """Return what to say of so many keys, and the tone; of no key at all nothing is claimed."""
    if gaps:
        return _("Not every key is covered"), "bad"
    return (_("Every key is covered"), "good") if keys else (_("There was no key yet"), "")


PAGES = (
    Page("overview", "/", PEOPLE, _overview),
    Page("overview-now", "/parts/overview", PEOPLE, _now, Kind.FRAGMENT),
)

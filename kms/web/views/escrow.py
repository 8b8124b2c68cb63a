"""Key escrow: generations, coverage as the watcher last counted it, drills, what people owe."""

from starlette.responses import Response

from kms.domain.coverage import Lack
from kms.i18n import _
from kms.usecases.escrow import EscrowOverview, escrow_overview
from kms.web.roles import PEOPLE
from kms.web.visit import Kind, Page, Visit


async def _escrow(visit: Visit) -> Response:
    return await _shown(visit, "escrow.html")


async def _now(visit: Visit) -> Response:
    return await _shown(visit, "part-escrow.html")


async def _shown(visit: Visit, template: str) -> Response:
    found = await escrow_overview(visit.services, visit.call("escrow.read"))
    total = sum(one.epochs for one in found.spaces)
    return visit.show(
        template,
        escrow=found,
        every=visit.services.settings.watch.escrow_seconds,
        total=total,
        missing=total - sum(one.covered for one in found.spaces),
        lost=tuple(_lost(found)),
        overdue=sum(one.overdue for one in found.holders),
        why={
            Lack.MISSING: _("no envelope for escrow is stored"),
            Lack.ALTERED: _("its envelope for escrow was altered"),
            Lack.GONE: _("its escrow generation is gone"),
        },
    )


def _lost(found: EscrowOverview) -> list[int]:
    """Return the generations in use whose private halves are not kept any more."""
    live = [one.generation for one in found.generations if not one.destroyed]
    return [one for one in live if one not in found.blobs]


PAGES = (
    Page("escrow", "/escrow", PEOPLE, _escrow),
    Page("escrow-now", "/parts/escrow", PEOPLE, _now, Kind.FRAGMENT),
)

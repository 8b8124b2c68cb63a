"""Reports by the calendar: nobody asks for them, so no policy is asked whether the service may."""

from kms.audit.leaf import decode_leaf
from kms.usecases.reports.schedule import ReportSchedule
from tests.fixtures.api import FakeSite, run_with_site


def test_the_service_does_not_refuse_itself():
    async def look(site: FakeSite) -> None:
        before = site.store.tree_size()
        await ReportSchedule(site.services).look()
        leaves = site.store.leaves(before, 100)
        assert [decode_leaf(one).action for one in leaves] == []

    run_with_site(look)

"""Asking on the board, over a FAKE HSM: chosen from lists, refused at the form, unsigned."""

import html
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from kms.audit.leaf import decode_leaf
from kms.domain.ids import SpaceName
from kms.domain.models import Role
from kms.settings import Caller
from kms.statements.report import ReportStatement
from kms.usecases.lifecycle.holds import place
from kms.usecases.lifecycle.suspension import suspend
from kms.usecases.reports.folder import Kept
from kms.web.visit import PAGE_ROWS
from tests.fixtures.api import BANKING, TREASURY
from tests.fixtures.approvals import MEETING
from tests.fixtures.approving_board import officer, plain
from tests.fixtures.board import NOW, BoardSite, run_with_board
from tests.fixtures.passkeys import call

NEW = "/approvals/new"
CHECK = f"{NEW}/check"
LONG = "a check of the <quarter>, asked for by the supervisor"
GRANT = {
    "operation": "grant.create",
    "space": TREASURY,
    "principal": "clerk",
    "role": "auditor",
    "starts": "",
    "lasts": "604800",
    "reason": LONG,
    "open": "86400",
}
RESUME = {
    "operation": "epoch.resume",
    "space": TREASURY,
    "meeting": MEETING,
    "epoch": "0",
    "reason": LONG,
    "open": "28800",
}
UNMASK = {
    "operation": "report.unmask",
    "report": "0193a5b0-7c3e-7000-8000-00000000beef",
    "reason": LONG,
    "open": "28800",
}


def with_clerk(site: BoardSite) -> None:
    """Let the configuration name a caller without any role."""
    clerk = Caller(uid=4_000_001, principal="clerk", roles=(), spaces=())
    banker = Caller(uid=4_000_002, principal="banker", roles=(Role.AUDITOR,), spaces=(BANKING,))
    settings = site.services.settings
    settings = msgspec.structs.replace(settings, caller=(*settings.caller, clerk, banker))
    object.__setattr__(site.services, "settings", settings)


def actions(site: BoardSite) -> list[str]:
    store = site.services.store
    return [decode_leaf(one).action for one in store.leaves(0, 1000)]


def chosen(page: str, name: str) -> str:
    """Return what stands chosen in a list of the form."""
    (box,) = re.findall(rf'<select name="{name}".*?</select>', page, re.DOTALL)
    found: list[str] = re.findall(r'<option value="([^"]*)"[^>]* selected', box)
    return found[0] if found else ""


@pytest.mark.parametrize(
    ("fields", "status", "why"),
    [
        (GRANT | {"principal": "tester"}, 400, "tester has the role auditor in treasury already"),
        (GRANT | {"principal": "zhao-auditor"}, 400, "no caller that the configuration names"),
        (GRANT | {"starts": "2020-01-01T09:00"}, 400, "ends within 90 days"),
        (GRANT | {"starts": "tomorrow"}, 400, "a time reads like"),
        (RESUME, 409, "the key is active, not suspended"),
        (RESUME | {"meeting": "no meeting"}, 400, "a meeting is named by"),
        (RESUME | {"meeting": UNMASK["report"]}, 404, ""),
        (UNMASK, 404, "there is no such"),
    ],
    ids=["held", "person", "past", "time", "active", "unnamed", "unknown", "report"],
)
def test_what_could_not_be_carried_out_is_refused_at_the_form(
    fields: Mapping[str, str], status: int, why: str
) -> None:
    async def work(site: BoardSite) -> None:
        with_clerk(site)
        wang = await officer(site, "wang-security")
        before = actions(site)
        refused = await wang.act(NEW, **fields)
        assert refused.status == status
        assert why in plain(refused.text)
        assert "data-passkey" not in refused.text
        assert (await wang.ask(CHECK)).header("location") == NEW
        assert "approval.refused" not in actions(site)[len(before) :]
        if fields["operation"] == "report.unmask":
            return
        assert html.unescape(refused.text).count(LONG) == 1
        assert chosen(refused.text, "open") == fields["open"]
        for name in {"meeting", "epoch", "starts"} & fields.keys():
            assert f'name="{name}" value="{fields[name]}"' in refused.text

    run_with_board(work)


def test_a_grant_goes_to_a_caller_of_the_list() -> None:
    async def work(site: BoardSite) -> None:
        with_clerk(site)
        wang = await officer(site, "wang-security")
        await wang.admitted()
        form = await wang.read(f"{NEW}?operation=grant.create&space={TREASURY}")
        listed = re.findall(r'<option value="([a-z]+)"( disabled)?>([a-z]+ \([^<]*)', form)
        assert listed == [
            ("banker", "", "banker (no role there yet)"),
            ("clerk", "", "clerk (no role there yet)"),
            ("tester", " disabled", "tester (has: auditor, officer)"),
        ]
        assert (await wang.act(NEW, **GRANT)).header("location") == CHECK
        shown = plain(await wang.read(CHECK))
        assert "Caller principal clerk" in shown
        again = await wang.read(f"{NEW}?again=1")
        assert chosen(again, "principal") == "clerk"
        assert chosen(again, "lasts") == "604800"
        assert LONG in html.unescape(again)
        assert (await wang.sign(CHECK)).status == 303

    run_with_board(work)


def test_a_hold_is_chosen_and_lifted_ones_are_not_offered() -> None:
    async def work(site: BoardSite) -> None:
        space = SpaceName(TREASURY)
        hold = await place(site.services, call("hold.place"), space, MEETING, "a court asks")
        wang = await officer(site, "wang-security")
        form = await wang.read(f"{NEW}?operation=hold.lift&space={TREASURY}")
        assert f'value="{hold.hold}"' in form
        assert "a court asks" in form
        empty = await wang.read(f"{NEW}?operation=hold.lift&space={BANKING}")
        assert "No legal hold stands in this space." in empty
        assert 'name="reason"' not in empty

    run_with_board(work)


def test_a_report_is_chosen_from_the_newest_and_the_one_that_was_meant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def reports(*_given: object) -> tuple[list[Kept], list[str]]:
        """A FAKE folder, of more reports than are listed."""
        return [kept(number) for number in range(PAGE_ROWS + 2)], []

    monkeypatch.setattr("kms.web.choices.list_reports", reports)

    async def work(site: BoardSite) -> None:
        wang = await officer(site, "wang-security")
        meant = kept(PAGE_ROWS + 1).told.report
        page = await wang.read(f"{NEW}?operation=report.unmask&report={meant}")
        assert chosen(page, "report") == meant
        listed = re.findall('<option value="(0193[^"]*)"', page)
        assert listed == [*(kept(number).told.report for number in range(PAGE_ROWS)), meant]
        assert f"…{meant[-8:]}" in page

    run_with_board(work)


def kept(number: int) -> Kept:
    """Return a report that lies nowhere."""
    told = ReportStatement(
        "site", f"0193a5b0-7c3e-7000-8000-{number:012d}", NOW - 86_400, NOW, 1, "", "", "", "", "",
        "", "zhao-auditor", NOW, "",
    )  # fmt: skip
    return Kept(Path("nowhere"), told, "")


def test_a_suspended_key_leads_to_the_request_for_its_return() -> None:
    async def work(site: BoardSite) -> None:
        why = "a device is lost"
        await suspend(site.services, call("epoch.suspend"), TREASURY, MEETING, 0, why)
        wang = await officer(site, "wang-security")
        page = await wang.read(f"/meetings/{TREASURY}/{MEETING}")
        (link,) = re.findall(r'href="(/approvals/new[^"]*)"', page)
        form = await wang.read(html.unescape(link))
        for name in ("meeting", "epoch"):
            assert f'<input name="{name}" value="{RESUME[name]}"' in form
        auditor = await site.signed_in("auditor")
        told = (await auditor.get(f"/meetings/{TREASURY}/{MEETING}")).text
        assert "/approvals/new" not in told

    run_with_board(work)


def test_what_changed_since_the_form_was_filled_in_brings_the_form_back() -> None:
    async def work(site: BoardSite) -> None:
        before = site.services.settings
        with_clerk(site)
        wang = await officer(site, "wang-security")
        await wang.admitted()
        await wang.act(NEW, **GRANT)
        object.__setattr__(site.services, "settings", before)
        looked = await wang.ask(CHECK)
        assert looked.status == 400
        assert "clerk is no caller that the configuration names" in plain(looked.text)
        assert "data-passkey" not in looked.text
        assert LONG in html.unescape(looked.text)

    run_with_board(work)

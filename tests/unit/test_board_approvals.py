"""Approvals on the board, over a FAKE HSM: what is shown is signed, and nothing else counts."""

import html
import json
import re
from dataclasses import replace

from kms.audit.leaf import LeafDraft, Outcome, Phase
from kms.domain.approvals import PolicyChange, RequestState, Standing
from kms.domain.ids import SpaceName
from kms.domain.rows import SealedRow
from kms.domain.states import KeyState
from kms.ports import PutRow, Unit
from kms.statements.canonical import make_row, unb64u
from kms.statements.request import OperationRequest
from kms.usecases.approvals.requests import sign_request
from kms.usecases.lifecycle.suspension import suspend
from kms.usecases.watch.survey import look_at_requests
from kms.web.visit import PAGE_ROWS
from tests.fixtures.api import BANKING, MAC, TREASURY
from tests.fixtures.approvals import MEETING, POLICY
from tests.fixtures.approving_board import Officer, english, officer, options, plain
from tests.fixtures.board import PEOPLE, WANTED, BoardSite, run_with_board
from tests.fixtures.passkeys import call

ONE = f"/approvals/{WANTED.id}"
NEW = "/approvals/new"
RESUME = {
    "operation": "epoch.resume",
    "space": TREASURY,
    "meeting": MEETING,
    "epoch": "0",
    "reason": "the device was found",
    "open": "86400",
}


async def stand(site: BoardSite, wanted: OperationRequest) -> None:
    """Let a request stand as if somebody had handed it in."""
    row = make_row(PEOPLE.record(wanted), 1)
    leaf = LeafDraft(
        "approval.request", wanted.requester, "test", wanted.space, f"requests/{wanted.id}",
        Phase.EVENT, Outcome.SUCCEEDED, rows={row.key: 1},
    )  # fmt: skip
    await site.services.store.commit(Unit((PutRow(SealedRow(row, MAC)),), (leaf,)))


async def approvals(site: BoardSite, request: str = WANTED.id) -> tuple[str, ...]:
    return (await site.services.cache.request(request))[0].approvals


def test_a_request_shows_everything_that_is_signed_and_its_digest() -> None:
    async def work(site: BoardSite) -> None:
        auditor = await site.signed_in("auditor")
        page = (await auditor.get(ONE, english(auditor))).text
        text, sha256 = plain(page), unb64u(WANTED.digest()).hex()
        told = (
            WANTED.operation, WANTED.space, MEETING, WANTED.reason, WANTED.requester, WANTED.id,
            WANTED.register, WANTED.nonce, WANTED.digest(),
            "2 of group security",
        )  # fmt: skip
        assert [one for one in told if one not in text] == []
        assert " ".join(sha256[at : at + 4] for at in range(0, 64, 4)) in text
        assert "data-passkey" not in page
        assert f"{ONE}/" not in page

    run_with_board(work)


def test_officers_ask_approve_and_carry_out_at_the_board() -> None:
    async def work(site: BoardSite) -> None:
        await suspend(
            site.services, call("epoch.suspend"), TREASURY, MEETING, 0, "a device is lost"
        )
        wang, sun, zhou = [
            await officer(site, f"{name}-security") for name in ("wang", "sun", "zhou")
        ]
        for one in (wang, sun, zhou):
            await one.admitted()
        filled = await wang.act(NEW, **RESUME)
        assert filled.header("location") == f"{NEW}/check"
        handed = await wang.sign(f"{NEW}/check")
        where = handed.header("location")
        assert "waits for you" in await sun.read("/approvals")
        assert "waits for you" not in await wang.read(f"/approvals?after={WANTED.id}")
        assert "data-passkey" not in await wang.read(where)
        for one in (sun, zhou):
            assert (await one.sign(where, f"{where}/sign")).status == 303
        text = plain(await sun.read(where))
        assert "sun-security" in text
        assert "approval passkey" in text
        done = await sun.act(f"{where}/execute")
        assert done.status == 303, done.text
        epoch, _ = await site.services.cache.epoch(TREASURY, MEETING, 0)
        assert epoch.state is KeyState.ACTIVE
        ended = await zhou.read("/approvals?state=executed")
        assert where in ended
        assert '<th scope="col">Ended</th>' in ended
        assert "Open until" not in ended
        over = await zhou.read(where)
        assert "Exactly what was carried out" in over
        assert "Missing" not in plain(over)
        assert f'href="/meetings/{TREASURY}/{MEETING}">Look at what it is about' in over

    run_with_board(work)


def test_what_nothing_undoes_waits_for_a_credential_and_says_so_before() -> None:
    async def work(site: BoardSite) -> None:
        wang, sun = [await officer(site, f"{name}-security") for name in ("wang", "sun")]
        before = plain(await wang.read(ONE))
        assert f"conclave approval sign {WANTED.id}" in before
        assert "an approval signed with a credential of the register" in before
        for one in (wang, sun):
            await one.admitted()
            assert (await one.sign(ONE, f"{ONE}/sign")).status == 303
        text = await sun.read(ONE)
        assert "Missing an approval signed with a credential of the register" in plain(text)
        assert f"{ONE}/execute" not in text
        early = await sun.act(f"{ONE}/execute", sure="yes")
        assert early.status == 403
        assert "conclave approval sign" in early.text
        token = PEOPLE.approve("zhou-security", WANTED)
        await sign_request(site.services, call("approval.sign"), WANTED.id, token)
        assert f"{ONE}/execute" in await sun.read(ONE)

    run_with_board(work)


def test_what_was_not_shown_is_not_signed() -> None:
    async def work(site: BoardSite) -> None:
        wang = await officer(site, "wang-security")
        await wang.admitted()
        nothing = await wang.act(f"{ONE}/sign", response="{}")
        asked = options(await wang.read(ONE))
        site.services.clock.seconds += 1
        await wang.read(ONE)
        early = await wang.act(f"{ONE}/sign", response=json.dumps(wang.own.get(asked)))
        other = await wang.sign(ONE, f"{ONE}/sign", other=b"x" * 32)
        assert [one.status for one in (nothing, early, other)] == [409, 422, 422]
        assert await approvals(site) == ()

    run_with_board(work)


def test_a_passkey_to_sign_in_with_approves_nothing() -> None:
    async def work(site: BoardSite) -> None:
        wang = await officer(site, "wang-security")
        await wang.admitted()
        challenge = options(await wang.read(ONE))
        challenge["publicKey"].pop("allowCredentials")
        answer = wang.browser.authenticator.get(challenge)
        refused = await wang.act(f"{ONE}/sign", response=json.dumps(answer))
        assert refused.status == 422
        assert await approvals(site) == ()

    run_with_board(work)


def test_whoever_has_no_admitted_passkey_is_told_how_to_get_one() -> None:
    async def work(site: BoardSite) -> None:
        wang = await officer(site, "wang-security")
        before = await wang.read(ONE)
        await wang.enrol_for_approvals()
        after = await wang.read(ONE)
        for page in (before, after):
            assert "data-passkey" not in page
            assert "/settings/approval-passkey" in page

    run_with_board(work)


def test_carrying_out_is_confirmed_and_what_nothing_undoes_is_ticked() -> None:
    async def work(site: BoardSite) -> None:
        wang = await officer(site, "wang-security")
        unread = await wang.act(f"{ONE}/execute")
        early = await wang.act(f"{ONE}/execute", sure="yes")
        site.grow_old()
        old = await wang.act(f"{ONE}/execute", sure="yes")
        assert (unread.status, early.status) == (400, 403)
        assert "quorum_not_met" in early.text
        assert old.header("location").startswith("/confirm")

    run_with_board(work)


def test_after_confirming_the_page_says_that_nothing_has_been_done_yet() -> None:
    async def work(site: BoardSite) -> None:
        wang = await officer(site, "wang-security")
        site.grow_old()
        where = (await wang.act(f"{ONE}/execute", sure="yes")).header("location")
        page = (await wang.browser.get(where)).text
        hidden = dict(re.findall('<input type="hidden" name="(next|again)" value="([^"]*)">', page))
        assert hidden["again"] == "1"
        form = await wang.browser.passkey_form(where)
        assert (await wang.browser.post("/confirm", {**form, **hidden, "next": ONE})).status == 303
        text = plain(await wang.read(ONE))
        assert "操作尚未执行：请再按一次该按钮。" in text

    run_with_board(work)


def test_a_request_names_those_who_may_approve_and_its_requester_tells_them() -> None:
    async def work(site: BoardSite) -> None:
        why = "a device is lost"
        await suspend(site.services, call("epoch.suspend"), TREASURY, MEETING, 0, why)
        wang, sun = [await officer(site, f"{name}-security") for name in ("wang", "sun")]
        for one in (wang, sun):
            await one.admitted()
        await wang.act(NEW, **RESUME)
        where = (await wang.sign(f"{NEW}/check")).header("location")
        told = "Please tell: Sun-Security (sun-security), Zhou-Security (zhou-security)"
        assert told in plain(await wang.read(where))
        assert "Please tell" not in plain(await sun.read(where))
        await sun.sign(where, f"{where}/sign")
        text = plain(await sun.read(where))
        assert "May approve Zhou-Security zhou-security" in text
        assert "you have approved this request" in text

    run_with_board(work)


def test_the_overview_tells_an_officer_how_many_requests_wait_for_whom() -> None:
    async def work(site: BoardSite) -> None:
        await stand(site, PEOPLE.request("policy.change", _policy(TREASURY), TREASURY))
        await look_at_requests(site.services)
        wang, sun, wu = [await officer(site, f"{one}-security") for one in ("wang", "sun", "wu")]
        await wang.admitted()
        assert "2 wait for your approval" in plain(await wang.read("/"))
        await wang.sign(ONE, f"{ONE}/sign")
        assert "1 wait for your approval" in plain(await wang.read("/"))
        assert "2 wait for your approval" in plain(await sun.read("/"))
        assert "for your approval" not in plain(await wu.read("/"))
        key = site.services.store.request(ONE.rpartition("/")[2]).row.key  # type: ignore[union-attr] # it is there
        site.services.cache.forget(key)
        site.site.store._facts.versions.learn({key: 9})  # it was altered: the others are counted
        assert "1 wait for your approval" in plain(await sun.read("/"))

    run_with_board(work)


def test_an_officer_cancels() -> None:
    async def work(site: BoardSite) -> None:
        wang = await officer(site, "wang-security")
        assert (await wang.act(f"{ONE}/cancel")).status == 303
        record, _ = await site.services.cache.request(WANTED.id)
        assert record.state is RequestState.CANCELLED
        assert ONE in await wang.read("/approvals?state=cancelled")
        over = await wang.read(ONE)
        assert f'action="{ONE}/' not in over
        assert "Exactly what was asked for" in over

    run_with_board(work)


def test_requests_of_other_spaces_are_not_there() -> None:
    async def work(site: BoardSite) -> None:
        elsewhere = await site.signed_in("officer elsewhere")
        own = PEOPLE.request("policy.change", _policy(BANKING), BANKING)
        await stand(site, own)
        page = (await elsewhere.get("/approvals")).text
        assert WANTED.id not in page
        assert own.id in page
        assert (await elsewhere.get(ONE)).status == 404

    run_with_board(work)


def _policy(space: SpaceName) -> PolicyChange:
    return PolicyChange(replace(POLICY, space=space, retention_seconds=77), 1)


def test_a_policy_change_shows_what_was_and_what_will_be() -> None:
    async def work(site: BoardSite) -> None:
        wanted = PEOPLE.request("policy.change", _policy(TREASURY), TREASURY)
        await stand(site, wanted)
        wang = await officer(site, "wang-security")
        page = await wang.read(f"/approvals/{wanted.id}")
        assert "<ins>77 (1 min 17 s)</ins>" in page
        assert "<del>0</del>" in page
        assert plain(page).count("policy.rotation.interval_seconds") == 1, "unchanged, shown once"

    run_with_board(work)


def test_hostile_text_is_shown_and_does_nothing() -> None:
    async def work(site: BoardSite) -> None:
        reason = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'
        wanted = PEOPLE.request("policy.change", _policy(TREASURY), TREASURY, reason=reason)
        await stand(site, wanted)
        wang = await officer(site, "wang-security")
        for path in ("/approvals", f"/approvals/{wanted.id}"):
            page = await wang.read(path)
            assert "<script>alert" not in page
            assert "<img src=x" not in page
        assert reason in html.unescape(page)

    run_with_board(work)


def test_long_lists_come_in_pages() -> None:
    async def work(site: BoardSite) -> None:
        for _ in range(PAGE_ROWS):
            await stand(site, PEOPLE.request("policy.change", _policy(TREASURY), TREASURY))
        wang = await officer(site, "wang-security")
        first = await wang.read("/approvals")
        (rest,) = [
            part.split('"')[0] for part in first.split('href="')[1:] if "after=" in part[:60]
        ]
        second = await wang.read(rest.replace("&amp;", "&"))
        links = [page.count('<a href="/approvals/0') for page in (first, second)]
        assert links == [PAGE_ROWS, 1]
        assert 'rel="next"' not in second

    run_with_board(work)


def test_a_form_that_is_filled_in_wrongly_is_refused() -> None:
    wrong = (
        {"operation": "disk.erase"},
        {"epoch": "-1"},
        {"meeting": "no meeting"},
        {"reason": ""},
        {"reason": "with \u202e hidden"},
        {"open": "1"},
        {"space": "no space"},
    )

    async def work(site: BoardSite) -> None:
        wang = await officer(site, "wang-security")
        for one in wrong:
            filled = await wang.act(NEW, **{**RESUME, **one})
            looked = await wang.ask(f"{NEW}/check")
            assert 400 in (filled.status, looked.status), one
            assert "data-passkey" not in looked.text, one

    run_with_board(work)


def test_a_request_is_signed_soon_and_once() -> None:
    async def work(site: BoardSite) -> None:
        await suspend(
            site.services, call("epoch.suspend"), TREASURY, MEETING, 0, "a device is lost"
        )
        wang = await officer(site, "wang-security")
        await wang.admitted()
        await wang.act(NEW, **RESUME)
        answer = json.dumps(wang.own.get(options(await wang.read(f"{NEW}/check"))))
        site.services.clock.seconds += 301
        late = await wang.act(f"{NEW}/check", response=answer)
        again = await wang.act(f"{NEW}/check", response=answer)
        assert (late.status, again.status) == (422, 409)
        assert (await wang.sign(f"{NEW}/check")).status == 303
        assert (await wang.act(f"{NEW}/check", response=answer)).status == 409

    run_with_board(work)


def test_of_those_that_ended_the_last_stands_first() -> None:
    async def work(site: BoardSite) -> None:
        wang, ended = await officer(site, "wang-security"), [WANTED.id]
        for _ in range(2):
            wanted = PEOPLE.request("policy.change", _policy(TREASURY), TREASURY)
            await stand(site, wanted)
            ended.append(wanted.id)
        for one in ended:
            await wang.act(f"/approvals/{one}/cancel")
        page = await wang.read("/approvals?state=cancelled")
        assert sorted(ended, key=lambda one: page.index(f'href="/approvals/{one}"')) == ended[::-1]

    run_with_board(work)


def test_every_way_to_stand_has_its_filter() -> None:
    async def work(site: BoardSite) -> None:
        wang: Officer = await officer(site, "wang-security")
        for one in Standing:
            status = (await wang.ask(f"/approvals?state={one}")).status
            assert status == (400 if one is Standing.OUTDATED else 200)

    run_with_board(work)

"""Requests from being handed in to being carried out, over a FAKE HSM that checks nothing: every
refusal here is the service's own. What the worker refuses is in test_guard.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from kms.audit.leaf import Leaf, LeafDraft, Outcome, Phase, decode_leaf
from kms.domain.approvals import (
    HoldTarget,
    MeetingTarget,
    Request,
    RequestState,
    Sharing,
    SitePolicyChange,
)
from kms.domain.grants import Hold
from kms.domain.ids import MeetingId
from kms.domain.models import Role
from kms.domain.policies import GroupNeed, Labels, Quorum, RotationRules, SpacePolicy
from kms.domain.rows import Record, RowKind, SealedRow
from kms.errors import ConfigurationError, HsmUnavailable, IntegrityFailure
from kms.ports import PutRow, Unit
from kms.statements import archive
from kms.statements.canonical import make_row, read_row
from kms.statements.request import MAX_SECONDS, MAX_SKEW, OperationRequest
from kms.usecases.activations import SERVICE
from kms.usecases.approvals import effects
from kms.usecases.approvals.execution import finish_executed
from kms.usecases.approvals.registers import Registers
from kms.usecases.services import Call, Services
from tests.fixtures.api import (
    BANKING,
    MAC,
    TREASURY,
    Clock,
    FakeSite,
    make_caller,
    run_with_site,
)
from tests.fixtures.approvals import ADMIN, LEGAL, SECURITY, Board
from tests.fixtures.people import held

NOW = int(Clock().now())
SITE = "fake.example"
HOLD = "0193a5b0-7c3e-7000-8000-0123456789ab"
BOARD = Board(SITE, NOW)
ENOUGH = (*SECURITY[:2], *LEGAL[:2])


@dataclass
class Desk:
    """A site that is asked, its people, and its one hold."""

    site: FakeSite
    client: httpx2.AsyncClient
    board: Board = BOARD

    @property
    def services(self) -> Services:
        return self.site.services

    def ask(self, **changes: Any) -> OperationRequest:
        """Return a request to lift the hold, unless said otherwise."""
        changes.setdefault("space", TREASURY)
        operation = changes.pop("operation", "hold.lift")
        parameters = changes.pop("parameters", HoldTarget(HOLD))
        return self.board.request(operation, parameters, changes.pop("space"), **changes)

    async def submit(self, wanted: OperationRequest, token: str = "", key: str = "") -> Any:
        return await self.client.post(
            "/v1/approvals",
            json={"request": token or self.board.signed(wanted)},
            headers={"idempotency-key": key or wanted.id},
        )

    async def submitted(self, *names: str, **changes: Any) -> OperationRequest:
        """Return a request that was handed in and approved by these people."""
        wanted = self.ask(**changes)
        answer = await self.submit(wanted)
        assert answer.status_code == 201, answer.text
        for name in names:
            assert (await self.sign(wanted, name)).status_code == 200
        return wanted

    async def sign(self, wanted: OperationRequest, name: str, token: str = "") -> Any:
        approval = token or self.board.approve(name, wanted)
        return await self.act(wanted, "sign", {"approval": approval})

    async def act(self, wanted: OperationRequest, verb: str, body: Any = None) -> Any:
        return await self.client.post(f"/v1/approvals/{wanted.id}:{verb}", json=body or {})

    async def state(self, wanted: OperationRequest) -> dict[str, Any]:
        found: dict[str, Any] = (await self.client.get(f"/v1/approvals/{wanted.id}")).json()
        return found

    def leaves(self, action: str) -> list[Leaf]:
        return [leaf for leaf in self.every_leaf() if leaf.action == action]

    def every_leaf(self) -> list[Leaf]:
        size = self.site.store.tree_size()
        return [decode_leaf(data) for data in self.site.store.leaves(0, size)]

    def stored(self, kind: RowKind, key: str) -> Record:
        sealed = self.site.store.row(kind, key)
        assert sealed is not None
        return read_row(sealed.row)

    def hold(self) -> Hold:
        found = self.stored(RowKind.HOLD, f"hold/{TREASURY}/{HOLD}")
        assert isinstance(found, Hold)
        return found

    async def refused(self, answer: Any, code: str, *words: str, logged: bool = True) -> None:
        """Assert that it was refused so, that the hold stands, and that the log says it."""
        assert answer.json()["code"] == code, answer.text
        for word in words:
            assert word in answer.json()["detail"]
        assert not self.hold().lifted
        last = self.every_leaf()[-1]
        assert (last.action == "approval.refused") is logged
        if logged:
            assert last.outcome is Outcome.REFUSED
            assert last.details["code"] == code
            assert not last.rows

    async def store(self, *records: tuple[Record, int], action: str = "hold.place") -> None:
        """Write rows behind the API's back, with a leaf that names them."""
        rows = [make_row(*one) for one in records]
        leaf = Call(SERVICE, action, "").leaf(
            "",
            "test",
            Phase.EVENT,
            Outcome.SUCCEEDED,
            rows={row.key: row.version for row in rows},
        )
        await self.site.store.commit(
            Unit(tuple(PutRow(SealedRow(row, MAC)) for row in rows), (leaf,))
        )
        for row in rows:
            self.services.cache.forget(row.key)


Work = Callable[[Desk], Awaitable[None]]


def run(work: Work, board: Board = BOARD, caller: Any = None) -> None:
    """Run on a fresh site with a register in force and one hold in treasury."""

    async def prepared(site: FakeSite) -> None:
        await board.found(site.store, site.services.settings.paths.state)
        async with site.client() as client:
            desk = Desk(site, client, board)
            await desk.store((Hold(TREASURY, HOLD, "", "a court asks", "officer", NOW - 9), 1))
            await work(desk)

    run_with_site(prepared, caller=caller)


# --- the way that it should go --------------------------------------------------------------------


def test_what_enough_people_approve_is_carried_out() -> None:
    async def work(desk: Desk) -> None:
        wanted = await desk.submitted(*ENOUGH)
        before = await desk.state(wanted)
        assert (before["state"], before["ready"], before["missing"]) == ("pending", True, [])
        assert before["approved"] == list(ENOUGH)
        answer = await desk.act(wanted, "execute")
        assert answer.status_code == 200, answer.text
        assert (answer.json()["state"], answer.json()["ready"]) == ("executed", False)
        assert desk.hold().lifted == NOW

    run(work)


def test_the_log_tells_each_step() -> None:
    async def work(desk: Desk) -> None:
        wanted = await desk.submitted(*ENOUGH)
        await desk.act(wanted, "execute")
        digest, row = wanted.digest(), f"request/{TREASURY}/{wanted.id}"
        (asked,) = desk.leaves("approval.request")
        assert asked.resource == f"spaces/{TREASURY}/requests/{wanted.id}"
        told = {"operation": "hold.lift", "digest": digest}
        assert asked.details == {**told, "person": ADMIN}
        assert asked.rows == {row: 1}
        signed = desk.leaves("approval.sign")
        assert [one.details for one in signed] == [{**told, "person": name} for name in ENOUGH]
        assert [one.rows for one in signed] == [{row: number} for number in range(2, 6)]
        (lifted,) = desk.leaves("hold.lift")
        assert lifted.resource == f"spaces/{TREASURY}/holds/{HOLD}"
        assert lifted.details == {"hold": HOLD, "request": wanted.id, "digest": digest}
        assert lifted.rows == {row: 6, f"hold/{TREASURY}/{HOLD}": 2}

    run(work)


def test_who_is_missing_is_told_at_every_step() -> None:
    async def work(desk: Desk) -> None:
        wanted = await desk.submitted("sun-security")
        found = await desk.state(wanted)
        assert found["missing"] == [
            {"group": "security", "count": 1, "space": None},
            {"group": "legal", "count": 2, "space": None},
        ]
        assert not found["ready"]
        await desk.refused(await desk.act(wanted, "execute"), "quorum_not_met", "2 of group legal")

    run(work)


def test_a_request_handed_in_again_under_its_key_is_answered_again() -> None:
    async def work(desk: Desk) -> None:
        wanted = desk.ask()
        token = BOARD.signed(wanted)
        first, again = await desk.submit(wanted, token), await desk.submit(wanted, token)
        assert first.content == again.content
        other = await desk.submit(wanted, key="another")
        await desk.refused(other, "already_exists")
        assert len(desk.leaves("approval.request")) == 1

    run(work)


def test_the_rules_name_register_and_quorums() -> None:
    async def work(desk: Desk) -> None:
        found = (await desk.client.get("/v1/approval-rules")).json()
        assert (found["people"], found["sha256"]) == (BOARD.token, BOARD.sha256)
        rules = {one["operation"]: one for one in found["items"]}
        assert [one["group"] for one in rules["hold.lift"]["needs"]] == ["security", "legal"]
        assert rules["site-policy.change"]["site"]
        both = {"space": TREASURY, "partner": BANKING}
        found = (await desk.client.get("/v1/approval-rules", params=both)).json()
        rules = {one["operation"]: one for one in found["items"]}
        sides = [one["space"] for one in rules["meeting.share"]["needs"]]
        assert sides == [None, BANKING]

    run(work)


# --- handing in -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"site": "other.example"}, "verification_failed"),
        ({"requester": "sun-security"}, "verification_failed"),
        ({"register": "r" * 43}, "verification_failed"),
        ({"quorum": (GroupNeed("legal", 2),)}, "verification_failed"),
        ({"issued": NOW - MAX_SKEW - 1}, "verification_failed"),
        ({"issued": NOW + MAX_SKEW + 1}, "verification_failed"),
        ({"issued": NOW - 10, "expires": NOW}, "state_not_allowed"),
        ({"expires": NOW + MAX_SECONDS + 1}, "invalid_input"),
        ({"operation": "space.destroy", "quorum": ENOUGH}, "invalid_input"),
        ({"parameters": HoldTarget("0193a5b0-7c3e-7000-8000-0123456789ff")}, "not_found"),
        ({"parameters": MeetingTarget(MeetingId(HOLD))}, "invalid_input"),
        ({"space": "nowhere"}, "not_found"),
        ({"space": ""}, "invalid_input"),
        ({"nonce": "short"}, "invalid_input"),
    ],
)
def test_a_request_that_does_not_hold_is_refused(changes: dict[str, Any], code: str) -> None:
    async def work(desk: Desk) -> None:
        if changes.get("operation") == "space.destroy":
            wanted = replace(desk.ask(), operation="space.destroy")
        else:
            wanted = replace(desk.ask(), **_simple(changes)) if _simple(changes) else desk.ask()
            if changes.keys() & {"parameters", "space"}:
                wanted = desk.ask(**changes)
        answer = await desk.submit(wanted, BOARD.signed(wanted, by=held(ADMIN)))
        await desk.refused(answer, code)
        assert desk.site.store.request(wanted.id) is None

    run(work)


def _simple(changes: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in changes.items() if k not in {"parameters", "space", "operation"}}


def test_a_reason_that_hides_something_is_bad_input_and_one_of_two_lines_is_not() -> None:
    async def work(desk: Desk) -> None:
        await desk.refused(await desk.submit(desk.ask(reason="a\0b")), "invalid_input")
        assert (await desk.submit(desk.ask(reason="a\nb"))).status_code == 201

    run(work)


def test_nothing_of_a_strangers_text_gets_into_the_log() -> None:
    async def work(desk: Desk) -> None:
        wanted = replace(desk.ask(), operation="planted.text")
        for token in (BOARD.signed(wanted, by=held(ADMIN)), "planted.text.x"):
            answer = await desk.submit(wanted, token, key=token[-20:])
            assert answer.json()["code"] == "forbidden"
        assert not desk.leaves("approval.refused")
        assert "planted" not in str(desk.every_leaf())

    run(work, caller=make_caller((Role.AUDITOR,), ("*",)))


def test_an_unknown_operation_is_not_repeated_in_the_log() -> None:
    async def work(desk: Desk) -> None:
        wanted = replace(desk.ask(), operation="planted.text")
        answer = await desk.submit(wanted, BOARD.signed(wanted, by=held(ADMIN)))
        await desk.refused(answer, "invalid_input")
        assert "planted" not in str(desk.every_leaf())

    run(work)


def test_what_nothing_carries_out_is_refused_when_it_is_asked_for() -> None:
    async def work(desk: Desk) -> None:
        sharing = Sharing(MeetingId(HOLD), BANKING)
        if "meeting.share" in effects.EFFECTS:
            return
        wanted = desk.ask(operation="meeting.share", parameters=sharing)
        await desk.refused(await desk.submit(wanted), "not_found")

    run(work)


def test_what_could_not_be_carried_out_now_is_refused_when_it_is_asked_for() -> None:
    async def work(desk: Desk) -> None:
        await desk.act(await desk.submitted(*ENOUGH), "execute")
        answer = await desk.submit(desk.ask())
        assert answer.json()["code"] == "state_not_allowed"
        assert desk.every_leaf()[-1].action == "approval.refused"

    run(work)


# --- approving ------------------------------------------------------------------------------------


def test_an_approval_that_does_not_count_is_refused() -> None:
    async def work(desk: Desk) -> None:
        wanted = await desk.submitted("sun-security")
        other = await desk.submitted()
        stranger = BOARD.approve("wang-security", wanted, by=held("a stranger"))
        later = BOARD.approve("wang-security", wanted, signed=NOW + MAX_SKEW + 1)
        for token, words in (
            (stranger, "nobody's"),
            (later, "another time"),
            (BOARD.approve("wang-security", other), "another request"),
            (BOARD.approve(ADMIN, wanted), "of their own"),
            (BOARD.approve("liu-witness", wanted), "not an officer"),
            (BOARD.approve("wang-security", wanted, by=held("zhou-security")), "signed by zhou"),
        ):
            answer = await desk.sign(wanted, "", token)
            await desk.refused(answer, "verification_failed", words)
        await desk.refused(await desk.sign(wanted, "sun-security"), "already_exists", "before")
        assert (await desk.state(wanted))["approved"] == ["sun-security"]

    run(work)


def test_two_credentials_are_one_person() -> None:
    board = Board(SITE, NOW, seconds=("sun-security",))

    async def work(desk: Desk) -> None:
        wanted = await desk.submitted("sun-security")
        second = board.approve("sun-security", wanted, by=held("sun-security 2"))
        await desk.refused(await desk.sign(wanted, "", second), "already_exists", "before")

    run(work, board)


def test_an_officer_of_another_space_has_no_say() -> None:
    board = Board(SITE, NOW, spaces={"sun-security": (BANKING,)})

    async def work(desk: Desk) -> None:
        wanted = await desk.submitted()
        await desk.refused(await desk.sign(wanted, "sun-security"), "verification_failed", "no say")

    run(work, board)


@pytest.mark.parametrize("verb", ["sign", "cancel", "execute"])
def test_nothing_is_done_with_a_request_that_is_over(verb: str) -> None:
    async def work(desk: Desk) -> None:
        wanted = await desk.submitted(*ENOUGH[:3])
        body = {"approval": BOARD.approve(ENOUGH[3], wanted)} if verb == "sign" else None
        clock: Any = desk.services.clock
        clock.seconds = float(wanted.expires)
        assert (await desk.state(wanted))["state"] == "expired"
        await desk.refused(await desk.act(wanted, verb, body), "state_not_allowed", "expired")
        clock.seconds = float(NOW)
        assert (await desk.act(wanted, "cancel")).json()["state"] == "cancelled"
        (cancelled,) = desk.leaves("approval.cancel")
        assert cancelled.details["person"] == "tester"
        await desk.refused(await desk.act(wanted, verb, body), "state_not_allowed", "cancelled")

    run(work)


@pytest.mark.parametrize("verb", ["sign", "cancel", "execute"])
def test_an_unknown_request_is_refused_and_logged(verb: str) -> None:
    async def work(desk: Desk) -> None:
        wanted = desk.ask()
        body = {"approval": BOARD.approve(ENOUGH[0], wanted)} if verb == "sign" else None
        await desk.refused(await desk.act(wanted, verb, body), "not_found")
        assert desk.every_leaf()[-1].resource == "requests"

    run(work)


def test_looking_for_what_is_not_there_is_no_refusal() -> None:
    async def work(desk: Desk) -> None:
        size = desk.site.store.tree_size()
        assert (await desk.client.get(f"/v1/approvals/{HOLD}")).status_code == 404
        assert (await desk.client.get("/v1/approvals/nonsense")).status_code == 400
        assert desk.site.store.tree_size() == size

    run(work)


# --- what changes meanwhile -----------------------------------------------------------------------


def test_a_new_register_ends_every_request() -> None:
    async def work(desk: Desk) -> None:
        wanted = await desk.submitted(*ENOUGH[:3])
        newer = Board(SITE, NOW, version=2)
        await newer.found(desk.site.store, desk.services.settings.paths.state)
        assert (await desk.state(wanted))["state"] == "outdated"
        body = {"approval": BOARD.approve(ENOUGH[3], wanted)}
        for verb in ("sign", "execute"):
            answer = await desk.act(wanted, verb, body if verb == "sign" else None)
            await desk.refused(answer, "verification_failed", "register of people has changed")
        assert (await desk.act(wanted, "cancel")).status_code == 200

    run(work)


def policy(*quorums: Quorum) -> SpacePolicy:
    return SpacePolicy(TREASURY, Labels(), RotationRules(3600, 86400), 0, quorums)


def test_a_new_quorum_ends_the_requests_that_named_another() -> None:
    async def work(desk: Desk) -> None:
        wanted = await desk.submitted(*ENOUGH)
        more = (GroupNeed("security", 3), GroupNeed("legal", 3))
        await desk.store((policy(Quorum("hold.lift", more)), 1))
        assert (await desk.state(wanted))["state"] == "outdated"
        answer = await desk.act(wanted, "execute")
        await desk.refused(answer, "verification_failed", "another quorum")
        again = await desk.submitted(*SECURITY[:3], *LEGAL, quorum=more)
        assert (await desk.act(again, "execute")).status_code == 200

    run(work)


def test_what_was_approved_is_looked_at_again_when_it_is_carried_out() -> None:
    async def work(desk: Desk) -> None:
        one, two = await desk.submitted(*ENOUGH), await desk.submitted(*ENOUGH)
        assert (await desk.act(one, "execute")).status_code == 200
        answer = await desk.act(two, "execute")
        assert answer.json()["code"] == "state_not_allowed"
        assert (await desk.state(two))["state"] == "pending"

    run(work)


# --- once -----------------------------------------------------------------------------------------


def test_fifty_at_once_carry_it_out_once() -> None:
    async def work(desk: Desk) -> None:
        wanted = await desk.submitted(*ENOUGH)
        answers = await asyncio.gather(*(desk.act(wanted, "execute") for _ in range(50)))
        assert sorted(one.status_code for one in answers) == [200, *[409] * 49]
        assert len(desk.leaves("hold.lift")) == 1
        assert len(desk.leaves("approval.refused")) == 49

    run(work)


def test_a_second_process_that_carries_it_out_too_gets_a_conflict() -> None:
    async def work(desk: Desk) -> None:
        wanted = await desk.submitted(*ENOUGH)
        # Another process has ended the request; this one's cache does not know yet.
        record, version = await desk.services.cache.request(wanted.id)
        gone = replace(record, state=RequestState.EXECUTED, ended=NOW)
        await desk.store((gone, version + 1), action="hold.lift")
        desk.services.cache.learn(SealedRow(make_row(record, version), MAC))
        await desk.refused(await desk.act(wanted, "execute"), "conflict")

    run(work)


def test_a_worker_that_refuses_or_is_gone_changes_nothing() -> None:
    async def work(desk: Desk) -> None:
        wanted = await desk.submitted(*ENOUGH)
        desk.site.workers.spaces[TREASURY].down = True
        await desk.refused(await desk.act(wanted, "execute"), "hsm_unavailable", logged=False)
        desk.site.workers.spaces[TREASURY].down = False
        assert (await desk.state(wanted))["state"] == "pending"
        assert (await desk.act(wanted, "execute")).status_code == 200

    run(work)


def test_what_follows_is_done_again_at_start_until_it_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    away = True

    async def follow(services: Services, call: Call, checked: Any) -> None:
        del services
        asked.append(f"{call.principal.name} {checked.wanted.id}")
        if away:
            raise HsmUnavailable("the token is away")

    async def work(desk: Desk) -> None:
        monkeypatch.setitem(effects.AFTERWARDS, "hold.lift", follow)
        wanted = await desk.submitted(*ENOUGH)
        assert (await desk.act(wanted, "execute")).json()["state"] == "executed"
        newer = Board(SITE, NOW, version=2)
        await newer.found(desk.site.store, desk.services.settings.paths.state)
        await finish_executed(desk.services)
        assert asked == [f"tester {wanted.id}", f"service {wanted.id}"]
        nonlocal away
        away = False
        for _ in range(2):
            await finish_executed(desk.services)
        assert asked[2:] == [f"service {wanted.id}"]

    run(work)


def test_a_start_looks_at_nothing_after_which_nothing_remains(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A site lives for years: its starts do not check every request that was ever carried out."""

    async def work(desk: Desk) -> None:
        wanted = await desk.submitted(*ENOUGH)
        assert (await desk.act(wanted, "execute")).status_code == 200
        monkeypatch.setattr(desk.services.cache, "request", None)
        await finish_executed(desk.services)

    run(work)


# --- who may see and carry ------------------------------------------------------------------------


def test_a_request_of_a_space_out_of_reach_does_not_exist() -> None:
    caller = make_caller(spaces=(BANKING,))

    async def work(desk: Desk) -> None:
        wanted = desk.ask()
        assert (await desk.submit(wanted)).status_code == 404
        await desk.store((BOARD.record(wanted), 1))
        body = {"approval": BOARD.approve(ENOUGH[0], wanted)}
        for verb in ("sign", "cancel", "execute"):
            answer = await desk.act(wanted, verb, body if verb == "sign" else None)
            assert answer.status_code == 404
            assert desk.every_leaf()[-1].action == "access.refused"
        assert (await desk.client.get(f"/v1/approvals/{wanted.id}")).status_code == 404
        assert (await desk.client.get("/v1/approvals")).json()["items"] == []
        rules = await desk.client.get("/v1/approval-rules", params={"space": TREASURY})
        assert rules.status_code == 404

    run(work, caller=caller)


def test_an_auditor_looks_on() -> None:
    async def work(desk: Desk) -> None:
        wanted = desk.ask()
        await desk.store((BOARD.record(wanted, ENOUGH), 1))
        assert (await desk.state(wanted))["ready"]
        for answer in (await desk.submit(desk.ask()), await desk.act(wanted, "execute")):
            assert answer.status_code == 403

    run(work, caller=make_caller(roles=(Role.AUDITOR,)))


@pytest.mark.parametrize("end", ["sealed", "down"])
def test_a_space_that_cannot_be_asked_hides_no_other_from_the_inbox(end: str) -> None:
    async def work(desk: Desk) -> None:
        lost = await desk.submitted()
        text = '@id("x") forbid (principal, action == Action::"meeting.open", resource);'
        change = SitePolicyChange(text, 1)
        there = await desk.submitted(operation="site-policy.change", parameters=change, space="")
        if end == "sealed":
            desk.services.seals.add(TREASURY)
        else:
            desk.site.workers.spaces[TREASURY].down = True
            desk.services.cache.forget(f"request/{TREASURY}/{lost.id}")
        page = (await desk.client.get("/v1/approvals")).json()
        assert [one["id"] for one in page["items"]] == [there.id]
        assert page["unknown"] == [TREASURY]

    run(work)


def test_the_inbox_has_what_waits_page_by_page() -> None:
    async def work(desk: Desk) -> None:
        waiting = [(await desk.submitted()).id for _ in range(5)]
        over = await desk.submitted(expires=NOW + 10)
        done, gone = await desk.submitted(), await desk.submitted()
        await desk.act(gone, "cancel")
        for name in ENOUGH:
            await desk.sign(done, name)
        await desk.act(done, "execute")
        clock: Any = desk.services.clock
        clock.seconds = float(NOW + 10)

        async def ids(state: str, **query: Any) -> list[str]:
            asked = {"state": state, **query}
            page = (await desk.client.get("/v1/approvals", params=asked)).json()
            return [one["id"] for one in page["items"]]

        assert await ids("pending") == waiting
        assert await ids("pending", limit=2) == waiting[:2]
        assert await ids("pending", limit=2, after=waiting[1]) == waiting[2:4]
        assert await ids("expired") == [over.id]
        assert await ids("executed") == [done.id]
        assert await ids("cancelled") == [gone.id]
        for bad in ("open", "outdated"):
            answer = await desk.client.get("/v1/approvals", params={"state": bad})
            assert answer.status_code == 400

    run(work)


# --- which register -------------------------------------------------------------------------------


def test_only_the_register_that_the_log_names_last_counts() -> None:
    async def work(desk: Desk) -> None:
        state, store = desk.services.settings.paths.state, desk.site.store
        registers = desk.services.registers
        assert registers.in_force(store, state).register.version == 1
        forged = Board(SITE, NOW, root=ec.generate_private_key(ec.SECP256R1()), version=2)
        (state / archive.REGISTER.format(2)).write_text(forged.token)
        # The log names the first: a file that was put beside it is not looked at.
        assert registers.in_force(store, state).register.version == 1
        await Board(SITE, NOW, version=3).found(store, state)
        assert registers.in_force(store, state).register.version == 3
        (state / archive.REGISTER.format(4)).write_text(BOARD.token)
        registers._present = None
        with pytest.raises(IntegrityFailure):
            registers.in_force(store, state)
        assert registers.named.count(BOARD.sha256) == 1

    run(work)


@pytest.mark.parametrize(("told", "refused"), [(1, False), (2, False), (3, True)])
def test_an_older_register_does_not_come_back_by_a_new_leaf(told: int, refused: bool) -> None:
    async def work(site: FakeSite) -> None:
        store, state = site.store, site.services.settings.paths.state
        new = Board(SITE, NOW, version=2)
        await BOARD.found(store, state)
        await new.found(store, state)
        planted = LeafDraft(
            "register.change", "ceremony", "test", "", "register/3", Phase.EVENT,
            Outcome.SUCCEEDED, details={"ceremony": "x", "version": told, "sha256": BOARD.sha256},
        )  # fmt: skip
        await store.commit(Unit(leaves=(planted,)))
        if refused:
            (state / archive.REGISTER.format(3)).write_text(BOARD.token)
            with pytest.raises(IntegrityFailure, match="another version"):
                Registers().in_force(store, state)
        else:
            assert Registers().in_force(store, state).register.version == 2

    run_with_site(work)


def test_a_register_that_the_log_names_and_no_root_signed_is_not_read() -> None:
    forged = Board(SITE, NOW, root=ec.generate_private_key(ec.SECP256R1()))

    async def work(site: FakeSite) -> None:
        state = site.services.settings.paths.state
        await forged.found(site.store, state)
        BOARD.write(state)
        (state / archive.REGISTER.format(1)).write_text(forged.token)
        with pytest.raises(ConfigurationError):
            site.services.registers.in_force(site.store, state)

    run_with_site(work)


def test_a_site_without_people_has_no_register() -> None:
    async def work(site: FakeSite) -> None:
        async with site.client() as client:
            answer = await client.get("/v1/approval-rules")
            assert answer.json()["code"] == "configuration_error"

    run_with_site(work)


def test_a_request_that_was_altered_on_the_disk_is_found() -> None:
    async def work(desk: Desk) -> None:
        wanted = await desk.submitted()
        key = f"request/{TREASURY}/{wanted.id}"
        desk.services.cache.forget(key)
        desk.site.store._facts.versions.learn({key: 9})
        answer = await desk.act(wanted, "execute")
        assert answer.json()["code"] == "integrity_failure"

    run(work)


def test_the_site_has_requests_of_its_own() -> None:
    async def work(desk: Desk) -> None:
        text = "// nothing beside what was shipped\n"
        wanted = await desk.submitted(
            *ENOUGH,
            operation="site-policy.change",
            parameters=SitePolicyChange(text, 1),
            space="",
        )
        (asked,) = desk.leaves("approval.request")
        assert (asked.space, asked.resource) == ("", f"requests/{wanted.id}")
        answer = await desk.act(wanted, "execute")
        assert answer.status_code == 200, answer.text
        (changed,) = desk.leaves("site-policy.change")
        assert changed.resource == "site-policy"
        record = desk.stored(RowKind.REQUEST, f"request//{wanted.id}")
        assert isinstance(record, Request)
        assert record.state is RequestState.EXECUTED

    run(work)

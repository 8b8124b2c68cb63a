"""Confidential meetings at the API, over a FAKE HSM: opened with a host, fetched with assertions,
hidden from operators. What the worker refuses is in test_worker_confidential.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import httpx2
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from kms.audit.leaf import Leaf, Outcome, decode_leaf
from kms.client.rosters import new_meeting
from kms.domain.ids import MeetingId
from kms.domain.models import Meeting, Role
from kms.domain.passkeys import Passkey, Purpose
from kms.operations import OPERATIONS
from kms.settings import Caller
from kms.statements.canonical import digest
from kms.statements.roster import peek_roster
from tests.fixtures.api import BANKING, FakeSite, make_caller, run_with_site
from tests.fixtures.confidential import (
    NOW,
    asserted,
    assertions,
    device,
    host_id,
    ordinary_roster,
    passkey,
    roster,
    shown,
)
from tests.practice.devices import Device

HOME = f"/v1/spaces/{BANKING}/meetings"


@dataclass
class Room:
    """A fake site that is asked by its one caller, in every role unless said otherwise."""

    site: FakeSite
    client: httpx2.AsyncClient

    async def open(self, meeting: str, statement: str) -> Any:
        body = {"meeting": meeting, "statement": statement}
        return await self.client.post(HOME, json=body, headers={"idempotency-key": meeting})

    async def opened(self, *people: Device) -> str:
        meeting = new_meeting()
        answer = await self.open(meeting, roster(meeting, people or (device("host"),)))
        assert answer.status_code == 201, answer.text
        return meeting

    async def change(self, meeting: str, statement: str) -> Any:
        return await self.client.put(f"{HOME}/{meeting}/roster", json={"statement": statement})

    async def fetch(self, meeting: str, who: str, assertion: str | None = None) -> Any:
        path = f"{HOME}/{meeting}/epochs/current/envelopes/{who}"
        headers = {} if assertion is None else {"conclave-assertion": assertion}
        return await self.client.get(path, headers=headers)

    async def record(self, meeting: str) -> Meeting:
        return (await self.site.services.cache.meeting(BANKING, MeetingId(meeting)))[0]

    def leaves(self, action: str) -> list[Leaf]:
        every = (decode_leaf(data) for data in self.site.store.leaves(0, 10_000))
        return [leaf for leaf in every if leaf.action == action]


def in_a_room(
    work: Callable[[Room], Awaitable[None]], caller: Caller | None = None, **changes: Any
) -> None:
    async def run(site: FakeSite) -> None:
        async with site.client() as client:
            await work(Room(site, client))

    run_with_site(run, caller=caller, **{"assertions": assertions(), **changes})


# --- opening and rosters --------------------------------------------------------------------------


def test_the_first_roster_names_the_host_for_good() -> None:
    async def work(room: Room) -> None:
        meeting = await room.opened(device("host"))
        assert (await room.record(meeting)).host == host_id()
        both = (device("host"), device("guest"))
        answer = await room.change(meeting, roster(meeting, both, 2))
        assert answer.status_code == 200, answer.text
        assert (await room.record(meeting)).host == host_id()
        stranger = ec.generate_private_key(ec.SECP256R1())
        planted = roster(meeting, both, 3, stranger)
        for statement in (ordinary_roster(meeting, both, 3), planted):
            answer = await room.change(meeting, statement)
            assert answer.json()["code"] == "invalid_input"
            assert "host never changes" in answer.json()["detail"]
        assert (await room.record(meeting)).roster_version == 2

    in_a_room(work)


def test_an_ordinary_meeting_does_not_become_confidential() -> None:
    async def work(room: Room) -> None:
        meeting, people = new_meeting(), (device("host"),)
        opened = await room.open(meeting, ordinary_roster(meeting, people))
        assert opened.status_code == 201
        answer = await room.change(meeting, roster(meeting, people, 2))
        assert answer.json()["code"] == "invalid_input"
        fetched = await room.fetch(meeting, device("host").id)
        assert fetched.status_code == 200

    in_a_room(work)


def test_without_a_service_that_says_who_is_there_no_meeting_is_confidential() -> None:
    async def work(room: Room) -> None:
        meeting = new_meeting()
        answer = await room.open(meeting, roster(meeting, (device("host"),)))
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")
        assert "[assertion]" in answer.json()["hint"]
        assert not room.leaves("meeting.open")

    in_a_room(work, assertions=None)


# --- envelopes ------------------------------------------------------------------------------------


def test_an_envelope_goes_out_with_a_fresh_assertion_once() -> None:
    async def work(room: Room) -> None:
        meeting, who = await room.opened(), device("host").id
        token = asserted(meeting, who)
        answer = await room.fetch(meeting, who, token)
        assert answer.status_code == 200, answer.text
        replayed = await room.fetch(meeting, who, token)
        assert (replayed.status_code, replayed.json()["code"]) == (403, "assertion_required")
        assert len(room.leaves("envelope.relay")) == 1
        (refused,) = room.leaves("access.refused")
        assert refused.outcome is Outcome.REFUSED
        assert refused.resource == f"spaces/{BANKING}/meetings/{meeting}/epochs/0"
        assert refused.details == {"code": "assertion_required", "operation": "envelope.fetch"}

    in_a_room(work)


def test_every_refusal_reads_the_same_and_stands_in_the_log() -> None:
    async def work(room: Room) -> None:
        meeting, who = await room.opened(device("host"), device("guest")), device("host").id
        wrong = (
            None,
            "",
            "e30.e30.e30",
            asserted(meeting, device("guest").id, "1"),
            asserted(new_meeting(), who, "2"),
            asserted(meeting, who, "3", iat=NOW - 100),
            asserted(meeting, who, "4", amr=["voice"]),
        )
        answers = [await room.fetch(meeting, who, token) for token in wrong]
        assert {answer.json()["code"] for answer in answers} == {"assertion_required"}
        assert len({answer.text for answer in answers}) == 1
        assert len(room.leaves("access.refused")) == len(wrong)
        assert not room.leaves("envelope.relay")
        assert (await room.fetch(meeting, who, asserted(meeting, who, "5"))).status_code == 200

    in_a_room(work)


def test_each_item_of_a_batch_has_an_assertion_of_its_own() -> None:
    async def work(room: Room) -> None:
        host, guest = device("host").id, device("guest").id
        meeting = await room.opened(device("host"), device("guest"))
        token = asserted(meeting, host, "h")
        wanted = [
            (host, token), (guest, asserted(meeting, guest, "g")), (host, token), (guest, None),
            (host, asserted(meeting, guest, "x")),
        ]  # fmt: skip
        items = [
            {"space": BANKING, "meeting": meeting, "recipient": who, "epoch": 0}
            | ({"assertion": said} if said else {})
            for who, said in wanted
        ]
        answer = await room.client.post("/v1/envelopes:batch", json={"envelopes": items})
        told = [one.get("error", {}).get("code", "") for one in answer.json()["items"]]
        assert told == ["", "", *["assertion_required"] * 3]
        assert len(room.leaves("envelope.relay")) == 2
        assert len(room.leaves("access.refused")) == 3

    in_a_room(work)


def test_the_key_of_a_site_that_lost_its_service_stays_in() -> None:
    async def work(site: FakeSite) -> None:
        async with site.client() as client:
            meeting = await Room(site, client).opened()
        lost = FakeSite(replace(site.services, assertions=None), site.workers, site.socket)
        async with lost.client() as client:
            who = device("host").id
            answer = await Room(lost, client).fetch(meeting, who, asserted(meeting, who))
            assert answer.json()["code"] == "assertion_required"

    run_with_site(work, assertions=assertions())


# --- passkeys -------------------------------------------------------------------------------------


def test_an_envelope_goes_out_once_on_the_invited_passkey_and_the_log_keeps_the_statement() -> None:
    async def work(room: Room) -> None:
        meeting, who, made = new_meeting(), device("host"), passkey()
        statement = roster(meeting, (who, device("guest")), passkeys={"host": made})
        assert (await room.open(meeting, statement)).status_code == 201
        invited = peek_roster(statement).invitations[0]
        token = shown(meeting, who, made, invited)
        assert (await room.fetch(meeting, who.id, token)).status_code == 200
        refusals = [
            await room.fetch(meeting, who.id, token),
            await room.fetch(meeting, device("guest").id, shown(meeting, who, made, invited)),
            await room.fetch(meeting, who.id, shown(meeting, who, passkey(), invited)),
        ]
        assert {answer.json()["code"] for answer in refusals} == {"assertion_required"}
        assert len({answer.text for answer in refusals}) == 1
        (leaf,) = room.leaves("envelope.relay")
        assert leaf.details == {"epoch": 0, "recipient": who.id, "presence": token}
        said = asserted(meeting, device("guest").id)
        assert (await room.fetch(meeting, device("guest").id, said)).status_code == 200
        assert room.leaves("envelope.relay")[1].details["assertion"] == digest(said.encode())

    in_a_room(work)


def test_whoever_is_invited_anew_with_another_passkey_loses_the_old_one() -> None:
    async def work(room: Room) -> None:
        meeting, who, lost, new = new_meeting(), device("host"), passkey(), passkey()
        first = roster(meeting, (who,), passkeys={"host": lost})
        assert (await room.open(meeting, first)).status_code == 201
        second = roster(meeting, (who,), 2, passkeys={"host": new})
        assert (await room.change(meeting, second)).status_code == 200
        told = [(lost, first), (lost, second), (new, first), (new, second)]
        answers = [
            await room.fetch(
                meeting, who.id, shown(meeting, who, made, peek_roster(by).invitations[0])
            )
            for made, by in told
        ]
        assert [answer.status_code for answer in answers] == [403, 403, 403, 200]

    in_a_room(work)


def test_a_passkey_of_the_board_shows_nobody_to_be_there() -> None:
    async def work(room: Room) -> None:
        meeting, who, made = new_meeting(), device("host"), passkey()
        statement = roster(meeting, (who,), passkeys={"host": made})
        await room.open(meeting, statement)
        invited = peek_roster(statement).invitations[0]
        known = room.site.services.passkeys.known
        known[made.credential] = Passkey(
            made.credential, "wang-security", Purpose.SIGN_IN, made.spki, "key", NOW, 1, "localhost"
        )
        answer = await room.fetch(meeting, who.id, shown(meeting, who, made, invited))
        assert answer.json()["code"] == "assertion_required"
        del known[made.credential]
        answer = await room.fetch(meeting, who.id, shown(meeting, who, made, invited))
        assert answer.status_code == 200

    in_a_room(work)


# --- media and score ------------------------------------------------------------------------------


def test_the_server_reports_its_cipher_and_the_score_follows() -> None:
    async def work(room: Room) -> None:
        meeting = await room.opened()
        path = f"{HOME}/{meeting}"
        answer = await room.client.post(f"{path}:report-media", json={"cipher": "AES_1_ROT13"})
        assert answer.json()["code"] == "invalid_input"
        for _ in range(2):
            told = {"cipher": "AES_256_GCM_SHA512_128"}
            answer = await room.client.post(f"{path}:report-media", json=told)
            assert answer.json()["media"] == "AES_256_GCM_SHA512_128"
        (leaf,) = room.leaves("media.report")
        assert leaf.details == told
        assert leaf.rows == {f"meeting/{BANKING}/{meeting}": 2}
        found = (await room.client.get(f"{path}/score")).json()
        assert (found["label_zh"], found["epoch"], found["ra"]) == ("自查参考分", 0, "1")
        # The fake token has neither vault nor escrow, so K fails.
        assert (found["vector"], found["number"]) == ("D1/A0/K0", "0.25")
        evidence = found["reasons"][0]["evidence"]
        assert evidence == [{"kind": "leaf", "value": str(leaf.seq)}]
        changed = await room.change(meeting, roster(meeting, (device("guest"),), 2))
        assert changed.json()["media"] == "AES_256_GCM_SHA512_128"
        await room.client.post(f"{path}:close", json={})
        late = await room.client.post(f"{path}:report-media", json={"cipher": "none"})
        assert late.json()["code"] == "state_not_allowed"
        assert (await room.client.get(f"{path}/score")).json()["d"] is True

    in_a_room(work)


# --- what operators see ---------------------------------------------------------------------------


def seen_by(
    role: Role, look: Callable[[Room, str], Awaitable[None]], work: Callable[[Room], Awaitable[str]]
) -> None:
    """Have work done by everybody's roles, then look as one role alone; both get the meeting."""

    async def run(site: FakeSite) -> None:
        async with site.client() as client:
            meeting = await work(Room(site, client))
        caller = make_caller(roles=(role,))
        settings = msgspec.structs.replace(site.services.settings, caller=(caller,))
        other = FakeSite(replace(site.services, settings=settings), site.workers, site.socket)
        async with other.client() as client:
            await look(Room(other, client), meeting)

    run_with_site(run, assertions=assertions())


async def _confidential(room: Room) -> str:
    """Open two confidential meetings and an ordinary one; put the first on hold."""
    meetings = sorted(
        [await room.opened(device("host"), device("guest")), await room.opened(device("guest"))]
    )
    ordinary = new_meeting()
    await room.open(ordinary, ordinary_roster(ordinary, (device("host"),)))
    body = {"reason": "a court asks", "meeting": meetings[0]}
    path = f"/v1/spaces/{BANKING}/holds"
    await room.client.post(path, json=body, headers={"idempotency-key": "hold"})
    return f"{meetings[0]} {meetings[1]} {ordinary}"


def test_operators_see_times_and_head_count_alone() -> None:
    async def look(room: Room, meetings: str) -> None:
        first, second, ordinary = meetings.split()
        paths = [
            one.path
            for one in OPERATIONS.values()
            if Role.OPERATOR in one.roles
            and one.method == "GET"
            and one.path.count("{") == one.path.count("{space}")
        ]
        assert "/v1/rotation" in paths
        for path in paths:
            answer = await room.client.get(path.format(space=BANKING))
            for secret in (first, second, host_id(), device("host").id, "a court asks"):
                assert secret not in answer.text, path
        found = (await room.client.get("/v1/rotation")).json()["items"]
        by_people = {one["people"]: one for one in found}
        assert by_people[None]["meeting"] == ordinary
        for one in (by_people[1], by_people[2]):
            hidden = ("meeting", "epoch", "state", "reason", "next_epoch", "why")
            assert [one[name] for name in hidden] == [None] * len(hidden)
            assert one["activated"] <= one["due"] <= one["retires"]
        assert (await room.client.get(f"{HOME}/{first}")).status_code == 403
        assert (await room.client.get(f"{HOME}/{first}/score")).status_code == 403

    seen_by(Role.OPERATOR, look, _confidential)


PROBE = "01000000-0000-7000-8000-000000000000"


def test_an_operators_pages_go_on_without_naming_where_they_end() -> None:
    async def look(room: Room, meetings: str) -> None:
        found, after = [], ""
        while after is not None:
            page = await room.client.get("/v1/rotation", params={"limit": "1", "after": after})
            found += page.json()["items"]
            after = page.json()["next"]
            for secret in meetings.split()[:2]:
                assert secret not in page.text
        assert sorted(one["people"] or 0 for one in found) == [0, 1, 2]
        named = f"{BANKING}/{meetings.split(maxsplit=1)[0]}"
        for forged in ("~", "~AAAA", "~" + "A" * 80, "~ä", named, f"{BANKING}/{PROBE}"):
            answer = await room.client.get("/v1/rotation", params={"after": forged})
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")

    seen_by(Role.OPERATOR, look, _confidential)


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.OFFICER])
def test_auditors_and_officers_see_the_rest(role: Role) -> None:
    async def look(room: Room, meetings: str) -> None:
        found = (await room.client.get("/v1/rotation")).json()["items"]
        assert {one["meeting"] for one in found} == set(meetings.split())
        first = meetings.split(maxsplit=1)[0]
        assert (await room.client.get(f"{HOME}/{first}")).json()["host"] == host_id()
        holds = (await room.client.get(f"/v1/spaces/{BANKING}/holds")).json()["items"]
        assert [one["meeting"] for one in holds] == [first]

    seen_by(role, look, _confidential)

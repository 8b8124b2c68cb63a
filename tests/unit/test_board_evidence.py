"""The board's pages about evidence: the log and its proofs, escrow, people, disks, reports (over a
fake HSM). Who may see them at all stands in test_board_matrix.py.
"""

import asyncio
import base64
import json
import re
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from html import escape, unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from kms.audit.actions import ACTIONS
from kms.audit.leaf import LeafDraft, Outcome, Phase, decode_leaf
from kms.audit.merkle import leaf_hash, root_from_inclusion
from kms.audit.note import Checkpoint, sign_checkpoint, unverified_checkpoint
from kms.ceremonies.catalogue import CEREMONIES
from kms.domain.alerts import Condition
from kms.domain.coverage import Coverage, Gap, Lack
from kms.domain.disks import Device, Disk, DiskState, MountPolicy, RecoveryKey, SlotKey, Work
from kms.domain.models import Role
from kms.domain.rows import SealedRow
from kms.errors import Forbidden, Unavailable
from kms.ports import PutCheckpoint, PutDevice, PutRow, Unit
from kms.statements import jws
from kms.statements.canonical import make_row
from kms.statements.register import TYP, encode_register
from kms.usecases import journal, log_evidence
from kms.usecases.log_evidence import evidence_of_log
from kms.usecases.reports.folder import file_digest
from kms.usecases.services import Call
from kms.usecases.watch.board import raising
from kms.usecases.watch.state import Escrow
from kms.usecases.watch.survey import WATCHER
from kms.web.logged import GROUP_OF
from kms.wire.audit import ProofOut
from kms.wire.parsing import parse
from tests.fixtures.api import BANKING, MAC, TREASURY
from tests.fixtures.approvals import DISK, LEGAL, MEETING, SECURITY
from tests.fixtures.board import PEOPLE, Answer, BoardSite, Browser, run_with_board
from tests.fixtures.board_meetings import indexed
from tests.fixtures.ceremonies import MADE_UP, ROSTER, Cast, brief_of, signed_transcript
from tests.unit.test_board_keys import with_key_list

HOSTILE = "<script>alert(1)</script>\"'>"
OTHER = MEETING[:-1] + "0"


def words(answer: Answer) -> str:
    """Return a page's text: tags away, spaces as one."""
    assert answer.status == 200, answer.text
    main = answer.text.partition("<main")[2].partition("</main>")[0] or answer.text
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", main)).split())


class English:
    """A signed-in browser that asks in English."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser

    async def get(self, path: str) -> Answer:
        cookie = f"__Host-conclave={self._browser.cookie}; __Host-conclave-language=en"
        return await self._browser.get(path, {"cookie": cookie})

    async def post(self, path: str, **fields: str) -> Answer:
        return await self._browser.post(path, {"csrf": await self._browser.token(), **fields})


async def in_english(site: BoardSite, visitor: str) -> English:
    return English(await site.signed_in(visitor))


def leaf(action: str, actor: str, space: str, resource: str, **more: Any) -> LeafDraft:
    draft = LeafDraft(action, actor, "test", space, resource, Phase.EVENT, Outcome.SUCCEEDED)
    return replace(draft, **more)


# --- the log -------------------------------------------------------------------------------------


async def fetched(site: BoardSite) -> None:
    """Write who fetched keys of two meetings."""
    for actor, meeting in (("ms-a", MEETING), ("ms-b", MEETING), ("ms-c", OTHER)):
        resource = f"spaces/{TREASURY}/meetings/{meeting}/epochs/0"
        made = leaf("envelope.fetch", actor, TREASURY, resource, details={"recipient": "r"})
        await site.services.store.commit(Unit(leaves=(made,)))


def found_leaves(answer: Answer) -> list[int]:
    return [int(one) for one in re.findall(r'href="/audit/leaves/([0-9]+)"', answer.text)]


def test_who_fetched_the_keys_of_a_meeting_is_found() -> None:
    async def work(site: BoardSite) -> None:
        await fetched(site)
        browser, size = await in_english(site, "auditor"), site.services.store.tree_size()
        page = await browser.get(f"/audit?action=envelope.fetch&meeting={MEETING}")
        told = words(page)
        assert "ms-a" in told
        assert "ms-b" in told
        assert "ms-c" not in told
        assert ACTIONS["envelope.fetch"].en in told
        assert len(found_leaves(page)) == 2
        assert all(one < size for one in found_leaves(page))

    run_with_board(work)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("actor=ms-b", ["ms-b"]),
        (f"space={BANKING}&action=envelope.fetch", []),
        ("since=2030-01-01T00:00", []),
        ("until=2001-01-01", []),
        ("outcome=refused&action=envelope.fetch", []),
    ],
)
def test_filters_narrow_the_search(query: str, expected: list[str]) -> None:
    async def work(site: BoardSite) -> None:
        await fetched(site)
        page = await (await in_english(site, "auditor")).get(f"/audit?{query}")
        assert len(found_leaves(page)) == len(expected)
        if not expected:
            assert "The log says nothing of that." in words(page)

    run_with_board(work)


def test_alerts_say_whose_they_are_and_exports_whether_names_are_full() -> None:
    async def work(site: BoardSite) -> None:
        exported = {"report": "r", "language": "zh", "paper": "p", "statement": "s"}
        made = (
            raising(Condition("passkey-new", "", "chen-admin", 1)),
            leaf("report.export", "zhao", "", "reports/r", details={**exported, "request": ""}),
            leaf("report.export", "zhao", "", "reports/r", details={**exported, "request": "q"}),
        )
        await site.services.store.commit(Unit(leaves=made))
        browser = await in_english(site, "auditor")
        alerts = words(await browser.get("/audit?action=alert.raise"))
        assert "alerts/passkey-new · Chen-Admin (chen-admin)" in alerts
        exports = words(await browser.get("/audit?action=report.export"))
        assert exports.count(f"{ACTIONS['report.export'].en} (full names)") == 1

    run_with_board(work)


def test_every_action_can_be_chosen_once_in_a_group() -> None:
    async def work(site: BoardSite) -> None:
        page = (await (await in_english(site, "auditor")).get("/audit")).text
        select = page.partition('name="action"')[2].partition("</select>")[0]
        groups = re.findall(r'<optgroup label="(.*?)">(.*?)</optgroup>', select, re.DOTALL)
        found = [one for _, text in groups for one in re.findall('value="(.*?)"', text)]
        assert sorted(found) == sorted(ACTIONS)
        assert "envelope.fetch" in dict(groups)["Meetings and keys"]
        assert {one.partition(".")[0] for one in ACTIONS} == set(GROUP_OF)

    run_with_board(work)


def test_an_actor_is_found_by_the_name_that_is_shown() -> None:
    async def work(site: BoardSite) -> None:
        made = [leaf("grant.create", actor, "", "x") for actor in ("chen-admin", "sun-security")]
        await site.services.store.commit(Unit(leaves=tuple(made)))
        browser, found = await in_english(site, "auditor"), []
        for typed in ("chen-admin", "Chen-Admin", "chen-a"):
            found.append(await browser.get(f"/audit?action=grant.create&actor={typed}"))
            assert 'value="chen-admin"' in found[-1].text
        assert len({*map(tuple, map(found_leaves, found))}) == 1
        assert len(found_leaves(found[0])) == 1
        several = await browser.get("/audit?actor=-Security&outcome=succeeded")
        assert "Several people of the register are called so." in words(several)
        assert "/audit?actor=sun-security&amp;outcome=succeeded" in several.text
        assert not found_leaves(several)
        nobody = await browser.get("/audit?actor=Nobody")
        assert "Nothing was found of an actor Nobody; nobody" in words(nobody)

    run_with_board(work)


@pytest.mark.parametrize(
    "query",
    ["action=no.such", "outcome=maybe", "meeting=x", "since=yesterday", "space=../x", "before=-1",
     "actor=a&actor=b", "actor=" + "x" * 201],
)  # fmt: skip
def test_a_search_that_means_nothing_is_refused(query: str) -> None:
    async def work(site: BoardSite) -> None:
        answer = await (await in_english(site, "auditor")).get(f"/audit?{query}")
        assert answer.status == 400, answer.text
        assert not found_leaves(answer)

    run_with_board(work)


@pytest.mark.parametrize(
    ("field", "typed", "told"),
    [
        ("meeting", "<b>", "by its id or by the last 8 characters of it"),
        ("since", "yesterday", "a time is a date, or a date and a time"),
        ("until", "2026-13-01", "a time is a date, or a date and a time"),
        ("actor", "a" * 201, "at most 200 characters"),
    ],
)
def test_a_bad_field_is_shown_again_with_what_is_wrong_with_it(
    field: str, typed: str, told: str
) -> None:
    async def work(site: BoardSite) -> None:
        path = f"/audit?outcome=refused&{urlencode({field: typed})}"
        answer = await (await in_english(site, "auditor")).get(path)
        assert answer.status == 400
        assert told in unescape(answer.text)
        assert f'value="{escape(typed)}"' in answer.text
        assert f'aria-describedby="wrong-{field}"' in answer.text
        assert f'id="wrong-{field}"' in answer.text
        assert "selected>refused" in answer.text

    run_with_board(work)


def test_a_meeting_is_found_by_the_end_of_its_id() -> None:
    async def work(site: BoardSite) -> None:
        await fetched(site)
        browser = await in_english(site, "auditor")
        unread = await browser.get(f"/audit?meeting={MEETING[-8:]}")
        assert "the index of the log is being made anew" in words(unread)
        indexed(site)
        page = await browser.get(f"/audit?action=envelope.fetch&meeting=%E2%80%A6{MEETING[-8:]}")
        assert f"Meeting: {MEETING}" in words(page)
        assert len(found_leaves(page)) == 2
        assert "No meeting of the spaces" in words(await browser.get("/audit?meeting=0badc0de"))
        twin = "0193a5b0-7c3e-7000-8000-0000" + MEETING[-8:]
        path = f"spaces/{BANKING}/meetings/{twin}"
        made = leaf("meeting.open", "ms-b", BANKING, path)
        await site.services.store.commit(Unit(leaves=(made,)))
        indexed(site)
        both = await browser.get(f"/audit?action=envelope.fetch&meeting={MEETING[-8:]}")
        assert "Choose one" in words(both)
        assert not found_leaves(both)
        for one in (twin, MEETING):
            assert f"/audit?action=envelope.fetch&amp;meeting={one}" in both.text

    run_with_board(work)


def test_long_lists_are_paged_without_a_gap() -> None:
    async def work(site: BoardSite) -> None:
        made = [leaf("session.start", f"p{n}", "", "people/p") for n in range(120)]
        await site.services.store.commit(Unit(leaves=tuple(made)))
        browser, seen, path = await in_english(site, "auditor"), [], "/audit?action=session.start"
        while path:
            page = await browser.get(path)
            numbers = found_leaves(page)
            assert len(numbers) <= 50
            seen += numbers
            (path,) = re.findall(r'href="([^"]*)" rel="next"', page.text) or [""]
            path = unescape(path)
        own = 1  # the sign-in of this browser
        assert len(seen) == len(set(seen)) == 120 + own
        assert seen == sorted(seen, reverse=True)

    run_with_board(work, tampered=True)


def test_an_entry_shows_its_proof_and_gives_it_away() -> None:
    async def work(site: BoardSite) -> None:
        browser, store = await in_english(site, "auditor"), site.services.store
        await fetched(site)
        page = await browser.get("/audit/leaves/2")
        told = words(page)
        (body,) = store.leaves(2, 1)
        assert body.decode() in unescape(page.text)
        answer = await browser.get("/audit/leaves/2/proof.json")
        assert answer.header("content-disposition") == (
            'attachment; filename="conclave-leaf-2.json"'
        )
        proof = parse(answer.body, ProofOut)
        assert proof.body.encode() == body
        hashes = [base64.b64decode(one) for one in proof.hashes]
        root = root_from_inclusion(leaf_hash(body), 2, proof.size, hashes)
        assert root == base64.b64decode(proof.root) == store.root(proof.size)
        assert root.hex() in told
        assert all(one.hex() in told for one in hashes)
        assert json.loads(answer.body)["leaf"] == 2

    run_with_board(work)


@pytest.mark.parametrize(
    ("seq", "status"), [("999999", 404), ("x", 400), ("-1", 400), ("9" * 16, 400)]
)
def test_no_other_number_is_an_entry(seq: str, status: int) -> None:
    async def work(site: BoardSite) -> None:
        browser = await in_english(site, "auditor")
        assert (await browser.get(f"/audit/leaves/{seq}")).status == status
        assert (await browser.get(f"/audit/leaves/{seq}/proof.json")).status == status

    run_with_board(work)


def test_what_others_wrote_into_the_log_is_text_alone() -> None:
    async def work(site: BoardSite) -> None:
        made = leaf("session.start", HOSTILE, "", HOSTILE, details={HOSTILE: HOSTILE})
        (seq,) = await site.services.store.commit(Unit(leaves=(made,)))
        browser = await in_english(site, "auditor")
        for path in ("/audit", f"/audit/leaves/{seq}"):
            page = await browser.get(path)
            assert HOSTILE in words(page)
            assert "<script>alert" not in page.text

    run_with_board(work, tampered=True)


# --- taking evidence away ------------------------------------------------------------------------


async def checkpointed(site: BoardSite) -> int:
    """Sign the log as it stands, under a key list of a made-up site; return its size."""
    object.__setattr__(site.services, "key_list", with_key_list(site).services.key_list)
    store, key = site.services.store, ec.generate_private_key(ec.SECP256R1())
    size = store.tree_size()
    head = Checkpoint(site.services.settings.site.id, size, store.root(size))
    note = sign_checkpoint(head, key.public_key(), jws.private_signer(key))
    await store.commit(Unit((PutCheckpoint(size, note),)))
    return size


def drafts(site: BoardSite) -> list[Path]:
    return list(site.services.settings.paths.state.glob("evidence*"))


def test_the_newest_checkpoint_is_given_away_as_it_is_signed() -> None:
    async def work(site: BoardSite) -> None:
        browser = await in_english(site, "auditor")
        assert (await browser.get("/audit/checkpoint.txt")).status == 404
        size = await checkpointed(site)
        answer = await browser.get("/audit/checkpoint.txt")
        name = f'attachment; filename="conclave-checkpoint-{size}.txt"'
        assert answer.header("content-disposition") == name
        assert unverified_checkpoint(answer.text).size == size
        told = (await browser.get("/audit/check")).text
        assert f"--checkpoint conclave-checkpoint-{size}.txt" in told

    run_with_board(work)


def test_the_evidence_of_the_whole_log_is_given_away_and_leaves_no_file(tmp_path: Path) -> None:
    async def work(site: BoardSite) -> None:
        browser, size = await in_english(site, "auditor"), await checkpointed(site)
        answer = await browser.post("/audit/evidence.db")
        assert answer.header("content-disposition") == (
            'attachment; filename="conclave-evidence.db"'
        )
        assert answer.header("content-length") == str(len(answer.body))
        kept = tmp_path / "evidence.db"
        kept.write_bytes(answer.body)
        with closing(sqlite3.connect(kept)) as bundle:
            assert bundle.execute("SELECT count(*) FROM leaf").fetchone() == (size,)
            assert bundle.execute("SELECT size FROM checkpoint").fetchall() == [(size,)]
            assert bundle.execute("SELECT space FROM manifest").fetchall() == [(TREASURY,)]
        told = decode_leaf(site.services.store.leaves(site.services.store.tree_size() - 1, 1)[0])
        assert (told.action, told.actor) == ("audit.evidence", "zhao-auditor")
        assert told.details == {"size": size, "bundle": file_digest(kept)}
        assert not drafts(site)
        site.grow_old()
        again = await browser.post("/audit/evidence.db")
        assert again.header("location").startswith("/confirm?")

    run_with_board(work)


def test_one_takes_the_evidence_at_a_time_and_its_end_lets_the_next_one_in() -> None:
    async def work(site: BoardSite) -> None:
        browser, _ = await in_english(site, "auditor"), await checkpointed(site)
        asked = Call(replace(WATCHER, name="another", roles=frozenset({Role.AUDITOR})), "x", "")
        async with evidence_of_log(site.services, asked) as file:
            assert file.read(6) == b"SQLite"
            assert not drafts(site)
            assert (await browser.post("/audit/evidence.db")).status == 503
        assert file.closed
        assert (await browser.post("/audit/evidence.db")).status == 200

    run_with_board(work)


def test_an_auditor_takes_the_manifests_of_the_own_spaces_alone() -> None:
    async def work(site: BoardSite) -> None:
        await checkpointed(site)
        bound = replace(WATCHER, roles=frozenset({Role.AUDITOR}), spaces=frozenset({BANKING}))
        async with evidence_of_log(site.services, Call(bound, "x", "")) as file:
            assert TREASURY.encode() in file.read()
            file.seek(0)
            with closing(sqlite3.connect(":memory:")) as bundle:
                bundle.deserialize(file.read())
                assert bundle.execute("SELECT count(*) FROM manifest").fetchone() == (0,)
        officer = replace(WATCHER, roles=frozenset({Role.OFFICER}))
        with pytest.raises(Forbidden):
            async with evidence_of_log(site.services, Call(officer, "x", "")):
                pass

    run_with_board(work)


# --- escrow --------------------------------------------------------------------------------------


def count(site: BoardSite) -> None:
    """Let the watcher have counted: one space is covered, of the other a key is not."""
    found = Coverage()
    found.epochs.update({TREASURY: 3, BANKING: 2})
    found.covered.update({TREASURY: 2, BANKING: 2})
    found.gaps, found.shown = 1, [Gap(TREASURY, MEETING, 0, Lack.MISSING)]
    site.services.watched.facts.escrow = Escrow(1, 0, 0, site.services.seconds(), found, ())


def test_escrow_shows_what_was_counted_and_which_key_is_not_covered() -> None:
    async def work(site: BoardSite) -> None:
        browser = await in_english(site, "auditor")
        assert "Not counted yet" in words(await browser.get("/escrow"))
        count(site)
        told = words(await browser.get("/escrow"))
        assert "4 of 5" in told
        assert "no envelope for escrow is stored" in told
        assert f"title={MEETING}" in (await browser.get("/escrow")).text.replace('"', "")
        assert all(name in told for name in (*SECURITY, *LEGAL))

    run_with_board(work)


def test_where_no_key_was_counted_it_is_said_how_often_they_are() -> None:
    async def work(site: BoardSite) -> None:
        browser = await in_english(site, "operator")
        assert "after it starts, and then every 1 h." in words(await browser.get("/escrow"))
        site.services.watched.facts.escrow = Escrow(0, 0, 0, 1, Coverage(), ())
        assert "The service counts every 1 h." in words(await browser.get("/escrow"))

    run_with_board(work)


def test_an_officer_learns_of_the_escrow_of_the_own_spaces_alone() -> None:
    async def work(site: BoardSite) -> None:
        count(site)
        page = await (await in_english(site, "officer elsewhere")).get("/escrow")
        told = words(page)
        assert "2 of 2" in told
        assert TREASURY not in told
        assert MEETING not in page.text

    run_with_board(work)


# --- people --------------------------------------------------------------------------------------


def test_people_shows_the_register_and_who_holds_shares() -> None:
    async def work(site: BoardSite) -> None:
        told = words(await (await in_english(site, "operator")).get("/people"))
        assert "2 of 4" in told
        assert "2 of 3" in told
        assert all(name in told for name in (*SECURITY, *LEGAL, "liu-witness"))
        assert "No ceremony has left anything here." in told
        assert re.search(r"Register of people \(SHA-256\) [0-9a-f]{64} ", told)

    run_with_board(work)


@pytest.mark.parametrize("name", ["none", "..", "%2e%2e%2fregister-1.jws"])
def test_a_ceremony_is_looked_for_among_those_that_are_there(name: str) -> None:
    async def work(site: BoardSite) -> None:
        browser = await in_english(site, "operator")
        for end in ("", "/transcript.json", "/transcript.pdf"):
            assert (await browser.get(f"/people/ceremonies/{name}{end}")).status == 404

    run_with_board(work)


def transcribed(site: BoardSite) -> Path:
    """Hold a made-up ceremony whose people the site's own root vouches for; return its folder."""
    cast, state = Cast(), site.services.settings.paths.state
    cast.root = PEOPLE.root
    kid, signer = jws.spki_id(cast.root.public_key()), jws.private_signer(cast.root)
    cast.token = jws.sign(encode_register(cast.register), typ=TYP, kid=kid, signer=signer)
    return signed_transcript(cast, state, brief_of(cast)).parent


def test_a_ceremony_is_shown_once_its_transcript_is_verified(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(CEREMONIES, MADE_UP.name, MADE_UP)

    async def work(site: BoardSite) -> None:
        folder = transcribed(site)
        browser = await in_english(site, "operator")
        assert folder.name in words(await browser.get("/people"))
        path = f"/people/ceremonies/{folder.name}"
        told = words(await browser.get(path))
        assert "It holds." in told
        assert "CV-08" in told
        assert all(name in told for name in ROSTER)
        assert "What was done" in told
        given = await browser.get(f"{path}/transcript.json")
        assert given.body == (folder / "transcript.json").read_bytes()

    run_with_board(work)


def test_of_a_transcript_that_does_not_hold_nothing_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(CEREMONIES, MADE_UP.name, MADE_UP)

    async def work(site: BoardSite) -> None:
        folder = transcribed(site)
        signed = folder / "transcript.json"
        envelope = json.loads(signed.read_bytes())
        del envelope["signatures"][0]
        signed.write_text(json.dumps(envelope))
        page = await (await in_english(site, "operator")).get(f"/people/ceremonies/{folder.name}")
        told = words(page)
        assert "The transcript does not hold." in told
        assert "It holds." not in told
        assert "What was done" not in told

    run_with_board(work)


# --- disks ---------------------------------------------------------------------------------------


async def plug_in(site: BoardSite, serial: str = "S5X", **more: Any) -> None:
    device = Device(serial, "/dev/sdx", 1 << 30, HOSTILE, "ext4", DiskState.UNKNOWN, changed=1)
    await site.services.store.commit(Unit((PutDevice(replace(device, **more)),)))


def test_an_officer_stops_a_device_at_once_and_it_stands_in_the_log() -> None:
    async def work(site: BoardSite) -> None:
        await plug_in(site)
        browser = await in_english(site, "officer")
        page = await browser.get("/disks")
        assert "1 GiB" in words(page)
        assert "<script>alert" not in page.text
        answer = await browser.post("/disks/stop", serial="S5X", order="quarantine")
        assert answer.status == 303, answer.text
        assert re.fullmatch(r"/disks/orders/[0-9a-f-]{36}", answer.header("location"))
        told = words(await browser.get(answer.header("location")))
        assert "S5X" in told
        assert "wang-security" in told
        (order,) = site.services.store.open_orders()
        assert (order.kind.value, order.serial) == ("quarantine", "S5X")
        last = site.services.store.leaves(site.services.store.tree_size() - 1, 1)[0]
        assert json.loads(last)["action"] == "disk.order"

    run_with_board(work)


async def enrol(site: BoardSite, erased: int = 0) -> Disk:
    """Let a disk of the first space be enrolled and plugged in, and erased at a time if not 0."""
    disk = Disk(
        TREASURY, DISK, "S5X", 1 << 30, "ledger", MountPolicy("ledger"), Work.NONE, 1, "A" * 43, 1,
        SlotKey(2, "sealed", 1), None, RecoveryKey(3, "escrowed", 1),
    )  # fmt: skip
    disk = disk.erase(erased) if erased else disk
    row = make_row(disk, 1)
    made = leaf("disk.enroll", "chen-admin", TREASURY, f"spaces/{TREASURY}/disks/{DISK}")
    told = replace(made, rows={row.key: 1})
    await site.services.store.commit(Unit((PutRow(SealedRow(row, MAC)),), (told,)))
    await plug_in(site, disk=DISK, state=DiskState.MOUNTED, mounted="/mnt/ledger")
    return disk


def test_a_disk_shows_its_keys_and_what_is_due_and_no_key() -> None:
    async def work(site: BoardSite) -> None:
        await enrol(site)
        browser = await in_english(site, "officer")
        assert "ledger" in words(await browser.get("/disks"))
        page = await browser.get(f"/disks/{DISK}")
        told = words(page)
        assert "encrypted by version 2 of its key in the HSM" in told
        assert "escrow generation 3" in told
        assert "/mnt/ledger" in told
        assert f"SHA-256 of the registered header {'0' * 64}" in told
        assert "overdue" in told
        assert "Lock this disk" in told
        assert "escrowed" not in page.text
        assert "sealed" not in page.text

    run_with_board(work)


def test_the_keys_of_an_erased_disk_do_not_age() -> None:
    async def work(site: BoardSite) -> None:
        await enrol(site, erased=2)
        told = words(await (await in_english(site, "officer")).get(f"/disks/{DISK}"))
        assert "Everyday key — — destroyed" in told
        assert "Recovery key — — opens nothing since the disk was erased" in told
        assert "opened by order" not in told
        assert "never tested" not in told

    run_with_board(work)


def test_a_disk_of_another_space_is_not_there() -> None:
    async def work(site: BoardSite) -> None:
        await enrol(site)
        browser = await in_english(site, "officer elsewhere")
        assert "ledger" not in (await browser.get("/disks")).text
        assert (await browser.get(f"/disks/{DISK}")).status == 404
        answer = await browser.post("/disks/stop", serial="S5X", order="lock")
        assert answer.status == 404
        assert not site.services.store.open_orders()

    run_with_board(work)


@pytest.mark.parametrize("order", ["release", "erase", "unlock", ""])
def test_the_board_orders_nothing_but_a_stop(order: str) -> None:
    async def work(site: BoardSite) -> None:
        await plug_in(site)
        answer = await (await in_english(site, "officer")).post(
            "/disks/stop", serial="S5X", order=order
        )
        assert answer.status == 400
        assert not site.services.store.open_orders()

    run_with_board(work)


def test_an_operator_sees_devices_and_has_no_button() -> None:
    async def work(site: BoardSite) -> None:
        await plug_in(site)
        page = await (await in_english(site, "operator")).get("/disks")
        assert "S5X" in words(page)
        assert "/disks/stop" not in page.text

    run_with_board(work)


# --- reports -------------------------------------------------------------------------------------


def test_without_a_report_it_is_said_how_one_is_made() -> None:
    async def work(site: BoardSite) -> None:
        auditor = await in_english(site, "auditor")
        officer = await in_english(site, "officer")
        told = words(await auditor.get("/reports"))
        assert "No report was made yet." in told
        assert "Make the report" in told
        assert "Make the report" not in words(await officer.get("/reports"))

    run_with_board(work)


def test_a_young_log_proposes_this_month_and_offers_no_period_before_it() -> None:
    async def work(site: BoardSite) -> None:
        site.services.clock.seconds += 3600
        page = (await (await in_english(site, "auditor")).get("/reports")).text
        offered = re.findall(r'<option value="((?:last|this)-\w+)"( disabled)?>', page)
        assert [name for name, mark in offered if not mark] == [
            "this-month", "this-quarter", "this-year",
        ]  # fmt: skip
        assert page.count("The log begins on 2027-01-15") == 1

    run_with_board(work)


@pytest.mark.parametrize(
    "fields",
    [
        {"period": "last-week"},
        {"first": "2026-01-01"},
        {"first": "2026-02-30", "last": "2026-03-01"},
        {},
    ],
)
def test_a_period_that_is_none_is_refused(fields: dict[str, str]) -> None:
    async def work(site: BoardSite) -> None:
        answer = await (await in_english(site, "auditor")).post("/reports", **fields)
        assert answer.status == 400
        assert site.services.report_making.task is None

    run_with_board(work)


def test_a_report_that_cannot_be_made_says_why() -> None:
    async def work(site: BoardSite) -> None:
        browser = await in_english(site, "auditor")
        assert (await browser.post("/reports", period="last-year")).status == 303
        task = site.services.report_making.task
        assert task is not None
        await task
        other = await in_english(site, "auditor")
        assert "was not made" not in words(await other.get("/reports"))
        told = words(await browser.get("/reports"))
        assert "The report of 2026-01-01 to 2026-12-31 (UTC+08:00) was not made." in told
        assert "the log begins after that period" in told
        assert "was not made" not in words(await browser.get("/reports"))  # it is said once

    run_with_board(work)


def test_whoever_gives_up_on_the_evidence_waits_for_what_was_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    going_on, may_end = threading.Event(), threading.Event()
    gathered = log_evidence._gathered

    def slowly(*args: Any) -> Any:
        going_on.set()
        assert may_end.wait(10)
        return gathered(*args)

    async def work(site: BoardSite) -> None:
        await checkpointed(site)
        monkeypatch.setattr(log_evidence, "_gathered", slowly)
        call = Call(replace(WATCHER, roles=frozenset({Role.AUDITOR})), "x", "")
        taking = asyncio.create_task(evidence_of_log(site.services, call).__aenter__())
        assert await asyncio.to_thread(going_on.wait, 10)
        taking.cancel()
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            async with evidence_of_log(site.services, call):
                pass
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await taking
        assert not drafts(site)
        async with evidence_of_log(site.services, call) as file:
            assert file.read(6) == b"SQLite"

    run_with_board(work)


def test_what_the_index_has_not_seen_yet_is_not_said_to_be_absent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work(site: BoardSite) -> None:
        indexed(site)
        browser = await in_english(site, "auditor")  # signing in writes to the log
        monkeypatch.setattr(journal, "TAIL", 0)
        text = (await browser.get("/audit?action=meeting.destroy")).text
        assert "the newest are missing" in text
        assert "among the entries looked at so far" in text
        assert "The log says nothing of that" not in text

    run_with_board(work)

"""The status of escrow (over a fake HSM): coverage, generations, drills, what is owed."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kms.audit.leaf import LeafDraft, Outcome, Phase
from kms.domain.ids import MeetingId, RecipientId
from kms.domain.models import (
    Envelope,
    Epoch,
    Meeting,
    RecipientKind,
    ReleaseClass,
    Role,
    RotationReason,
)
from kms.domain.people import Credential, CredentialKind, Group, Part, Person, Register
from kms.domain.rows import Record, SealedRow
from kms.domain.states import KeyState, MeetingState
from kms.ports import PutEnvelopes, PutRow, Unit
from kms.statements import archive, jws
from kms.statements.addendum import Addendum, keeper, sign_addendum
from kms.statements.canonical import b64u, digest, make_row
from kms.statements.manifest import TYP, Manifest, ManifestRecipient, media_of, subject
from kms.statements.register import TYP as REGISTER
from kms.statements.register import encode_register
from kms.wire.parsing import parse
from kms.wire.replies import EscrowOut
from tests.fixtures.api import BANKING, MAC, TREASURY, Clock, FakeSite, make_caller, run_with_site

ROOT = ec.generate_private_key(ec.SECP256R1())
NOW = int(Clock().now())
MEETING = MeetingId("01930000-0000-7000-8000-000000000001")
OLD, NEW = RecipientId("e" * 43), RecipientId("f" * 43)
BLOB = b"sealed for the first generation"


def _sign(payload: bytes, typ: str) -> str:
    kid = jws.spki_id(ROOT.public_key())
    return jws.sign(payload, typ=typ, kid=kid, signer=jws.private_signer(ROOT))


def epoch(number: int, state: KeyState = KeyState.DEACTIVATED) -> Epoch:
    payload = Manifest(
        iss="fake.example", sub=subject(TREASURY, MEETING, number), iat=1, nbf=1, exp=2,
        release_class=ReleaseClass.TRUSTED, roster_version=1, wrap_alg="RSA-OAEP",
        commitment="c" * 22, media=media_of(number),
        recipients=(ManifestRecipient(OLD, RecipientKind.ESCROW, 1, -1, digest(BLOB)),),
    ).encode()  # fmt: skip
    signed = _sign(payload, TYP)
    return Epoch(TREASURY, MEETING, number, state, RotationReason.OPEN, 1, 2, 1, signed)


def with_addendum(one: Epoch, blob: bytes) -> Epoch:
    told = Addendum(
        "fake.example", subject(TREASURY, MEETING, one.epoch), digest(one.manifest.encode()), 1,
        keeper(NEW, RecipientKind.ESCROW, 2, blob),
    )  # fmt: skip
    kid = jws.spki_id(ROOT.public_key())
    return replace(one, addenda=(sign_addendum(told, kid, jws.private_signer(ROOT)),))


def envelope(number: int, recipient: RecipientId = OLD, blob: bytes = BLOB) -> Envelope:
    return Envelope(TREASURY, MEETING, number, recipient, blob)


def leaf(action: str, rows: dict[str, int] | None = None, **details: Any) -> LeafDraft:
    return LeafDraft(
        action, "ceremony", "c-1", "", "escrow", Phase.EVENT, Outcome.SUCCEEDED,
        rows=rows or {}, details=details,
    )  # fmt: skip


async def keep(site: FakeSite, epochs: list[Epoch], envelopes: list[Envelope]) -> None:
    """Store one meeting with these epochs and envelopes."""
    last = len(epochs) - 1
    meeting = Meeting(TREASURY, MEETING, MeetingState.CLOSED, last, None, last, 1, 1)
    records: list[Record] = [meeting, *epochs]
    rows = [make_row(record, 1) for record in records]
    changes = [*(PutRow(SealedRow(row, MAC)) for row in rows), PutEnvelopes(tuple(envelopes))]
    stored = leaf("meeting.close", {row.key: 1 for row in rows})
    await site.store.commit(Unit(tuple(changes), (stored,)))


async def tell(site: FakeSite, *leaves: LeafDraft) -> None:
    await site.store.commit(Unit(leaves=leaves))


async def found_people(site: FakeSite, due: int = NOW + 1000, version: int = 1) -> None:
    """Write the site root and a register whose officers' drills are due; the log names it."""
    folder = site.services.settings.paths.state
    pem = ROOT.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (folder / "site-root-1.pem").write_bytes(pem)
    people = [
        _person(f"wang-{n}", Part.OFFICER, due + n, group="security", share=n) for n in (1, 2)
    ]
    others = (Part.ADMINISTRATOR, Part.WITNESS, Part.AUDITOR)
    people += [_person(part.value, part, 0) for part in others]
    groups = (Group("security", 2),)
    register = Register("fake.example", version, 1, "", "c-0", groups, tuple(people))
    token = _sign(encode_register(register), REGISTER)
    (folder / f"register-{version}.jws").write_text(token)
    sha256 = digest(token.encode())
    await tell(site, leaf("register.change", version=version, sha256=sha256))


def _person(name: str, part: Part, due: int, group: str = "", share: int = 0) -> Person:
    key = Credential(b64u(name.encode()), CredentialKind.SOFTWARE, "")
    return Person(name, name, part, group, share, (key,), 1, NOW * 2, due)


def blob_kept(site: FakeSite, *generations: int) -> None:
    for number in generations:
        for name in archive.ESCROW_BLOBS:
            (site.services.settings.paths.state / name.format(number)).write_bytes(b"wrapped")


Work = Callable[[FakeSite], Awaitable[None]]


def status(prepare: Work) -> EscrowOut:
    """Return the status that an auditor is told of a site so prepared."""
    found: list[EscrowOut] = []

    async def work(site: FakeSite) -> None:
        await found_people(site)
        await tell(site, leaf("escrow.generate", generation=1, spki=OLD))
        blob_kept(site, 1)
        await prepare(site)
        async with site.client() as client:
            answer = await client.get("/v1/escrow")
            assert answer.status_code == 200, answer.text
            found.append(parse(answer.content, EscrowOut))

    run_with_site(work, caller=make_caller(roles=(Role.AUDITOR,)))
    return found[0]


def test_keys_with_the_envelope_that_their_manifest_names_are_covered() -> None:
    async def prepare(site: FakeSite) -> None:
        await keep(site, [epoch(0), epoch(1)], [envelope(0), envelope(1)])

    found = status(prepare)
    assert not found.attention
    assert (found.epochs, found.covered, found.gap_count) == (2, 2, 0)
    assert [(one.generation, one.epochs) for one in found.generations] == [(1, 2)]
    assert [(one.space, one.epochs, one.covered) for one in found.spaces] == [("treasury", 2, 2)]


def test_a_destroyed_key_needs_no_cover() -> None:
    async def prepare(site: FakeSite) -> None:
        await keep(site, [epoch(0, KeyState.DESTROYED), epoch(1)], [envelope(1)])

    assert (status(prepare).epochs, status(prepare).attention) == (1, False)


@pytest.mark.parametrize("why", ["not configured", "sealed"])
def test_a_space_whose_token_cannot_be_asked_is_unknown_and_hides_no_other(why: str) -> None:
    async def prepare(site: FakeSite) -> None:
        await keep(site, [epoch(0)], [envelope(0)])
        if why == "sealed":
            site.services.seals.add(BANKING)
        else:
            del site.workers.spaces[BANKING]

    found = status(prepare)
    assert found.attention
    assert (found.unknown, found.gap_count) == ((BANKING,), 0)
    assert [(one.space, one.covered) for one in found.spaces] == [(TREASURY, 1)]


def test_a_missing_and_an_altered_envelope_are_gaps() -> None:
    async def prepare(site: FakeSite) -> None:
        await keep(site, [epoch(0), epoch(1), epoch(2)], [envelope(1, blob=b"x"), envelope(2)])

    found = status(prepare)
    assert found.attention
    assert [(gap.epoch, gap.reason) for gap in found.gaps] == [
        (0, "no envelope"),
        (1, "altered envelope"),
    ]
    assert found.covered == 1


def test_only_the_first_twenty_gaps_are_listed() -> None:
    async def prepare(site: FakeSite) -> None:
        await keep(site, [epoch(number) for number in range(130)], [])

    found = status(prepare)
    assert (found.gap_count, len(found.gaps)) == (130, 20)


def test_an_addendums_envelope_covers_by_the_newer_generation() -> None:
    async def prepare(site: FakeSite) -> None:
        await tell(site, leaf("escrow.generate", generation=2, spki=NEW))
        blob_kept(site, 2)
        moved = with_addendum(epoch(0), b"second")
        await keep(site, [moved, epoch(1)], [envelope(0, NEW, b"second"), envelope(1)])

    found = status(prepare)
    assert [(one.generation, one.epochs) for one in found.generations] == [(1, 1), (2, 1)]
    assert not found.attention


def test_a_destroyed_generation_covers_nothing() -> None:
    async def prepare(site: FakeSite) -> None:
        await tell(site, leaf("escrow.destroy", generation=1))
        await keep(site, [epoch(0)], [envelope(0)])

    found = status(prepare)
    assert [gap.reason for gap in found.gaps] == ["generation gone"]
    assert found.generations[0].destroyed is not None


def test_a_generation_whose_private_half_is_lost_covers_nothing() -> None:
    async def prepare(site: FakeSite) -> None:
        (site.services.settings.paths.state / "escrow-1.kwp").unlink()
        await keep(site, [epoch(0)], [envelope(0)])

    found = status(prepare)
    assert found.attention
    assert not found.generations[0].blob
    assert [gap.reason for gap in found.gaps] == ["generation gone"]


def test_a_lost_private_half_for_disks_asks_for_attention_and_leaves_meetings_covered() -> None:
    async def prepare(site: FakeSite) -> None:
        (site.services.settings.paths.state / "disk-escrow-1.kwp").unlink()
        await keep(site, [epoch(0)], [envelope(0)])

    found = status(prepare)
    assert found.attention
    assert not found.generations[0].blob
    assert (found.covered, found.gaps) == (1, ())


def test_a_drill_that_is_overdue_is_told_with_its_officer() -> None:
    async def prepare(site: FakeSite) -> None:
        await found_people(site, due=NOW - 1, version=2)
        await tell(site, leaf("escrow.drill", generation=1))

    found = status(prepare)
    assert found.attention
    assert [(one.person, one.overdue) for one in found.holders] == [
        ("wang-1", True),
        ("wang-2", False),
    ]
    assert found.last_drill is not None


RECOVERY: dict[str, Any] = {"ceremony": "c-9", "generations": [1], "epochs": [0], "recipient": OLD}


def test_a_recovery_outside_the_offline_image_is_owed_until_its_generation_is_gone() -> None:
    async def recovered(site: FakeSite) -> None:
        await tell(site, leaf("escrow.recover", **RECOVERY, offline_image=False))

    async def replaced(site: FakeSite) -> None:
        await recovered(site)
        await tell(
            site, leaf("escrow.generate", generation=2), leaf("escrow.destroy", generation=1)
        )
        blob_kept(site, 2)

    owing = status(recovered)
    assert owing.attention
    assert [(one.ceremony, one.generation) for one in owing.obligations] == [("c-9", 1)]
    assert not status(replaced).obligations


def test_a_recovery_in_the_offline_image_owes_nothing() -> None:
    async def prepare(site: FakeSite) -> None:
        await tell(site, leaf("escrow.recover", **RECOVERY, offline_image=True))

    assert not status(prepare).attention


def test_a_recovered_disk_is_owed_a_new_generation_too() -> None:
    told = {"ceremony": "c-9", "disk": "d", "appliance": "a", "generations": [1]}

    async def prepare(site: FakeSite) -> None:
        await tell(site, leaf("escrow.recover-disk", **told, offline_image=False))

    assert [(one.ceremony, one.generation) for one in status(prepare).obligations] == [("c-9", 1)]


def test_without_a_register_of_people_the_status_is_refused() -> None:
    async def work(site: FakeSite) -> None:
        async with site.client() as client:
            answer = await client.get("/v1/escrow")
            assert answer.json()["code"] == "configuration_error"

    run_with_site(work)


def test_an_altered_row_is_not_counted() -> None:
    async def work(site: FakeSite) -> None:
        await found_people(site)
        await keep(site, [epoch(0)], [envelope(0)])
        site.store._facts.versions.learn({f"epoch/{TREASURY}/{MEETING}/0": 2})
        async with site.client() as client:
            answer = await client.get("/v1/escrow")
            assert answer.json()["code"] == "integrity_failure"
        await asyncio.sleep(0)

    run_with_site(work)

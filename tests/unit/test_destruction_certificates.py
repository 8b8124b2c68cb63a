"""When a destruction is certified, and when it is not, over a FAKE HSM that signs nothing."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest

from kms.audit.leaf import Outcome, Phase
from kms.cli import certificate_view
from kms.documents.pdf import render_pdf
from kms.domain.models import EVERY_SPACE, Envelope, Principal, PrincipalKind, RecipientKind, Role
from kms.errors import Forbidden, IntegrityFailure, NotFound, StoreUnavailable
from kms.i18n import Language, language, speak
from kms.ports import CertifyOrder, PutCertificate, PutEnvelopes, Unit
from kms.statements import jws
from kms.statements.canonical import digest, make_row
from kms.statements.destruction import (
    METHOD,
    DestroyedKey,
    DestructionCertificate,
    WrappedUnder,
    sign_certificate,
)
from kms.statements.request import CheckedRequest
from kms.store.sqlite import SqliteStore
from kms.usecases.lifecycle import certificates
from kms.usecases.lifecycle.certificates import certify, read_certificate
from kms.usecases.services import Services, store_rows
from tests.fixtures.api import ALPHA, BANKING, TREASURY, run_with_site
from tests.fixtures.approvals import root_key
from tests.fixtures.lifecycle import OFFICER, Room, by, in_a_room


@dataclass
class FakeRegisters:
    """Any register was in force."""

    def once_in_force(self, _store: object, _state: object, _sha256: str) -> SimpleNamespace:
        return SimpleNamespace(token="register")


@dataclass
class Signer:
    """A fake token's part: takes down the orders."""

    orders: list[CertifyOrder] = field(default_factory=list)

    async def certify(self, order: CertifyOrder) -> str:
        self.orders.append(order)
        return f"a.part-{order.part}.b"


def signing(room: Room) -> tuple[Services, Signer]:
    signer = Signer()
    room.site.workers.spaces[TREASURY].certify = signer.certify
    return replace(room.site.services, registers=FakeRegisters()), signer


async def ended(room: Room, rotations: int = 0) -> CheckedRequest:
    for _ in range(rotations):
        await room.rotate()
    await room.close()
    return await room.destroy()


def test_a_destruction_is_certified_once_in_the_name_of_whoever_carried_it_out() -> None:
    async def work(room: Room) -> None:
        services, signer = signing(room)
        done = await ended(room, 2)
        await certify(services, by("approval.execute"), done)
        await certify(services, by("approval.execute"), done)
        (order,) = signer.orders
        assert order.executor == OFFICER.name
        assert [one.row.key[-2:] for one in order.epochs] == ["/0", "/1", "/2"]
        period = services.settings.rotation.vault_seconds
        assert (order.now, order.closed_by) == (services.seconds(), services.seconds() + period)
        request = done.wanted.id
        (leaf,) = room.leaves("destruction.certify")
        assert leaf.resource == f"spaces/{TREASURY}/requests/{request}"
        text = await read_certificate(services, by("certificate.read"), request)
        assert leaf.details == {"request": request, "certificate": digest(text.encode())}

    run_with_site(in_a_room(work))


def test_what_one_order_cannot_hold_is_certified_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "_PART_KEYS", 2)

    async def work(room: Room) -> None:
        services, signer = signing(room)
        done = await ended(room, 4)
        await certify(services, by("approval.execute"), done)
        assert [(one.part, one.parts, len(one.epochs)) for one in signer.orders] == [
            (1, 3, 2),
            (2, 3, 2),
            (3, 3, 1),
        ]
        text = await read_certificate(services, by("certificate.read"), done.wanted.id)
        assert text == "a.part-1.b\na.part-2.b\na.part-3.b"

    run_with_site(in_a_room(work))


def test_nothing_is_certified_while_deleted_envelopes_may_linger(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work(room: Room) -> None:
        services, signer = signing(room)
        done = await ended(room)
        monkeypatch.setattr(SqliteStore, "erased", _lingers)
        with pytest.raises(StoreUnavailable):
            await certify(services, by("approval.execute"), done)
        assert not signer.orders
        with pytest.raises(NotFound):
            await read_certificate(services, by("certificate.read"), done.wanted.id)
        monkeypatch.undo()
        await certify(services, by("approval.execute"), done)
        assert len(signer.orders) == 1

    run_with_site(in_a_room(work))


async def _lingers(_store: SqliteStore) -> None:
    raise StoreUnavailable("the log cannot be emptied")


def test_an_envelope_that_came_back_is_no_destruction() -> None:
    async def work(room: Room) -> None:
        services, signer = signing(room)
        done = await ended(room)
        back = Envelope(TREASURY, room.meeting, 0, ALPHA, b"restored")
        await room.site.store.commit(Unit((PutEnvelopes((back,)),)))
        with pytest.raises(IntegrityFailure, match="still there"):
            await certify(services, by("approval.execute"), done)
        assert not signer.orders

    run_with_site(in_a_room(work))


def test_a_certificate_is_read_by_people_of_its_space() -> None:
    async def work(room: Room) -> None:
        services, _ = signing(room)
        done = await ended(room)
        await certify(services, by("approval.execute"), done)
        request = done.wanted.id

        async def read(role: Role, space: str) -> str:
            reader = Principal("x", PrincipalKind.SOCKET, "", frozenset({role}), frozenset({space}))
            return await read_certificate(services, by("certificate.read", reader), request)

        for role in (Role.AUDITOR, Role.OFFICER):
            assert await read(role, EVERY_SPACE)
        with pytest.raises(NotFound):
            await read(Role.AUDITOR, BANKING)
        with pytest.raises(Forbidden):
            await read(Role.MEETING_SERVER, TREASURY)

    run_with_site(in_a_room(work))


@pytest.mark.parametrize("host", ["", "h" * 43], ids=["ordinary", "confidential"])
def test_operators_read_no_certificate_of_a_confidential_meeting(host: str) -> None:
    async def work(room: Room) -> None:
        done = await ended(room)
        record, version = await room.site.services.cache.meeting(TREASURY, room.meeting)
        row = make_row(replace(record, host=host), version + 1)
        (sealed,) = await room.site.workers.spaces[TREASURY].seal_rows([row])
        leaf = by("meeting.close").leaf(
            "", "test", Phase.EVENT, Outcome.SUCCEEDED, rows={row.key: row.version}
        )
        await store_rows(room.site.services, [sealed], (), leaf)
        key, told = root_key(), replace(certificate(0), meeting=room.meeting)
        text = sign_certificate(told, jws.spki_id(key.public_key()), jws.private_signer(key))
        await room.site.store.commit(Unit((PutCertificate(done.wanted.id, text),)))
        operator = Principal(
            "x", PrincipalKind.SOCKET, "", frozenset({Role.OPERATOR}), frozenset({EVERY_SPACE})
        )
        call = by("certificate.read", operator)
        if host:
            with pytest.raises(NotFound):
                await read_certificate(room.site.services, call, done.wanted.id)
        else:
            assert await read_certificate(room.site.services, call, done.wanted.id) == text

    run_with_site(in_a_room(work))


def certificate(closed_by: int) -> DestructionCertificate:
    keys = tuple(DestroyedKey(number, "m" * 43, "c" * 22, 1, 2) for number in (0, 1, 2, 4))
    vault = WrappedUnder(RecipientKind.VAULT, 2, "v" * 43)
    return DestructionCertificate(
        "hq.bank.example", "treasury", "a-meeting", "meeting.destroy", "a-request", "A" * 43, 1, 1,
        keys, (vault,), METHOD, 10, 11, "console", "chen-admin", ("li", "wang"), closed_by,
    )  # fmt: skip


@pytest.mark.parametrize("spoken", Language)
def test_a_certificate_prints_in_both_languages(spoken: Language) -> None:
    before = language()
    speak(spoken)
    try:
        assert render_pdf(certificate_view.paper(certificate(0)), 11).startswith(b"%PDF")
    finally:
        speak(before)


def test_the_request_s_digest_is_spelled_as_it_was_when_it_was_signed() -> None:
    spelled = "00" * 32
    assert certificate_view.row(certificate(0))["digest_hex"] == spelled
    facts = certificate_view.paper(certificate(0)).blocks[0].rows
    assert ("请求的 SHA-256", f"`{spelled}`") in facts


def test_a_certificate_says_by_when_older_backups_are_closed_or_that_no_date_is_set() -> None:
    said = " ".join(certificate_view.backups(certificate(86_400)))
    assert "1970-01-02T00:00:00Z" in said
    assert "1970" not in " ".join(certificate_view.backups(certificate(0)))
    assert certificate_view.row(certificate(0))["epochs"] == "0-2, 4"

"""Destruction certificates by the real worker on a real token, from approved requests."""

import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from pkcs11 import ObjectClass

from kms.domain.approvals import EpochTarget, MeetingTarget, Parameters, Request, RequestState
from kms.domain.ids import MeetingId, SpaceName
from kms.domain.models import Epoch, Meeting, RecipientKind
from kms.domain.people import Register
from kms.domain.states import KeyState, MeetingState
from kms.errors import (
    ConclaveError,
    Forbidden,
    IntegrityFailure,
    InvalidInput,
    VerificationFailed,
)
from kms.hsm.labels import parse_label
from kms.hsm.publickeys import read_p256
from kms.ports import Approved, CertifyOrder, MintOrder, SpaceHsm
from kms.statements import jws
from kms.statements.canonical import b64u, digest, make_row, read_row
from kms.statements.destruction import METHOD, check_certifies, verify_certificate
from kms.statements.keylist import KeyList, KeyUse, ListedKey
from kms.statements.register import TYP, encode_register
from kms.statements.request import peek_request
from tests.fixtures import approved
from tests.fixtures.envelopes import user
from tests.fixtures.hsm import (
    MEETING,
    SITE,
    TREASURY,
    HsmSite,
    hsm_site,
    in_this_process,
    software_keys,
    trusted_order,
)
from tests.fixtures.people import SECURITY
from tests.integration.test_worker_rows import ask

_R = TypeVar("_R")
SPACE, ID = SpaceName(TREASURY), MeetingId(MEETING)


@dataclass
class Treasury:
    """The trusted space's worker, and the key list that ceremonies would have made of its keys."""

    site: HsmSite
    keys: KeyList

    def ask(self, act: Callable[[SpaceHsm], Awaitable[_R]]) -> _R:
        return ask(self.site, lambda workers: act(workers.space(SPACE)))

    def refuses(self, error: type[ConclaveError], order: CertifyOrder) -> None:
        with pytest.raises(error):
            self.ask(lambda hsm: hsm.certify(order))


@pytest.fixture(scope="module")
def treasury() -> Iterator[Treasury]:
    for site in hsm_site():
        with in_this_process(site), user("space-t") as token:
            found = token.find(ObjectClass.PUBLIC_KEY, parse_label("manifest/1"))
            spki = read_p256(token, found.handle)
        site.start("space-t")
        listed = ListedKey(b64u(found.key_id), KeyUse.MANIFEST, TREASURY, b64u(spki), 0)
        yield Treasury(site, KeyList(SITE, 1, 0, (listed,)))


def register() -> Register:
    """Return people whom this site's root has signed for."""
    return replace(approved.register_at(int(time.time()) // 1000 * 1000), site=SITE)


def register_token(key: ec.EllipticCurvePrivateKey) -> str:
    kid, signer = jws.spki_id(key.public_key()), jws.private_signer(key)
    return jws.sign(encode_register(register()), typ=TYP, kid=kid, signer=signer)


TOKEN = register_token(software_keys().site_root)


async def destroyed(
    hsm: SpaceHsm, epochs: int = 1, operation: str = "meeting.destroy"
) -> CertifyOrder:
    """Mint a meeting's epochs, destroy them by an approved request, and order the certificate."""
    now = int(time.time())
    minted = [await hsm.mint(_order(number, now)) for number in range(epochs)]
    living = [read_row(one.rows[0].row) for one in minted]
    gone = [replace(one, state=KeyState.DESTROYED) for one in living if isinstance(one, Epoch)]
    meeting = read_row(minted[-1].rows[1].row)
    assert isinstance(meeting, Meeting)
    rows = [make_row(one, 2) for one in gone]
    target: Parameters = EpochTarget(ID, 0)
    if operation == "meeting.destroy":
        target = MeetingTarget(ID)
        rows.insert(0, make_row(replace(meeting, state=MeetingState.DESTROYED), 9))
    parameters = {name: getattr(target, name) for name in target.__slots__}
    wanted = approved.wanted(
        register(), operation, TREASURY, parameters, now - 60,
        site=SITE, register=digest(TOKEN.encode()),
    )  # fmt: skip
    request = replace(approved.approved(wanted), state=RequestState.EXECUTED, ended=now)
    order = Approved(make_row(request, 5), tuple(rows), TOKEN)
    sealed = await hsm.seal_approved(order)
    wiped = tuple(one for one in sealed[1:] if one.row.key.startswith("epoch/"))
    return CertifyOrder(sealed[0], TOKEN, wiped, "officer", now + 1, 0)


def _order(number: int, now: int) -> MintOrder:
    return trusted_order(epoch=number, activates=now, retires=now + 3600)


def test_a_certificate_says_what_was_destroyed_by_whose_word(treasury: Treasury) -> None:
    order = treasury.ask(lambda hsm: destroyed(hsm, 2))
    found = verify_certificate(treasury.ask(lambda hsm: hsm.certify(order)), treasury.keys)
    epochs = [read_row(one.row) for one in order.epochs]
    assert [key.epoch for key in found.keys] == [0, 1]
    assert [key.manifest for key in found.keys] == [
        digest(one.manifest.encode()) for one in epochs if isinstance(one, Epoch)
    ]
    assert [(one.kind, one.version) for one in found.keepers] == [
        (RecipientKind.ESCROW, 1),
        (RecipientKind.VAULT, 1),
    ]
    assert (found.method, found.meeting, found.executor) == (METHOD, MEETING, "officer")
    assert (found.requester, found.supervisors) == ("chen-admin", tuple(sorted(SECURITY[:3])))
    assert (found.destroyed, found.issued) == (order.now - 1, order.now)
    request = read_row(order.request.row)
    assert isinstance(request, Request)
    check_certifies(found, peek_request(request.request))


def test_a_certificate_in_parts_is_whole_only_together(treasury: Treasury) -> None:
    order = treasury.ask(lambda hsm: destroyed(hsm, 3))
    orders = [
        replace(order, epochs=order.epochs[at : at + 1], part=at + 1, parts=3) for at in range(3)
    ]
    parts = [treasury.ask(lambda hsm, one=one: hsm.certify(one)) for one in orders]
    whole = verify_certificate("\n".join(parts), treasury.keys)
    assert [key.epoch for key in whole.keys] == [0, 1, 2]
    alone = verify_certificate(treasury.ask(lambda hsm: hsm.certify(order)), treasury.keys)
    assert whole == alone
    for wrong in (parts[:2], parts[1:], [parts[1], parts[0], parts[2]], [*parts, parts[2]]):
        with pytest.raises(VerificationFailed):
            verify_certificate("\n".join(wrong), treasury.keys)


def test_one_epoch_is_certified_by_a_request_about_it(treasury: Treasury) -> None:
    order = treasury.ask(lambda hsm: destroyed(hsm, 1, "epoch.destroy"))
    found = verify_certificate(treasury.ask(lambda hsm: hsm.certify(order)), treasury.keys)
    assert (found.operation, [key.epoch for key in found.keys]) == ("epoch.destroy", [0])
    other = treasury.ask(lambda hsm: destroyed(hsm, 2))
    treasury.refuses(Forbidden, replace(order, epochs=other.epochs[1:]))


def test_a_key_that_is_not_destroyed_is_not_certified(treasury: Treasury) -> None:
    order = treasury.ask(destroyed)
    minted = treasury.ask(lambda hsm: hsm.mint(_order(0, order.now)))
    treasury.refuses(Forbidden, replace(order, epochs=minted.rows[:1]))
    treasury.refuses(InvalidInput, replace(order, epochs=()))


def test_a_row_that_the_token_did_not_seal_is_refused(treasury: Treasury) -> None:
    order = treasury.ask(destroyed)
    (row,) = order.epochs
    treasury.refuses(IntegrityFailure, replace(order, epochs=(replace(row, mac=bytes(32)),)))
    request = order.request
    treasury.refuses(IntegrityFailure, replace(order, request=replace(request, mac=bytes(32))))


def test_a_manifest_that_the_token_did_not_sign_in_its_own_name_is_not_certified(
    treasury: Treasury,
) -> None:
    """A web process gone bad can have any row of a destroyed epoch sealed."""
    order = treasury.ask(destroyed)
    epoch = read_row(order.epochs[0].row)
    assert isinstance(epoch, Epoch)
    forged = epoch.manifest.rpartition(".")[0] + "." + b64u(bytes(64))
    row = make_row(replace(epoch, manifest=forged), 3)
    sealed = treasury.ask(lambda hsm: hsm.seal_rows([row]))
    treasury.refuses(IntegrityFailure, replace(order, epochs=tuple(sealed)))


def test_a_request_that_was_not_carried_out_certifies_nothing(treasury: Treasury) -> None:
    order = treasury.ask(destroyed)
    record = read_row(order.request.row)
    assert isinstance(record, Request)
    pending = make_row(replace(record, state=RequestState.PENDING, ended=0), 1)
    (sealed,) = treasury.ask(lambda hsm: hsm.seal_rows([pending]))
    treasury.refuses(Forbidden, replace(order, request=sealed))


def test_another_register_and_a_time_before_the_destruction_are_refused(
    treasury: Treasury,
) -> None:
    order = treasury.ask(destroyed)
    forged = register_token(ec.generate_private_key(ec.SECP256R1()))
    treasury.refuses(VerificationFailed, replace(order, register=forged))
    treasury.refuses(InvalidInput, replace(order, now=order.now - 3600))
    treasury.refuses(InvalidInput, replace(order, part=2, parts=1))


def test_a_certificate_counts_only_with_a_listed_key_of_its_space(treasury: Treasury) -> None:
    order = treasury.ask(destroyed)
    text = treasury.ask(lambda hsm: hsm.certify(order))
    (listed,) = treasury.keys.keys
    for keys in (
        replace(treasury.keys, keys=()),
        replace(treasury.keys, keys=(replace(listed, space="banking"),)),
        replace(treasury.keys, keys=(replace(listed, use=KeyUse.CHECKPOINT),)),
        replace(treasury.keys, iss="elsewhere.example"),
    ):
        with pytest.raises(VerificationFailed):
            verify_certificate(text, keys)
    head, payload, signature = text.split(".")
    altered = payload.replace(payload[40], "A" if payload[40] != "A" else "B", 1)
    with pytest.raises(VerificationFailed):
        verify_certificate(f"{head}.{altered}.{signature}", treasury.keys)

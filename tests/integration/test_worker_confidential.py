"""Confidential meetings at the real worker on a real token: only whom the host invited gets a key,
and the host stays who it was.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from kms.client.rosters import make_invitation, signed_roster
from kms.domain.ids import SpaceName
from kms.errors import ConclaveError, VerificationFailed
from kms.hsm.client import Workers
from kms.ports import Minted, MintOrder
from kms.statements import jws
from kms.statements.canonical import decode_record, read_row
from kms.statements.invitation import InvitedPasskey
from kms.statements.manifest import TYP as MANIFEST
from kms.statements.manifest import Manifest
from tests.fixtures.authenticator import Authenticator
from tests.fixtures.hsm import (
    BANKING,
    MEETING,
    SITE,
    HsmSite,
    hsm_site,
    roster_order,
    software_keys,
    trusted_order,
)
from tests.practice.devices import Device, make_device

HOST, STRANGER = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
OTHER_MEETING = "0193a5b0-7c3e-7000-8000-ffffffffffff"
NOW = int(time.time())
NO_KEY = InvitedPasskey("c" * 43, "AAAA", "bank.example", "https://bank.example")
_KEYS: list[rsa.RSAPrivateKey] = []


@pytest.fixture
def site() -> Iterator[HsmSite]:
    for made in hsm_site():
        made.start("space-b")
        yield made


def devices() -> list[Device]:
    while len(_KEYS) < 2:
        _KEYS.append(rsa.generate_private_key(65537, 3072))
    anchor = software_keys().anchor
    return [make_device(f"d{i}", anchor, key=key) for i, key in enumerate(_KEYS)]


def host_id(key: ec.EllipticCurvePrivateKey = HOST) -> str:
    return jws.spki_id(key.public_key())


def invited(device: Device, by: ec.EllipticCurvePrivateKey = HOST, **changes: Any) -> str:
    said = {
        "site": SITE, "space": BANKING, "meeting": MEETING, "issued": NOW, "expires": NOW + 3600,
    }  # fmt: skip
    return make_invitation(by, device.certificate, **{**said, **changes})


def order(
    people: Sequence[Device],
    invitations: Sequence[str],
    host: ec.EllipticCurvePrivateKey | None = HOST,
    version: int = 1,
    **changes: Any,
) -> MintOrder:
    """Return an order for a confidential meeting; ``host`` in its roster alone."""
    statement = signed_roster(
        software_keys().roster_authority,
        [device.certificate for device in people],
        space=BANKING, meeting=MEETING, version=version, issued=NOW,
        host=host.public_key() if host else None, invitations=invitations,
    )  # fmt: skip
    made = roster_order(people, version=version, epoch=version - 1)
    named = replace(made.meeting, host=changes.pop("named", host_id()))
    return replace(made, meeting=named, roster=replace(made.roster, statement=statement), **changes)


def mint(site: HsmSite, *orders: MintOrder) -> list[Minted | ConclaveError]:
    async def run() -> list[Any]:
        workers = Workers(site.settings)
        space = workers.space(SpaceName(BANKING))
        try:
            return await asyncio.gather(*map(space.mint, orders), return_exceptions=True)
        finally:
            await workers.close()

    return asyncio.run(run())


def test_invited_devices_receive_the_key_and_the_host_is_kept(site: HsmSite) -> None:
    both, made = devices(), Authenticator().enrolled()
    named = InvitedPasskey(made.credential, made.spki, "bank.example", "https://bank.example")
    first = order(both, [invited(both[0], passkey=named), invited(both[1])])
    later = order(both[:1], [invited(both[0])], version=2)
    for result in mint(site, first, later):
        assert isinstance(result, Minted), result
        assert read_row(result.rows[1].row).host == host_id()
        payload = jws.unverified_payload(read_row(result.rows[0].row).manifest, typ=MANIFEST)
        assert decode_record(payload, Manifest).host == host_id()


def test_whoever_is_not_invited_by_the_host_for_this_meeting_brings_the_roster_down(
    site: HsmSite,
) -> None:
    one, two = devices()
    good = invited(one)
    wrong = {
        "no invitation": [good],
        "another's invitation twice": [good, good],
        "one too many": [good, invited(two), invited(two)],
        "not by the host": [good, invited(two, STRANGER)],
        "to another meeting": [good, invited(two, meeting=OTHER_MEETING)],
        "to another space": [good, invited(two, space="treasury")],
        "to another site": [good, invited(two, site="other.example")],
        "expired": [good, invited(two, issued=NOW - 100, expires=NOW - 1)],
        "issued in the future": [good, invited(two, issued=NOW + 3000)],
        "no statement": [good, "e30.e30.e30"],
        "by no passkey that could be verified": [good, invited(two, passkey=NO_KEY)],
    }
    results = mint(site, *(order((one, two), tokens) for tokens in wrong.values()))
    for name, result in zip(wrong, results, strict=True):
        assert isinstance(result, VerificationFailed), (name, result)


def test_a_roster_without_the_meetings_host_or_with_another_is_refused(site: HsmSite) -> None:
    one, _ = devices()
    mine = [invited(one)]
    foreign = order([one], [invited(one, STRANGER)], STRANGER)
    wrong = {
        "another host": foreign,
        "no host any more": order([one], [], None),
        "a host in an ordinary meeting": order([one], mine, named=""),
    }
    for name, result in zip(wrong, mint(site, *wrong.values()), strict=True):
        assert isinstance(result, VerificationFailed), (name, result)


def test_a_host_that_the_worker_saw_is_not_changed_even_by_the_web_process(site: HsmSite) -> None:
    one, _ = devices()
    first = order([one], [invited(one)])
    planted = order([one], [invited(one, STRANGER)], STRANGER, version=2, named=host_id(STRANGER))
    ordinary = order([one], [], None, version=2, named="")
    done, *refused = mint(site, first, planted, ordinary)
    assert isinstance(done, Minted)
    for result in refused:
        assert isinstance(result, VerificationFailed)
        assert "host" in result.message


def test_a_meeting_of_servers_has_no_host(site: HsmSite) -> None:
    site.start("space-t")
    made = trusted_order()
    planted = replace(made, meeting=replace(made.meeting, host=host_id()))

    async def run() -> None:
        workers = Workers(site.settings)
        try:
            with pytest.raises(VerificationFailed, match="devices"):
                await workers.space(made.meeting.space).mint(planted)
        finally:
            await workers.close()

    asyncio.run(run())

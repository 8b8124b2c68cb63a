"""Minting by the real worker on a real token, opened with the recipients' own software keys."""

import asyncio
import datetime as dt
import hashlib
from collections.abc import Iterator
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from kms.domain.ids import RecipientId, SpaceName
from kms.domain.models import Epoch, RecipientKind, ReleaseClass
from kms.domain.states import KeyState
from kms.errors import ConclaveError, Forbidden, HsmUnavailable, InvalidInput, VerificationFailed
from kms.hsm.client import Workers
from kms.ports import Minted, MintOrder
from kms.statements import jws
from kms.statements.canonical import b64u, digest, make_row, read_row
from kms.statements.manifest import TYP, Manifest, verify_manifest
from tests.fixtures.hsm import (
    BANKING,
    SITE,
    TREASURY,
    HsmSite,
    hsm_site,
    roster_order,
    signed_roster,
    software_keys,
    trusted_order,
)
from tests.practice.devices import Authority, Device, make_authority, make_device

OTHER_MEETING = "0193a5b0-7c3e-7000-8000-ffffffffffff"
_KEYS: list[rsa.RSAPrivateKey] = []


@pytest.fixture
def site() -> Iterator[HsmSite]:
    yield from hsm_site()


@pytest.fixture
def banking(site: HsmSite) -> HsmSite:
    site.start("space-b")
    return site


@pytest.fixture
def treasury(site: HsmSite) -> HsmSite:
    site.start("space-t")
    return site


def device_keys() -> list[rsa.RSAPrivateKey]:
    while len(_KEYS) < 2:
        _KEYS.append(rsa.generate_private_key(65537, 3072))
    return _KEYS


def devices(authority: Authority | None = None) -> list[Device]:
    authority = authority or software_keys().anchor
    return [make_device(f"d{i}", authority, key=key) for i, key in enumerate(device_keys())]


def mint(site: HsmSite, *orders: MintOrder) -> list[Minted | ConclaveError]:
    """Send every order over one connection; return what came of each."""

    async def run() -> list[Minted | ConclaveError]:
        workers = Workers(site.settings)
        space = SpaceName(BANKING if "space-b" in site.workers else TREASURY)
        try:
            results = await asyncio.gather(
                *(workers.space(space).mint(order) for order in orders), return_exceptions=True
            )
        finally:
            await workers.close()
        assert all(isinstance(item, Minted | ConclaveError) for item in results)
        return results

    return asyncio.run(run())


def refused(site: HsmSite, order: MintOrder) -> ConclaveError:
    """Return the refusal of an order; afterwards the same worker still mints."""
    (process,) = site.workers.values()
    good = roster_order(devices()) if "space-b" in site.workers else trusted_order()
    result, after = mint(site, order, replace(good, meeting=good.meeting))
    assert isinstance(result, ConclaveError)
    assert isinstance(after, Minted)
    assert process.poll() is None
    return result


def minted(site: HsmSite, order: MintOrder) -> Minted:
    (result,) = mint(site, order)
    assert isinstance(result, Minted)
    return result


def manifest_of(result: Minted) -> Manifest:
    epoch = read_row(result.rows[0].row)
    assert isinstance(epoch, Epoch)
    payload = jws.unverified_payload(epoch.manifest, typ=TYP)
    from kms.statements.canonical import decode_record

    return decode_record(payload, Manifest)


def open_blob(result: Minted, key: rsa.RSAPrivateKey) -> bytes:
    """Unwrap the key's envelope and hold the epoch key against the commitment."""
    name = jws.spki_id(key.public_key())
    (blob,) = (item.blob for item in result.envelopes if item.recipient == name)
    manifest = manifest_of(result)
    assert manifest.recipient(name).blob_sha256 == digest(blob)
    oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
    epoch_key = key.decrypt(blob, oaep)
    mac = CMAC(AES(epoch_key))
    mac.update(manifest.commitment_context())
    assert b64u(mac.finalize()) == manifest.commitment
    return epoch_key


def test_a_trusted_space_wraps_for_vault_escrow_and_registered_server(treasury):
    result = minted(treasury, trusted_order())
    keys = software_keys()
    assert open_blob(result, keys.server) == open_blob(result, keys.escrow)
    manifest = manifest_of(result)
    kinds = [(entry.kind, entry.sender) for entry in manifest.recipients]
    assert kinds == [
        (RecipientKind.VAULT, -1),
        (RecipientKind.ESCROW, -1),
        (RecipientKind.SERVER, 0),
    ]
    assert manifest.release_class is ReleaseClass.TRUSTED
    assert manifest.iss == SITE
    assert [entry.id for entry in manifest.recipients] == [e.recipient for e in result.envelopes]


def test_a_roster_space_wraps_for_the_devices_of_the_roster(banking):
    result = minted(banking, roster_order(devices()))
    opened = {open_blob(result, key) for key in (*device_keys(), software_keys().escrow)}
    assert len(opened) == 1
    manifest = manifest_of(result)
    assert manifest.release_class is ReleaseClass.ROSTER
    assert [entry.sender for entry in manifest.recipients] == [-1, -1, 0, 1]


def test_every_epoch_has_a_key_of_its_own(treasury):
    results = mint(treasury, trusted_order(), trusted_order())
    keys = [open_blob(item, software_keys().server) for item in results]
    assert keys[0] != keys[1]


def test_the_manifest_is_signed_by_the_spaces_manifest_key(treasury):
    async def info():
        workers = Workers(treasury.settings)
        try:
            return await workers.space(SpaceName(TREASURY)).info()
        finally:
            await workers.close()

    shown = asyncio.run(info())
    (key,) = (o for o in shown.objects if o["label"] == "manifest/1" and o["trusted"])
    epoch = read_row(minted(treasury, trusted_order()).rows[0].row)
    assert isinstance(epoch, Epoch)
    assert jws.key_id(epoch.manifest, typ=TYP) == key["id"]
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(VerificationFailed):
        verify_manifest(epoch.manifest, other)


def test_rows_come_back_as_epoch_meeting_and_others(treasury):
    order = trusted_order()
    extra = make_row(order.roster, 1)
    result = minted(treasury, replace(order, others=(extra,)))
    assert [sealed.row.kind.value for sealed in result.rows] == ["epoch", "meeting", "roster"]
    assert result.rows[2].row == extra
    assert all(len(sealed.mac) == 32 for sealed in result.rows)


def test_an_epoch_that_starts_later_is_not_active_yet(treasury):
    order = trusted_order()
    later = minted(treasury, replace(order, activates=order.now + 2))
    epoch = read_row(later.rows[0].row)
    assert isinstance(epoch, Epoch)
    assert epoch.state is KeyState.PRE_ACTIVATION


def test_a_roster_of_another_key_is_refused(banking):
    order = roster_order(devices())
    forged = signed_roster(devices(), key=ec.generate_private_key(ec.SECP256R1()))
    order = replace(order, roster=replace(order.roster, statement=forged))
    assert type(refused(banking, order)) is VerificationFailed


def test_a_roster_whose_signature_is_altered_is_refused(banking):
    order = roster_order(devices())
    head, _, signature = order.roster.statement.rpartition(".")
    altered = f"{head}.{signature[:-3]}AAA"
    order = replace(order, roster=replace(order.roster, statement=altered))
    assert type(refused(banking, order)) is VerificationFailed


@pytest.mark.parametrize("what", ["space", "meeting"])
def test_a_roster_of_another_space_or_meeting_is_refused(banking, what):
    order = roster_order(devices())
    other = {"space": "treasury", "meeting": OTHER_MEETING}[what]
    statement = signed_roster(devices(), **{what: other})
    order = replace(order, roster=replace(order.roster, statement=statement))
    assert type(refused(banking, order)) is VerificationFailed


def test_a_roster_that_names_other_devices_than_its_record_is_refused(banking):
    order = roster_order(devices())
    record = replace(order.roster, recipients=order.roster.recipients[::-1])
    assert type(refused(banking, replace(order, roster=record))) is VerificationFailed


def test_a_device_of_a_foreign_authority_is_refused(banking):
    order = roster_order(devices(make_authority("Somebody else's CA")))
    assert type(refused(banking, order)) is VerificationFailed


def test_a_device_of_an_authority_with_the_same_name_is_refused(banking):
    order = roster_order(devices(make_authority()))
    assert type(refused(banking, order)) is VerificationFailed


def test_an_expired_device_is_refused(banking):
    assert type(refused(banking, roster_order([certified(ends=-1)]))) is VerificationFailed


def test_a_device_that_is_not_valid_yet_is_refused(banking):
    order = roster_order([certified(starts=60)])
    assert type(refused(banking, order)) is VerificationFailed


def test_a_short_device_key_is_refused(banking):
    order = roster_order([certified(key=rsa.generate_private_key(65537, 2048))])
    assert type(refused(banking, order)) is VerificationFailed


def test_an_authority_is_not_a_device(banking):
    assert type(refused(banking, roster_order([certified(ca=True)]))) is VerificationFailed


def test_a_device_that_may_only_sign_is_refused(banking):
    assert type(refused(banking, roster_order([certified(encipher=False)]))) is VerificationFailed


def test_a_device_that_may_encipher_is_accepted(banking):
    assert isinstance(mint(banking, roster_order([certified(encipher=True)]))[0], Minted)


def test_a_device_twice_on_the_roster_is_refused(banking):
    one = devices()[0]
    assert type(refused(banking, roster_order([one, one]))) is VerificationFailed


def test_an_empty_roster_is_refused(banking):
    assert type(refused(banking, roster_order([]))) is VerificationFailed


def test_an_older_roster_is_refused_once_a_newer_was_seen(banking):
    newer, older = roster_order(devices(), version=3), roster_order(devices(), version=2)
    first, second, again = mint(banking, newer, older, newer)
    assert isinstance(first, Minted)
    assert type(second) is VerificationFailed
    assert isinstance(again, Minted)


def test_an_unregistered_server_is_refused(treasury):
    order = trusted_order()
    stranger = RecipientId(b64u(hashlib.sha256(b"stranger").digest()))
    order = replace(order, roster=replace(order.roster, recipients=(stranger,)))
    assert type(refused(treasury, order)) is VerificationFailed


@pytest.mark.parametrize("kind", [RecipientKind.VAULT, RecipientKind.ESCROW])
def test_vault_and_escrow_cannot_be_on_a_roster(treasury, kind):
    result = minted(treasury, trusted_order())
    (own,) = (entry.id for entry in manifest_of(result).recipients if entry.kind is kind)
    order = trusted_order()
    order = replace(order, roster=replace(order.roster, recipients=(RecipientId(own),)))
    assert type(refused(treasury, order)) is VerificationFailed


def test_a_server_is_registered_and_revoked_while_the_worker_runs(treasury):
    order = trusted_order()
    key = device_keys()[0]
    name = RecipientId(jws.spki_id(key.public_key()))
    order = replace(order, roster=replace(order.roster, recipients=(name,)))
    assert type(refused(treasury, order)) is VerificationFailed
    spki = jws.spki_der(key.public_key())
    treasury.as_officer("space-t", "trust_recipient", RecipientKind.SERVER, "two", spki)
    assert open_blob(minted(treasury, order), key)
    treasury.as_officer("space-t", "revoke", "server/two")
    first, second = mint(treasury, order)[0], mint(treasury, order)[0]
    assert isinstance(first, HsmUnavailable | VerificationFailed)
    assert type(second) is VerificationFailed
    assert minted(treasury, trusted_order())


def test_a_roster_authority_that_was_revoked_counts_no_more(banking):
    order = roster_order(devices())
    assert minted(banking, order)
    banking.as_officer("space-b", "revoke", "roster-authority/one")
    assert type(mint(banking, order)[0]) is VerificationFailed


def test_devices_of_an_anchor_that_was_revoked_get_nothing_more(banking):
    order = roster_order(devices())
    assert minted(banking, order)
    banking.as_officer("space-b", "revoke", "device-anchor/one")
    assert type(mint(banking, order)[0]) is VerificationFailed


def test_an_anchor_that_is_registered_later_counts_at_once(banking):
    authority = make_authority("Second CA")
    order = roster_order(devices(authority))
    assert type(refused(banking, order)) is VerificationFailed
    der = authority.certificate.public_bytes(serialization.Encoding.DER)
    banking.as_officer("space-b", "trust_device_anchor", "two", der)
    assert minted(banking, order)


def test_orders_of_another_space_or_site_are_refused(treasury):
    order = trusted_order()
    other = SpaceName(BANKING)
    moved = replace(
        order,
        meeting=replace(order.meeting, space=other),
        roster=replace(order.roster, space=other),
    )
    assert type(refused(treasury, moved)) is Forbidden
    assert type(refused(treasury, replace(order, site="elsewhere"))) is Forbidden


@pytest.mark.parametrize(
    "change",
    [{"epoch": 7}, {"epoch": -1}, {"retires": 0}, {"activates": -5}],
)
def test_orders_that_do_not_fit_together_are_refused(treasury, change):
    assert type(refused(treasury, replace(trusted_order(), **change))) is InvalidInput


def test_a_row_of_another_space_beside_an_order_is_refused(treasury):
    order = trusted_order()
    foreign = make_row(replace(order.roster, space=SpaceName(BANKING)), 1)
    assert type(refused(treasury, replace(order, others=(foreign,)))) is Forbidden


def certified(
    *,
    starts: int = -300,
    ends: int = 300,
    key: rsa.RSAPrivateKey | None = None,
    ca: bool = False,
    encipher: bool | None = None,
) -> Device:
    """Return a device of the trusted authority with a certificate of its own kind."""
    key, authority = key or device_keys()[0], software_keys().anchor
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "odd")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + dt.timedelta(seconds=min(starts, ends - 1)))
        .not_valid_after(now + dt.timedelta(seconds=ends))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if encipher is not None:
        uses = dict.fromkeys(
            ("content_commitment", "data_encipherment", "key_agreement", "key_cert_sign"), False
        )
        usage = x509.KeyUsage(
            digital_signature=True, key_encipherment=encipher, crl_sign=False,
            encipher_only=False, decipher_only=False, **uses,
        )  # fmt: skip
        builder = builder.add_extension(usage, critical=True)
    return Device("odd", key, builder.sign(authority.key, hashes.SHA256()))

"""A practice site: complete, marked, kept by a second run, and its escrow opens."""

import json
import os
import shutil
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pkcs11 import ObjectClass

from kms.ceremonies.plan import parse_plan
from kms.ceremonies.record.transcript import read_unverified
from kms.ceremonies.verification.verify import verify_transcript
from kms.domain.models import Recipient, RecipientKind, ReleaseClass, Role, Space
from kms.errors import AlreadyExists, IntegrityFailure, ProfileError
from kms.hsm import templates
from kms.hsm.labels import Kind, numbered
from kms.hsm.login import Login
from kms.practice import PracticeSite, init_practice
from kms.practice.site import PROFILE, SITE_ID, prepare, shipped_profile
from kms.settings import load
from kms.statements.canonical import b64u, read_row
from kms.statements.jws import spki_id
from kms.statements.keylist import KeyUse, verify_keylist
from kms.store.sqlite import SqliteStore
from tests.fixtures.escrow import OAEP_SHA1, recover_escrow, so_pins
from tests.fixtures.softhsm import SoftHsm
from tests.fixtures.store import TestClock


@pytest.fixture
def store(practice_site: PracticeSite) -> Iterator[SqliteStore]:
    opened = SqliteStore.open(practice_site.state / "conclave.db", TestClock())
    yield opened
    opened.close()


def test_the_configuration_loads_and_names_everything(practice_site: PracticeSite):
    settings = load(practice_site.config)
    assert settings.site.banner == "PRACTICE / 演练"
    assert [token.label for token in settings.hsm.tokens] == [
        "site",
        "space-investment-banking",
        "space-treasury",
    ]
    console, clerk = settings.caller
    assert console.uid == os.getuid()
    assert set(console.roles) == set(Role) - {Role.MEETING_SERVER}
    assert (clerk.roles, clerk.spaces) == ((), ())
    assert settings.api.tls is not None
    assert (settings.api.tls.address, settings.api.tls.port) == ("127.0.0.1", 0)
    longest = settings.paths.worker_socket("space-investment-banking")
    assert len(str(longest)) < 108


def test_the_key_list_is_signed_by_the_site_root_and_matches_the_tokens(softhsm: SoftHsm):
    site = softhsm.site
    root = serialization.load_pem_public_key(site.site_root.read_bytes())
    assert isinstance(root, ec.EllipticCurvePublicKey)
    keys = verify_keylist(site.key_list.read_text(), root)
    assert keys.iss == site.site_id
    listed = {(key.use, key.space): key.kid for key in keys.keys}
    for label, kind, use, space in (
        ("site", Kind.CHECKPOINT, KeyUse.CHECKPOINT, ""),
        ("space-treasury", Kind.MANIFEST, KeyUse.MANIFEST, "treasury"),
        ("space-investment-banking", Kind.MANIFEST, KeyUse.MANIFEST, "investment-banking"),
    ):
        with softhsm.token(label) as token:
            public = token.find(ObjectClass.PUBLIC_KEY, numbered(kind, 1))
        assert listed[use, space] == b64u(public.key_id)


def test_the_store_has_the_spaces_and_their_recipients_with_their_keys(
    practice_site: PracticeSite, store: SqliteStore
):
    spaces = [cast("Space", read_row(one.row)) for one in store.spaces()]
    assert {(space.space, space.release_class, space.token) for space in spaces} == {
        ("investment-banking", ReleaseClass.ROSTER, "space-investment-banking"),
        ("treasury", ReleaseClass.TRUSTED, "space-treasury"),
    }
    rows = [one for space in spaces for one in store.recipients(space.space)]
    listed = [cast("Recipient", read_row(one.row)) for one in rows]
    kinds = {(one.space, one.kind, one.name): one for one in listed}
    assert set(kinds) == {
        ("investment-banking", RecipientKind.VAULT, "vault"),
        ("investment-banking", RecipientKind.ESCROW, "escrow"),
        ("investment-banking", RecipientKind.SERVER, "ms-1"),
        ("treasury", RecipientKind.VAULT, "vault"),
        ("treasury", RecipientKind.ESCROW, "escrow"),
        ("treasury", RecipientKind.SERVER, "ms-a"),
        ("treasury", RecipientKind.SERVER, "ms-b"),
    }
    for server in practice_site.servers:
        record = kinds[server.space, RecipientKind.SERVER, server.name]
        own = serialization.load_pem_private_key(server.own_key.read_bytes(), None)
        certificate = x509.load_pem_x509_certificate(server.certificate.read_bytes())
        assert isinstance(own, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
        assert record.recipient == spki_id(own.public_key())
        tls_key = certificate.public_key()
        assert isinstance(tls_key, ec.EllipticCurvePublicKey)
        assert record.tls_spki == spki_id(tls_key)


def test_the_roster_space_trusts_an_authority_and_an_anchor_and_no_server(softhsm: SoftHsm):
    labels = softhsm.officer("space-investment-banking").labels()
    assert labels == (
        "device-anchor/practice-device-ca",
        "disk-escrow/1",
        "escrow/1",
        "manifest/1",
        "roster-authority/ms-1",
        "row-mac/1",
        "site-root/1",
        "vault/1",
        "vault/1/roster",
    )
    assert softhsm.officer("site").labels() == (
        "checkpoint-state",
        "checkpoint/1",
        "disk-escrow/1",
        "escrow/1",
        "row-mac/1",
        "site-root/1",
    )


def test_the_shares_open_what_was_wrapped_for_escrow(softhsm: SoftHsm):
    escrow = recover_escrow(softhsm.site)
    with softhsm.token("space-treasury") as token:
        public = token.find(ObjectClass.PUBLIC_KEY, numbered(Kind.ESCROW, 1))
        key = token.generate_secret(templates.epoch_key(ReleaseClass.TRUSTED))
        blob = token.wrap(public.handle, key)
    assert len(escrow.decrypt(blob, OAEP_SHA1)) == 32
    assert escrow.key_size == 4096


def test_too_few_shares_open_nothing(practice_site: PracticeSite):
    with pytest.raises(IntegrityFailure):
        recover_escrow(practice_site, [("security", 1), ("security", 2), ("security", 3)])


def test_every_secret_is_private_and_every_share_is_marked(practice_site: PracticeSite):
    secret = [*practice_site.directory.rglob("*.key.pem"), *practice_site.directory.rglob("*.key")]
    secret += [practice_site.pins, *practice_site.shares.iterdir()]
    keys, people, documents, shares, appliance = 9, 11, 1, 8 + 5, 1
    assert len(secret) == keys + people + documents + shares + appliance
    for path in secret:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for path in practice_site.shares.iterdir():
        assert path.read_text("utf-8").startswith("PRACTICE / 演练\n")


def test_only_the_officers_shares_give_the_so_pins(softhsm: SoftHsm):
    site = softhsm.site
    pins = json.loads(site.pins.read_text())
    assert set(pins) == {"site", "space-investment-banking", "space-treasury"} == set(so_pins(site))
    everything = [*pins.values(), *so_pins(site).values()]
    assert len(set(everything)) == 6
    assert {len(pin) for pin in everything} == {32}
    for path in site.directory.rglob("*"):
        if path.is_file() and path != site.pins:
            assert not any(pin.encode() in path.read_bytes() for pin in everything), path
    for label in pins:
        with softhsm.token(label, Login.OFFICER) as token:
            assert token.objects()


def test_every_ceremony_has_a_transcript_that_everybody_signed(practice_site: PracticeSite):
    root = serialization.load_pem_public_key(practice_site.site_root.read_bytes())
    assert isinstance(root, ec.EllipticCurvePublicKey)
    held = practice_site.state / "ceremonies"
    envelopes = [(path / "transcript.json").read_bytes() for path in held.iterdir()]
    envelopes.sort(key=lambda one: read_unverified(one).sequence)
    kinds = [read_unverified(one).kind for one in envelopes]
    assert kinds == [
        "initialise-site",
        *("create-space", "register-recipient", "register-recipient"),
        *("create-space", "register-recipient", "register-recipient"),
    ]
    previous = None
    for envelope in envelopes:
        verify_transcript(envelope, root, previous)
        previous = envelope


def test_the_plans_stay_with_the_site(practice_site: PracticeSite):
    plans = [parse_plan(path.read_bytes()) for path in sorted(practice_site.plans.iterdir())]
    for plan in plans:
        folder = practice_site.state / "ceremonies" / plan.file.id
        assert (folder / "plan.toml").read_bytes() == plan.raw
    assert len(plans) == 7


def test_the_log_is_signed_up_to_the_last_ceremony(practice_site: PracticeSite, store: SqliteStore):
    assert store.open_intents() == []
    checkpoint = store.last_checkpoint()
    assert checkpoint is not None
    assert checkpoint[0] == store.tree_size()


def test_the_certificates_work_for_mutual_tls(practice_site: PracticeSite):
    service = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(practice_site.tls_ca))
    service.load_cert_chain(practice_site.tls_certificate, practice_site.tls_key)
    service.verify_mode = ssl.CERT_REQUIRED
    client = ssl.create_default_context(cafile=str(practice_site.tls_ca))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    server = practice_site.server("ms-1")
    client.load_cert_chain(server.certificate, server.tls_key)
    to_service, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_service, server_hostname="127.0.0.1")
    theirs = service.wrap_bio(to_service, to_client, server_side=True)
    for _ in range(4):
        for side in (ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    peer = theirs.getpeercert()
    assert peer is not None
    assert (("commonName", "ms-1"),) in peer["subject"]


def test_a_second_run_keeps_the_site(practice_site: PracticeSite):
    files = [path for path in practice_site.directory.rglob("*.*") if path.is_file()]
    before = {path: path.read_bytes() for path in files}
    shutil.rmtree(load(practice_site.config).paths.run)
    again = init_practice(practice_site.directory)
    assert again == practice_site
    assert {path: path.read_bytes() for path in before} == before
    assert load(practice_site.config).paths.run.is_dir()


def test_a_half_made_site_is_refused_until_told_to_start_over(tmp_path: Path):
    site = PracticeSite(tmp_path / ("long-" * 20), SITE_ID)
    run = load(prepare(site, PROFILE)).paths.run
    assert not run.is_relative_to(site.directory)
    with pytest.raises(AlreadyExists) as caught:
        init_practice(site.directory)
    assert "--fresh" in caught.value.hint
    assert run.is_dir()
    old = site.tls_ca.read_bytes()
    again = init_practice(site.directory, fresh=True)
    assert not run.exists()
    assert again.tls_ca.read_bytes() != old
    assert again.config.exists()
    shutil.rmtree(load(again.config).paths.run)


def test_a_folder_of_something_else_is_never_deleted(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("years of work")
    for fresh in (False, True):
        with pytest.raises(AlreadyExists) as caught:
            init_practice(tmp_path, fresh=fresh)
        assert "--fresh" not in caught.value.hint
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_profile_that_is_missing_leaves_no_folder_behind(tmp_path: Path):
    with pytest.raises(ProfileError):
        init_practice(tmp_path / "site", profile=tmp_path / "missing.toml")
    assert not (tmp_path / "site").exists()


def test_an_installation_has_its_profiles_in_the_virtual_environment(tmp_path: Path):
    library, environment = tmp_path / "lib", tmp_path / "env"
    (environment / "hsm_profiles").mkdir(parents=True)
    installed = environment / "hsm_profiles" / "softhsm.toml"
    installed.touch()
    assert shipped_profile("softhsm.toml", (library, environment)) == installed
    (library / "hsm_profiles").mkdir(parents=True)
    cloned = library / "hsm_profiles" / "softhsm.toml"
    cloned.touch()
    assert shipped_profile("softhsm.toml", (library, environment)) == cloned

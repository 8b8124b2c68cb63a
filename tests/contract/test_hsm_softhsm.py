"""SoftHSM is what its profile says, through the service's own token class."""

import os

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from kms.ceremonies.ports import EscrowOpener, EscrowPair, SigningUse
from kms.domain.models import RecipientKind, ReleaseClass
from kms.errors import (
    AlreadyExists,
    IntegrityFailure,
    InvalidInput,
    NotFound,
    PinError,
    ProfileError,
)
from kms.hsm import templates
from kms.hsm.attributes import Template
from kms.hsm.escrow import open_escrow
from kms.hsm.faults import Action, TokenFault
from kms.hsm.known_answers import check_known_answers
from kms.hsm.labels import Kind, Label, named, numbered, vault_public
from kms.hsm.login import Login
from kms.hsm.publickeys import key_id, load_rsa
from kms.hsm.readback import check_attributes, read_back
from kms.hsm.token import Token
from kms.statements.jws import spki_der
from tests.fixtures.softhsm import SoftHsm

A = Attribute
TREASURY = "space-treasury"


@pytest.fixture(scope="module")
def stranger() -> rsa.RSAPublicKey:
    return rsa.generate_private_key(65537, 3072).public_key()


def test_the_token_answers_what_its_profile_says(softhsm: SoftHsm):
    with softhsm.token(TREASURY) as token:
        check_known_answers(token)


@pytest.mark.parametrize(
    "name", ["digest_of_sensitive_key", "kek_bound_to_gcm", "user_can_make_trusted"]
)
def test_a_profile_that_claims_another_answer_refuses_the_token(softhsm: SoftHsm, name: str):
    answers = softhsm.profile.known_answers
    turned = msgspec.structs.replace(answers, **{name: not getattr(answers, name)})
    profile = msgspec.structs.replace(softhsm.profile, known_answers=turned)
    softhsm = SoftHsm(softhsm.site, profile)
    with softhsm.token(TREASURY) as token, pytest.raises(ProfileError, match=name):
        check_known_answers(token)


def test_a_module_of_another_maker_does_not_match(softhsm: SoftHsm):
    match = msgspec.structs.replace(softhsm.profile.match, manufacturer="Another")
    profile = msgspec.structs.replace(softhsm.profile, match=match)
    with pytest.raises(ProfileError, match="does not fit the module"):
        Token(profile, TREASURY, "0000").open()


def test_a_missing_mechanism_is_named(softhsm: SoftHsm):
    wanted = msgspec.structs.replace(softhsm.profile.mechanisms, required=("CKM_AES_XTS",))
    profile = msgspec.structs.replace(softhsm.profile, mechanisms=wanted)
    with pytest.raises(ProfileError, match="CKM_AES_XTS"):
        Token(profile, TREASURY, "0000").open()


def test_a_missing_token_is_fatal(softhsm: SoftHsm):
    with pytest.raises(TokenFault) as caught:
        Token(softhsm.profile, "no-such-token", "0000").open()
    assert caught.value.action is Action.FATAL


def test_a_wrong_pin_is_tried_once_and_never_shown(softhsm: SoftHsm):
    token = Token(softhsm.profile, TREASURY, "not-the-pin")
    with pytest.raises(PinError, match="CKR_PIN_INCORRECT") as first:
        token.open()
    with pytest.raises(PinError, match="one attempt") as second:
        token.open()
    for error in (first, second):
        assert "not-the-pin" not in f"{error.value!r} {error.value.hint}"
    assert "not-the-pin" not in repr(token)


def test_after_an_error_the_session_is_replaced_and_work_goes_on(softhsm: SoftHsm):
    with softhsm.token(TREASURY) as token:
        label = vault_public(1, ReleaseClass.TRUSTED)
        vault = token.find(ObjectClass.PUBLIC_KEY, label).handle
        unwrappable = token.find(ObjectClass.PRIVATE_KEY, numbered(Kind.VAULT, 1)).handle
        with pytest.raises(TokenFault, match="CKR_"):
            token.wrap(vault, unwrappable)
        again = token.find(ObjectClass.PUBLIC_KEY, label).handle
        key = token.generate_secret(templates.epoch_key(ReleaseClass.TRUSTED))
        assert len(token.wrap(again, key)) == 3072 // 8


def test_every_lasting_object_has_exactly_its_template(softhsm: SoftHsm):
    with softhsm.token(TREASURY) as token:
        for template in (
            templates.vault_private(numbered(Kind.VAULT, 1)),
            templates.signing_private(numbered(Kind.MANIFEST, 1)),
            templates.row_mac(numbered(Kind.ROW_MAC, 1)),
        ):
            read_back(token, template)


@pytest.mark.parametrize("release_class", list(ReleaseClass))
def test_an_epoch_key_has_exactly_its_template(softhsm: SoftHsm, release_class: ReleaseClass):
    template = templates.epoch_key(release_class)
    with softhsm.token(TREASURY) as token:
        check_attributes(token, token.generate_secret(template), template)


def test_an_epoch_key_that_the_vault_opens_is_bound_to_trusted_keys(softhsm: SoftHsm):
    with softhsm.token(TREASURY) as token:
        key = token.generate_secret(templates.epoch_key(ReleaseClass.ROSTER))
        vault = token.find(ObjectClass.PUBLIC_KEY, vault_public(1, ReleaseClass.TRUSTED))
        blob, mac = token.wrap(vault.handle, key), token.cmac(key, b"context")
        private = token.find(ObjectClass.PRIVATE_KEY, numbered(Kind.VAULT, 1))
        opened = private.handle.unwrap_key(
            ObjectClass.SECRET_KEY,
            KeyType.AES,
            blob,
            mechanism=Mechanism.RSA_PKCS_OAEP,
            mechanism_param=token.oaep,
            template=templates.UNWRAP_EPOCH.packed,
        )
        assert token.cmac(opened, b"context") == mac
        check_attributes(token, opened, templates.EPOCH_UNWRAPPED)


def test_reading_back_names_an_attribute_that_differs(softhsm: SoftHsm):
    label = numbered(Kind.ROW_MAC, 1)
    with softhsm.token(TREASURY) as token, pytest.raises(IntegrityFailure, match="EXTRACTABLE"):
        read_back(token, templates.row_mac(label) | {A.EXTRACTABLE: True})


def test_reading_back_compares_nested_templates(softhsm: SoftHsm):
    weaker = Template({**templates.EPOCH_UNWRAPPED.values, A.WRAP_WITH_TRUSTED: False})
    template = templates.vault_private(numbered(Kind.VAULT, 1)) | {A.UNWRAP_TEMPLATE: weaker}
    with softhsm.token(TREASURY) as token, pytest.raises(IntegrityFailure, match="UNWRAP_TEMPLATE"):
        read_back(token, template)


def test_public_keys_that_are_not_trusted_do_not_exist(
    softhsm: SoftHsm, stranger: rsa.RSAPublicKey
):
    label, key_id = named(Kind.SERVER, "ghost"), b"g" * 32
    template = templates.trusted_rsa(label, key_id, stranger) | {A.TRUSTED: False}
    with softhsm.token(TREASURY, writable=True) as token:
        token.create(template)
        with pytest.raises(NotFound):
            token.find(ObjectClass.PUBLIC_KEY, label)
        with pytest.raises(NotFound):
            token.trusted_key(key_id, Kind.SERVER)


def test_a_second_object_of_the_same_label_is_refused(softhsm: SoftHsm):
    label = numbered(Kind.ROW_MAC, 1)
    with softhsm.token(TREASURY, writable=True) as token:
        token.generate_secret(templates.row_mac(label))
        with pytest.raises(IntegrityFailure, match="more than one"):
            token.find(ObjectClass.SECRET_KEY, label)


def test_objects_with_other_labels_are_ignored(softhsm: SoftHsm):
    with softhsm.token(TREASURY, writable=True) as token:
        before = {str(item.label) for item in token.objects()}
        token.create(templates.checkpoint_state(b"{}") | {A.LABEL: "someone else's"})
        assert {str(item.label) for item in token.objects()} == before


def test_escrow_generations_are_found_in_order(softhsm: SoftHsm, stranger: rsa.RSAPublicKey):
    with softhsm.token(TREASURY, Login.OFFICER) as officer:
        for number in (10, 2):
            label = numbered(Kind.ESCROW, number)
            officer.create(templates.trusted_rsa(label, bytes([number]) * 32, stranger))
    with softhsm.token(TREASURY) as token:
        found = [item.label.number for item in token.all(ObjectClass.PUBLIC_KEY, Kind.ESCROW)]
    assert found == [1, 2, 10]


def test_the_description_shows_no_secret_and_every_object(softhsm: SoftHsm):
    with softhsm.token(TREASURY) as token:
        info = token.describe("treasury")
    shown = {(item["label"], item["class"], item["trusted"]) for item in info.objects}
    assert shown == {
        ("disk-escrow/1", "public_key", True),
        ("escrow/1", "public_key", True),
        ("manifest/1", "public_key", True),
        ("manifest/1", "private_key", False),
        ("row-mac/1", "secret_key", False),
        ("server/ms-a", "public_key", True),
        ("server/ms-b", "public_key", True),
        ("site-root/1", "public_key", True),
        ("vault/1", "private_key", False),
        ("vault/1/trusted", "public_key", True),
    }
    assert (info.token, info.space, info.module_version) == (TREASURY, "treasury", "2.6")


def test_the_checkpoint_state_keeps_its_value(softhsm: SoftHsm):
    with softhsm.token(TREASURY, writable=True) as token:
        token.create(templates.checkpoint_state(b'{"size":7}'))
        found = token.find(ObjectClass.DATA, Label(Kind.CHECKPOINT_STATE))
        assert token.read(found.handle, A.VALUE) == b'{"size":7}'


def test_an_officer_replaces_nothing(softhsm: SoftHsm, stranger: rsa.RSAPublicKey):
    officer = softhsm.officer(TREASURY)
    before = officer.labels()
    with pytest.raises(AlreadyExists):
        officer.generate_vault(1)
    with pytest.raises(AlreadyExists):
        officer.generate_signing(SigningUse.MANIFEST, 1)
    with pytest.raises(AlreadyExists):
        officer.generate_row_mac(1)
    with pytest.raises(AlreadyExists):
        officer.trust_recipient(RecipientKind.SERVER, "ms-a", spki_der(stranger))
    assert officer.labels() == before


def test_an_officer_registers_a_key_once_and_revokes_it_by_label(
    softhsm: SoftHsm, stranger: rsa.RSAPublicKey
):
    officer, spki = softhsm.officer(TREASURY), spki_der(stranger)
    officer.trust_recipient(RecipientKind.RECORDER, "new", spki)
    with pytest.raises(AlreadyExists):
        officer.trust_recipient(RecipientKind.SERVER, "same-key", spki)
    with softhsm.token(TREASURY) as token:
        found = token.trusted_key(key_id(spki), Kind.RECORDER)
        assert str(found.label) == "recorder/new"
    officer.revoke("recorder/new")
    assert "recorder/new" not in officer.labels()
    with pytest.raises(NotFound):
        officer.revoke("recorder/new")


def test_an_officer_trusts_no_weak_key(softhsm: SoftHsm):
    weak = spki_der(rsa.generate_private_key(65537, 2048).public_key())
    with pytest.raises(InvalidInput, match="3072"):
        softhsm.officer(TREASURY).trust_recipient(RecipientKind.SERVER, "weak", weak)


def test_an_officer_initialises_no_token_twice(softhsm: SoftHsm):
    with pytest.raises(AlreadyExists):
        softhsm.officer(TREASURY).initialise()


def test_an_escrow_blob_of_another_key_does_not_prove(softhsm: SoftHsm):
    officer, swk = softhsm.officer("site"), bytes(range(32))
    pair = officer.generate_escrow(swk)
    with pytest.raises(IntegrityFailure, match="not proved: the shares' key"):
        officer.prove_escrow(bytes(32), pair)
    officer.prove_escrow(swk, pair)


def test_a_disk_escrow_blob_of_another_key_does_not_prove(softhsm: SoftHsm):
    officer, swk = softhsm.officer("site"), bytes(range(32))
    pair, other = officer.generate_disk_escrow(swk), officer.generate_disk_escrow(swk)
    with pytest.raises(IntegrityFailure, match="the shares' key"):
        officer.prove_disk_escrow(bytes(32), pair)
    with pytest.raises(IntegrityFailure, match="does not open the recovery key"):
        officer.prove_disk_escrow(swk, EscrowPair(other.spki, pair.blob))
    officer.prove_disk_escrow(swk, pair)


def test_a_disk_escrow_key_gives_back_what_software_encrypted_to_it(softhsm: SoftHsm):
    officer, swk, secret = softhsm.officer("site"), bytes(range(32)), os.urandom(96)
    pair = officer.generate_disk_escrow(swk)
    oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
    escrowed = load_rsa(pair.spki).encrypt(secret, oaep)
    opener = EscrowOpener(swk, pair.blob)
    assert officer.recover_disk_key(opener, escrowed) == secret
    with pytest.raises(IntegrityFailure, match="does not open the recovery key"):
        officer.recover_disk_key(opener, os.urandom(512))


def test_an_escrow_key_and_a_disk_escrow_key_are_not_each_other_s(softhsm: SoftHsm):
    """Opened as what it is not, a key neither decrypts nor unwraps."""
    swk = bytes(range(32))
    pair = softhsm.officer("site").generate_disk_escrow(swk)
    with softhsm.token("site") as token:
        private = open_escrow(token, swk, pair.blob)
        escrowed = token.encrypt_oaep(
            token.create(templates.encrypting_public(load_rsa(pair.spki))), bytes(96)
        )
        with pytest.raises((TokenFault, AttributeError)):
            token.decrypt_oaep(private, escrowed)


def test_a_trusted_disk_escrow_key_encrypts_and_does_nothing_else(softhsm: SoftHsm):
    officer, swk = softhsm.officer(TREASURY), bytes(range(32))
    officer.trust_disk_escrow(7, officer.generate_disk_escrow(swk).spki)
    (shown,) = [one for one in officer.dump() if one["label"] == "disk-escrow/7"]
    assert shown["trusted"]
    assert shown["encrypt"]
    assert not any(shown[use] for use in ("wrap", "verify", "derive", "modifiable", "copyable"))
    assert shown["allowed_mechanisms"] == ["RSA_PKCS_OAEP"]
    with pytest.raises(AlreadyExists):
        officer.trust_disk_escrow(7, officer.generate_disk_escrow(swk).spki)

"""What officers do with a token: make it, change its PIN, read it, erase it. On real SoftHSM."""

import os
from collections.abc import Iterator

import pkcs11
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11 import Attribute
from pkcs11.constants import TokenFlag

from kms.audit.merkle import EMPTY_ROOT
from kms.audit.note import verify_checkpoint
from kms.ceremonies.ports import CeremonyToken, SigningUse, VaultOpener
from kms.domain.ids import SpaceName
from kms.domain.models import ReleaseClass, Space
from kms.domain.rows import SealedRow
from kms.errors import (
    AlreadyExists,
    HsmUnavailable,
    IntegrityFailure,
    InvalidInput,
    PinError,
    StateNotAllowed,
)
from kms.hsm import templates
from kms.hsm.attributes import Template
from kms.hsm.init_token import erase_token, init_token
from kms.hsm.keyring import SiteKeyring
from kms.hsm.labels import Kind, numbered
from kms.hsm.login import Login, reloading
from kms.hsm.officer import OfficerToken
from kms.hsm.profile import load_profile
from kms.hsm.token import Token
from kms.statements.canonical import canonical, make_row
from tests.faults.plan import DIE, Fault, FaultPlan
from tests.fixtures.envelopes import make_envelopes, user
from tests.fixtures.faulty import faulty_profile, under_faults
from tests.fixtures.hsm import (
    PIN,
    PROFILE,
    SITE,
    SO_PIN,
    HsmSite,
    hsm_site,
    in_this_process,
    officer,
)
from tests.fixtures.pins import KnownPins

A = Attribute
LABEL = "space-t"
NEW_PIN = "so-pin-of-tomorrow"
ROOTS = [bytes([number]) * 32 for number in range(3)]


@pytest.fixture(autouse=True)
def site() -> Iterator[HsmSite]:
    for made in hsm_site():
        with in_this_process(made):
            yield made


@pytest.fixture
def pins() -> KnownPins:
    return KnownPins({LABEL: SO_PIN}, {LABEL: PIN})


@pytest.fixture
def token(pins: KnownPins) -> OfficerToken:
    return OfficerToken(load_profile(PROFILE), LABEL, pins)


def log_in(label: str, pin: str, login: Login = Login.USER) -> None:
    with Token(load_profile(PROFILE), label, pin, login=login):
        pass


def all_tokens() -> list[pkcs11.Token]:
    library = pkcs11.lib(load_profile(PROFILE).module)
    return [one for one in library.get_tokens() if one.flags & TokenFlag.TOKEN_INITIALIZED]


# made and erased


def test_a_new_token_is_there_at_once(pins: KnownPins):
    fresh = officer("fresh")
    assert not fresh.exists()
    fresh.initialise()
    assert fresh.exists()
    assert fresh.labels() == ()
    fresh.self_test()


def test_a_token_of_the_same_label_is_refused_and_stays_as_it_was(token: OfficerToken):
    before = token.dump()
    with pytest.raises(AlreadyExists, match=LABEL):
        token.initialise()
    assert token.dump() == before


def test_an_erased_token_holds_nothing_and_nobody_knows_its_pins(token: OfficerToken):
    token.erase()
    assert not token.exists()
    (erased,) = [one for one in all_tokens() if one.label.startswith("erased-")]
    assert not erased.flags & TokenFlag.USER_PIN_INITIALIZED
    with erased.open() as session:
        assert list(session.get_objects()) == []
    with pytest.raises(PinError):
        log_in(erased.label, SO_PIN, Login.OFFICER)
    with pytest.raises(PinError):
        log_in(erased.label, PIN)


def test_after_erasing_its_label_is_free_for_another_token(token: OfficerToken):
    token.erase()
    token.initialise()
    assert token.labels() == ()
    token.trust_vault(1, ReleaseClass.ROSTER, token.generate_vault(1))
    assert token.labels() == ("vault/1", "vault/1/roster")


def test_erasing_leaves_the_other_tokens_alone(token: OfficerToken):
    before = officer("site").dump(), officer("space-b").dump()
    token.erase()
    assert (officer("site").dump(), officer("space-b").dump()) == before


def test_erasing_what_is_not_there_changes_nothing_and_asks_for_no_pin():
    pins = KnownPins({}, {})
    OfficerToken(load_profile(PROFILE), "never-made", pins).erase()
    assert pins.asked == []


def test_erasing_takes_the_so_pin(token: OfficerToken, pins: KnownPins):
    before = token.dump()
    pins.officer = {LABEL: "not-the-pin"}
    with pytest.raises(PinError, match="C_InitToken") as caught:
        token.erase()
    assert "not-the-pin" not in f"{caught.value!r} {caught.value.hint}"
    assert token.dump() == before


def test_a_token_whose_making_was_interrupted_is_erased_and_made_again(site: HsmSite):
    plan = FaultPlan(site.home)
    plan.write(Fault("C_InitPIN", DIE))
    with pytest.raises(HsmUnavailable, match="died"):
        under_faults(plan, site, init_token, faulty_profile(), "fresh", SO_PIN, PIN)
    with reloading(load_profile(PROFILE)):
        pass
    fresh = officer("fresh")
    assert fresh.exists()
    fresh.erase()
    fresh.initialise()
    assert fresh.labels() == ()


def test_an_erasure_that_was_interrupted_has_erased(site: HsmSite, token: OfficerToken):
    plan = FaultPlan(site.home)
    plan.write(Fault("C_SetPIN", DIE))
    with pytest.raises(HsmUnavailable, match="died"):
        under_faults(plan, site, erase_token, faulty_profile(), LABEL, SO_PIN)
    with reloading(load_profile(PROFILE)):
        pass
    assert not token.exists()
    token.erase()


def test_tokens_are_neither_made_nor_erased_while_a_session_is_open(token: OfficerToken):
    blobs = token.rewrap(VaultOpener(1), (), make_envelopes(LABEL, "vault/1/trusted", 2))
    next(blobs)
    for act in (officer("fresh").initialise, officer("space-b").erase):
        with pytest.raises(StateNotAllowed, match="session is open"):
            act()
    assert not officer("fresh").exists()
    assert officer("space-b").exists()
    assert next(blobs) == ()


# the SO PIN


def test_the_so_pin_changes_and_the_old_one_is_refused(token: OfficerToken, pins: KnownPins):
    token.change_so_pin(NEW_PIN)
    with pytest.raises(PinError):
        token.revoke("server/one")
    pins.officer = {LABEL: NEW_PIN}
    token.revoke("server/one")
    assert "server/one" not in token.labels()


def test_a_change_of_the_so_pin_bears_being_repeated(token: OfficerToken):
    token.change_so_pin(NEW_PIN)
    token.change_so_pin(NEW_PIN)
    log_in(LABEL, NEW_PIN, Login.OFFICER)


def test_with_neither_pin_right_the_so_pin_stays(token: OfficerToken, pins: KnownPins):
    pins.officer = {LABEL: "not-the-pin"}
    with pytest.raises(PinError):
        token.change_so_pin(NEW_PIN)
    log_in(LABEL, SO_PIN, Login.OFFICER)


def test_without_the_officers_secret_no_so_pin_is_tried(token: OfficerToken, pins: KnownPins):
    pins.officer = {}
    for act in (lambda: token.change_so_pin(NEW_PIN), token.erase):
        with pytest.raises(KeyError):
            act()
    log_in(LABEL, SO_PIN, Login.OFFICER)
    assert token.exists()


def test_a_so_pin_of_wrong_length_is_refused_before_the_token_sees_it(
    token: OfficerToken, pins: KnownPins
):
    with pytest.raises(PinError, match="length"):
        token.change_so_pin("abc")
    assert pins.asked == []


# destroying


def test_the_user_destroys_secret_and_trusted_objects_without_the_so_pin(
    token: OfficerToken, pins: KnownPins
):
    counts = [token.destroy(label) for label in ("vault/1", "vault/1/trusted", "manifest/1")]
    assert counts == [1, 1, 2]
    assert [token.destroy(label) for label in ("row-mac/1", "row-mac/1")] == [1, 0]
    assert token.labels() == ("disk-escrow/1", "escrow/1", "server/one", "site-root/1")
    assert ("so", LABEL) not in pins.asked


def test_twins_are_destroyed_together(token: OfficerToken):
    with user(LABEL) as session:
        session.generate_secret(templates.row_mac(numbered(Kind.ROW_MAC, 1)))
    assert token.destroy("row-mac/1") == 2


# dumps


def test_a_dump_names_these_attributes(token: OfficerToken):
    fixed = {"class", "label", "token", "private", "modifiable", "copyable", "destroyable"}
    key = fixed | {"key_type", "local", "key_gen_mechanism", "derive"}
    public = key | {"id", "trusted", "encrypt", "verify", "verify_recover", "wrap"}
    rsa = {"modulus", "public_exponent"}
    secret = key | {"sensitive", "extractable", "always_sensitive", "never_extractable"}
    secret |= {"wrap_with_trusted", "allowed_mechanisms", "decrypt", "sign", "unwrap"}
    private = secret | {"sign_recover", "always_authenticate"}
    mac_key = secret | {"encrypt", "verify", "wrap", "trusted", "value_len"}
    certificate = {"certificate_type", "id", "trusted", "subject", "issuer", "serial_number"}
    expected = {
        ("escrow/1", "PUBLIC_KEY"): public | rsa | {"modulus_bits"},
        ("manifest/1", "PUBLIC_KEY"): public | {"ec_params", "ec_point"},
        ("manifest/1", "PRIVATE_KEY"): private | {"ec_params"},
        ("row-mac/1", "SECRET_KEY"): mac_key,
        ("vault/1", "PRIVATE_KEY"): private | rsa | {"unwrap_template"},
        ("device-anchor/one", "CERTIFICATE"): fixed | certificate | {"value"},
        ("checkpoint-state", "DATA"): fixed | {"application", "value"},
    }
    officer("site").adopt_checkpoint(7, ROOTS[0])
    dumps = token.dump() + officer("space-b").dump() + officer("site").dump()
    shown = {(one["label"], one["class"]): set(one) for one in dumps}
    assert {name: shown[name] for name in expected} == expected


def test_a_dump_shows_what_a_vault_key_makes_of_epoch_keys(token: OfficerToken):
    (vault,) = [one for one in token.dump() if one["label"] == "vault/1"]
    assert vault["allowed_mechanisms"] == ["RSA_PKCS_OAEP"]
    assert vault["unwrap_template"] == {
        "key_type": "AES",
        "sensitive": True,
        "extractable": True,
        "wrap_with_trusted": True,
        "sign": True,
        **dict.fromkeys(("encrypt", "decrypt", "wrap", "unwrap", "derive"), False),
        **dict.fromkeys(("copyable", "modifiable"), False),
    }


def test_a_dump_is_canonical_and_the_same_each_time(token: OfficerToken):
    first = token.dump()
    assert canonical(first) == canonical(token.dump())
    names = [(one["label"], one["class"]) for one in first]
    assert names == sorted(names)
    assert {label for label, _ in names} == set(token.labels())


def test_no_dump_holds_a_secret(token: OfficerToken):
    swk = os.urandom(32)
    token.prove_escrow(swk, token.generate_escrow(swk))
    readable = os.urandom(32)
    with user(LABEL) as session:
        values = dict(templates.row_mac(numbered(Kind.ROW_MAC, 2)).values)
        del values[A.VALUE_LEN]
        weak = {A.SENSITIVE: False, A.EXTRACTABLE: True, A.VALUE: readable}
        handle = session.create(Template({**values, **weak}))
        assert session.read(handle, A.VALUE) == readable
    text = canonical([token.dump(), officer("site").dump()]).decode()
    assert "row-mac/2" in text
    for secret in (swk.hex(), readable.hex(), SO_PIN, PIN, SO_PIN.encode().hex()):
        assert secret not in text


# rows and the log


def space_row(name: str) -> tuple[Space, int]:
    return Space(SpaceName(name), ReleaseClass.TRUSTED, LABEL, 1), 1


def test_sealed_rows_hold_on_the_token_that_sealed_them_alone():
    sealed = officer("site").seal_rows([make_row(*space_row(name)) for name in ("a", "b")])
    officer("site").check_rows(sealed)
    with pytest.raises(IntegrityFailure, match="stored row"):
        officer("space-b").check_rows(sealed)
    with pytest.raises(IntegrityFailure, match="stored row"):
        officer("site").check_rows([sealed[0], SealedRow(sealed[0].row, sealed[1].mac)])


def test_a_row_that_is_none_is_not_sealed(token: OfficerToken):
    row = make_row(*space_row("a"))
    with pytest.raises(InvalidInput):
        token.seal_rows([type(row)(row.kind, "space/b", 1, row.body)])


def test_a_checkpoint_extends_the_last_one():
    of_site = officer("site")
    assert of_site.last_checkpoint(SITE) == (0, EMPTY_ROOT)
    note = of_site.sign_checkpoint(SITE, 1, ROOTS[0], ())
    assert verify_checkpoint(note, origin=SITE, keys=[checkpoint_key()]).root == ROOTS[0]
    assert of_site.last_checkpoint(SITE) == (1, ROOTS[0])
    with pytest.raises(IntegrityFailure, match="extend"):
        of_site.sign_checkpoint(SITE, 1, ROOTS[1], ())


def checkpoint_key() -> ec.EllipticCurvePublicKey:
    with user("site") as session:
        return SiteKeyring(session).checkpoint_key


def test_a_new_token_takes_over_a_head_once():
    of_site = officer("site")
    of_site.adopt_checkpoint(5, ROOTS[0])
    of_site.adopt_checkpoint(5, ROOTS[0])
    assert of_site.last_checkpoint(SITE) == (5, ROOTS[0])
    for size, root in ((5, ROOTS[1]), (6, ROOTS[0])):
        with pytest.raises(AlreadyExists):
            of_site.adopt_checkpoint(size, root)
    with pytest.raises(IntegrityFailure, match="extend"):
        of_site.sign_checkpoint(SITE, 5, ROOTS[1], ())
    assert of_site.sign_checkpoint(SITE, 5, ROOTS[0], ()).startswith(f"{SITE}\n5\n")


@pytest.mark.parametrize(("size", "root"), [(0, EMPTY_ROOT), (-1, ROOTS[0]), (1, b"short")])
def test_what_is_no_head_is_not_taken_over(size: int, root: bytes):
    with pytest.raises(InvalidInput, match="head"):
        officer("site").adopt_checkpoint(size, root)
    assert officer("site").last_checkpoint(SITE) == (0, EMPTY_ROOT)


# one login at a time


def test_while_envelopes_are_rewrapped_the_user_works_and_officers_wait(token: OfficerToken):
    blobs = token.rewrap(VaultOpener(1), ("escrow/1",), make_envelopes(LABEL, "vault/1/trusted", 2))
    next(blobs)
    token.check_rows(token.seal_rows([make_row(*space_row("a"))]))
    with pytest.raises(StateNotAllowed, match="one login at a time"):
        token.revoke("server/one")
    assert len(next(blobs)) == 1
    blobs.close()
    token.revoke("server/one")


def test_an_officer_token_is_a_ceremony_token_and_shows_no_pin(token: OfficerToken):
    under_ceremony: CeremonyToken = token
    spki = under_ceremony.generate_signing(SigningUse.MANIFEST, 2)
    assert isinstance(load_der_public_key(spki), ec.EllipticCurvePublicKey)
    assert repr(token) == "OfficerToken('space-t')"

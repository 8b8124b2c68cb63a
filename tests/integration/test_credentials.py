"""An officer's credential on a token of their own (SoftHSM) or in a file: made, opened, used."""

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pkcs11
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pkcs11 import Attribute, Mechanism, ObjectClass

from kms.ceremonies.software import new_software_credential, open_software_credential
from kms.domain.people import CredentialKind
from kms.errors import AlreadyExists, HsmUnavailable, InvalidInput, NotFound, PinError
from kms.hsm.credential import LABEL, TokenCredential
from kms.hsm.init_token import init_token
from kms.hsm.isolated import run_isolated
from kms.hsm.profile import load_profile
from kms.statements.card import make_card, read_card
from tests.fixtures.hsm import PROFILE

CARD, PIN = "wang-card", "user-pin-22222"


def open_card(home: Path, **changes: str) -> TokenCredential:
    fields = {"module": load_profile(PROFILE).module, "label": CARD, "pin": PIN} | changes
    return TokenCredential(environment={"SOFTHSM2_CONF": str(home / "softhsm2.conf")}, **fields)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two initialised tokens: one with a credential, one empty."""
    folder = tmp_path_factory.mktemp("cards")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder / 'tokens'}\n")
    for label in (CARD, "li-card"):
        environment = {"SOFTHSM2_CONF": str(folder / "softhsm2.conf")}
        run_isolated(environment, init_token, load_profile(PROFILE), label, "so-pin-11111", PIN)
    open_card(folder).generate()
    return folder


def attributes(module: str, wanted: tuple[Attribute, ...]) -> dict[str, object]:
    """Return attributes of the private key; runs in a process of its own."""
    token = pkcs11.lib(module).get_token(token_label=CARD)
    with token.open(user_pin=PIN) as session:
        (key,) = session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
        return {one.name: key[one] for one in wanted} | {"LABEL": key[Attribute.LABEL]}


def abuse(module: str, name: str) -> str:
    """Try what the key must not do, and return how the module refused it."""
    token = pkcs11.lib(module).get_token(token_label=CARD)
    with token.open(user_pin=PIN, rw=True) as session:
        (key,) = session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
        try:
            match name:
                case "read":
                    key[Attribute.VALUE]
                case "change":
                    key[Attribute.DERIVE] = True
                case "copy":
                    key.copy({Attribute.EXTRACTABLE: True})
                case "hash and sign":
                    key.sign(b"any", mechanism=Mechanism.ECDSA_SHA1)
        except pkcs11.exceptions.PKCS11Error as error:
            return type(error).__name__
    return "done"


def on_card(home: Path, function: Callable[..., Any], *arguments: object) -> Any:
    environment = {"SOFTHSM2_CONF": str(home / "softhsm2.conf")}
    return run_isolated(environment, function, load_profile(PROFILE).module, *arguments)


# --- on a token ----------------------------------------------------------------------------------


def test_a_credential_on_a_token_opens_as_what_was_made_and_makes_a_card(home: Path) -> None:
    held = open_card(home).open()
    assert held.credential == open_card(home).open().credential
    card = read_card(make_card("wang-security", held))
    assert card.credential == held.credential
    assert card.credential.kind is CredentialKind.TOKEN


def test_the_private_key_signs_and_does_nothing_else(home: Path) -> None:
    false = ("DECRYPT", "UNWRAP", "DERIVE", "SIGN_RECOVER", "EXTRACTABLE", "MODIFIABLE", "COPYABLE")
    true = ("SIGN", "SENSITIVE", "PRIVATE", "TOKEN", "LOCAL", "ALWAYS_SENSITIVE")
    named = tuple(Attribute[name] for name in (*false, *true))
    found = on_card(home, attributes, named)
    assert found == {
        **dict.fromkeys(false, False),
        **dict.fromkeys(true, True),
        "LABEL": str(LABEL),
    }


@pytest.mark.parametrize("name", ["read", "change", "copy", "hash and sign"])
def test_the_token_refuses_every_other_use_of_it(home: Path, name: str) -> None:
    assert on_card(home, abuse, name) != "done"


def test_a_second_credential_on_a_token_is_refused(home: Path) -> None:
    before = open_card(home).open().credential
    with pytest.raises(AlreadyExists):
        open_card(home).generate()
    assert open_card(home).open().credential == before


def test_a_wrong_pin_is_an_error_that_does_not_repeat_it(home: Path) -> None:
    with pytest.raises(PinError) as caught:
        open_card(home, pin="wrong-pin-9").open()
    assert "wrong-pin-9" not in f"{caught.value.message}{caught.value.hint}"
    open_card(home).open()


def test_neither_token_nor_credential_nor_module_need_be_there(home: Path) -> None:
    with pytest.raises(NotFound, match="no token sun-card"):
        open_card(home, label="sun-card").open()
    with pytest.raises(NotFound, match="no credential") as caught:
        open_card(home, label="li-card").open()
    assert "conclave credential new" in caught.value.hint
    with pytest.raises(HsmUnavailable, match="cannot load"):
        open_card(home, module="/nowhere.so").open()


def test_the_pin_is_in_no_text_about_the_credential(home: Path) -> None:
    assert PIN not in repr(open_card(home))
    assert PIN not in repr(open_card(home).open())


# --- in a file -----------------------------------------------------------------------------------


def nothing() -> bytes:
    raise AssertionError("asked for a passphrase that is not needed")


def test_a_key_file_is_private_and_opens_as_what_was_made(tmp_path: Path) -> None:
    path = tmp_path / "wang.key.pem"
    made = new_software_credential(path, b"")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    held = open_software_credential(path, nothing)
    assert held.credential == made.credential
    assert read_card(make_card("wang", held)).credential.kind is CredentialKind.SOFTWARE


def test_an_encrypted_key_file_opens_by_its_passphrase_alone(tmp_path: Path) -> None:
    path = tmp_path / "wang.key.pem"
    made = new_software_credential(path, b"correct horse")
    assert b"ENCRYPTED" in path.read_bytes()
    assert open_software_credential(path, lambda: b"correct horse").credential == made.credential
    for wrong in (b"another", b""):
        with pytest.raises(InvalidInput, match="does not open"):
            open_software_credential(path, lambda wrong=wrong: wrong)


def test_a_key_file_is_never_overwritten_or_written_through_a_link(tmp_path: Path) -> None:
    path, link = tmp_path / "wang.key.pem", tmp_path / "link.pem"
    new_software_credential(path, b"")
    before = path.read_bytes()
    link.symlink_to(tmp_path / "elsewhere.pem")
    for taken in (path, link):
        with pytest.raises(AlreadyExists):
            new_software_credential(taken, b"")
    assert path.read_bytes() == before
    assert sorted(one.name for one in tmp_path.iterdir()) == ["link.pem", "wang.key.pem"]


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)]
)
def test_another_kind_of_key_is_refused(tmp_path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path = tmp_path / "other.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    with pytest.raises(InvalidInput, match="not a P-256"):
        open_software_credential(path, nothing)
    path.write_text("no key at all")
    with pytest.raises(InvalidInput, match="does not open"):
        open_software_credential(path, nothing)

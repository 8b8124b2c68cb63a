"""An officer's credential on a token of their own (SoftHSM) or in a file: made, opened, used."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pexpect
import pkcs11
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pkcs11 import Attribute, Mechanism, ObjectClass

from kms.ceremonies.people.software import new_software_credential, open_software_credential
from kms.domain.people import CredentialKind
from kms.errors import AlreadyExists, HsmUnavailable, InvalidInput, NotFound, PinError
from kms.hsm.credential import LABEL, TokenCredential
from kms.hsm.init_token import init_token
from kms.hsm.profile import load_profile
from kms.statements.card import make_card, read_card
from tests.fixtures.hsm import PROFILE
from tests.fixtures.isolated import run_isolated

CARD, PIN = "wang-card", "user-pin-22222"


def open_card(home: Path, **changes: str) -> TokenCredential:
    fields = {"module": load_profile(PROFILE).module, "label": CARD, "pin": PIN} | changes
    return TokenCredential(environment={"SOFTHSM2_CONF": str(home / "softhsm2.conf")}, **fields)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three initialised tokens, one of them with a credential."""
    folder = tmp_path_factory.mktemp("cards")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder / 'tokens'}\n")
    for label in (CARD, "li-card", "hu-card"):
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


# --- by the command ------------------------------------------------------------------------------


def typing(home: Path, arguments: Sequence[object], answers: Sequence[tuple[str, str]]) -> str:
    """Run the command at a terminal, type the answers, and return what it showed."""
    command = ["-m", "kms.cli.main", "--lang", "en", "--config", str(config(home))]
    child = pexpect.spawn(
        sys.executable, [*command, *map(str, arguments)], encoding="utf-8", timeout=30
    )
    shown = ""
    for question, answer in answers:
        child.expect_exact(question)
        shown += child.before
        child.sendline(answer)
    child.expect(pexpect.EOF)
    child.close()
    return f"{shown}{child.before}\nexit {child.exitstatus}"


def config(home: Path) -> Path:
    path = home / "conclave.toml"
    path.write_text(
        f'[site]\nid = "test.example"\n[hsm]\nprofile = "{PROFILE}"\n'
        f'[hsm.environment]\nSOFTHSM2_CONF = "{home / "softhsm2.conf"}"\n'
        '[[hsm.tokens]]\nlabel = "site"\n'
    )
    return path


def test_a_newcomer_gets_a_token_a_credential_and_a_card_by_one_command(
    home: Path, tmp_path: Path
) -> None:
    card = tmp_path / "sun.card.jws"
    new = ("credential", "new", "--person", "sun", "--token", "sun-card", "--out", card)
    shown = typing(
        home,
        [*new, "--init-token"],
        [("New PIN of token sun-card: ", "sun-pin-77"), ("The same again: ", "sun-pin-77")],
    )
    assert shown.endswith("exit 0")
    assert "sun-pin-77" not in shown
    held = open_card(home, label="sun-card", pin="sun-pin-77").open()
    assert read_card(card.read_text().strip()).credential == held.credential
    again = typing(home, [*new[:-1], tmp_path / "again.jws"], [("PIN of token", "sun-pin-77")])
    assert "[already_exists] the token has a credential" in again
    copy = tmp_path / "copy.jws"
    typing(home, ["credential", "card", *new[2:-1], copy], [("PIN of token", "sun-pin-77")])
    assert read_card(copy.read_text().strip()) == read_card(card.read_text().strip())


def test_a_pin_mistyped_the_second_time_initialises_nothing(home: Path, tmp_path: Path) -> None:
    new = ("credential", "new", "--person", "he", "--token", "he-card", "--init-token")
    answers = [("New PIN", "he-pin-88"), ("The same again: ", "he-pin-89")]
    shown = typing(home, [*new, "--out", tmp_path / "card.jws"], answers)
    assert "[invalid_input] what was typed the second time" in shown
    with pytest.raises(NotFound, match="no token he-card"):
        open_card(home, label="he-card").open()


def test_a_laptop_without_a_configuration_names_the_module(home: Path, tmp_path: Path) -> None:
    module, out = load_profile(PROFILE).module, tmp_path / "card.jws"
    document, source = os.pipe()
    os.write(source, f'{{"hu-card": "{PIN}"}}'.encode())
    os.close(source)
    options = ("--person", "hu", "--token", "hu-card", "--module", module, "--pin-fd", document)
    ended = subprocess.run(
        [sys.executable, "-m", "kms.cli.main", "credential", "new"]
        + [str(one) for one in (*options, "--out", out)],
        env={**os.environ, "SOFTHSM2_CONF": str(home / "softhsm2.conf")},
        pass_fds=(document,),
        check=False,
        capture_output=True,
        text=True,
    )
    os.close(document)
    assert ended.returncode == 0, ended.stderr
    assert read_card(out.read_text().strip()).credential.kind is CredentialKind.TOKEN


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

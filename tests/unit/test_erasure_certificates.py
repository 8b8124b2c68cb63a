"""conclave certificate, given a certificate of erasure: shown, verified offline, printed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kms.cli import erasure_view
from kms.cli.exits import Exit
from kms.documents.markdown import render_markdown
from kms.documents.paper import SignatureLines
from kms.documents.pdf import render_pdf
from kms.i18n import Language, _, language, speak
from kms.statements import jws, keylist
from kms.statements.canonical import b64u
from kms.statements.erasure import METHOD, ErasureCertificate, Slots, is_erasure, sign_erasure
from kms.statements.keylist import KeyList, KeyUse, ListedKey
from tests.fixtures.cli import Cli

SITE = "hq.bank.example"
ROOT, MANIFEST = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
KID = jws.spki_id(MANIFEST.public_key())
FOUND = ErasureCertificate(
    iss=SITE, space="treasury", disk="01930000-0000-7000-8000-00000000000a", serial="WD-1",
    label="archive", operation="disk.erase",
    request="01930000-0000-7000-8000-00000000000b", digest="A" * 43,
    keks=3, escrow=2, method=METHOD, slots=Slots.ERASED, erased=10, issued=11, executor="console",
    requester="chen-admin", supervisors=("li", "wang"),
)  # fmt: skip


def der(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def signed(found: ErasureCertificate, key: ec.EllipticCurvePrivateKey = MANIFEST) -> str:
    return sign_erasure(found, jws.spki_id(key.public_key()), jws.private_signer(key))


@pytest.fixture
def trust(tmp_path: Path) -> tuple[Any, ...]:
    """The options that name the site's key list and root."""
    listed = ListedKey(KID, KeyUse.MANIFEST, "treasury", b64u(der(MANIFEST)), 1)
    payload = keylist.encode_keylist(KeyList(SITE, 1, 1, (listed,)))
    kid, signer = jws.spki_id(ROOT.public_key()), jws.private_signer(ROOT)
    token = jws.sign(payload, typ=keylist.TYP, kid=kid, signer=signer)
    (tmp_path / "keys.jws").write_text(token)
    pem = ROOT.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "root.pem").write_bytes(pem)
    return ("--key-list", tmp_path / "keys.jws", "--site-root", tmp_path / "root.pem")


def test_it_is_verified_offline_and_says_what_was_erased(
    cli: Cli, tmp_path: Path, trust: tuple[Any, ...]
) -> None:
    file = tmp_path / "erased.jws"
    file.write_text(signed(FOUND) + "\n")
    ended = cli("certificate", "verify", file, *trust)
    assert ended.code == Exit.OK
    assert "The certificate holds" in ended.err
    assert "KEK (3)" in ended.out
    assert "escrow generation 2" in ended.out
    says = json.loads(cli("certificate", "verify", file, *trust, "--json").out)["says"]
    assert (says["serial"], says["slots"], says["supervisors"]) == (
        "WD-1",
        "erased",
        ["li", "wang"],
    )


@pytest.mark.parametrize(
    "text",
    [
        signed(FOUND, ec.generate_private_key(ec.SECP256R1())),
        signed(replace(FOUND, space="banking")),
        signed(replace(FOUND, iss="other.example")),
        signed(replace(FOUND, method="hope")),
        signed(FOUND)[:-4] + "AAAA",
    ],
    ids=["stranger", "space", "site", "method", "signature"],
)
def test_one_that_does_not_hold_is_refused(
    cli: Cli, tmp_path: Path, trust: tuple[Any, ...], text: str
) -> None:
    assert is_erasure(text)
    file = tmp_path / "erased.jws"
    file.write_text(text)
    ended = cli("certificate", "verify", file, *trust)
    assert ended.code == Exit.INVALID
    assert "[verification_failed]" in ended.err
    assert not ended.out


@pytest.mark.parametrize("spoken", Language)
@pytest.mark.parametrize("found", [FOUND, replace(FOUND, slots=Slots.ABSENT, escrow=0)])
def test_it_prints_in_both_languages(spoken: Language, found: ErasureCertificate) -> None:
    before = language()
    speak(spoken)
    try:
        assert render_pdf(erasure_view.paper(found, "practice"), 11).startswith(b"%PDF")
    finally:
        speak(before)


def test_the_request_s_digest_is_spelled_as_it_was_when_it_was_signed() -> None:
    spelled = "00" * 32
    assert erasure_view.row(FOUND)["digest_hex"] == spelled
    assert erasure_view.document(FOUND)["digest"] == "A" * 43
    facts = [cell for row in erasure_view.paper(FOUND).blocks[0].rows for cell in row]
    assert f"`{spelled}`" in facts
    assert "archive" in facts


def test_every_signature_has_a_line_for_its_date() -> None:
    paper = erasure_view.paper(FOUND)
    lines = paper.blocks[-1]
    assert lines == SignatureLines(("chen-admin", "li", "wang"), _("Date"))
    last = render_markdown(paper).rstrip().splitlines()[-1]
    assert last == f"- wang: ____________________ {_('Date')}: __________"


def test_it_is_written_as_pdf_and_never_over_another_file(cli: Cli, tmp_path: Path) -> None:
    file, pdf = tmp_path / "erased.jws", tmp_path / "erased.pdf"
    file.write_text(signed(FOUND))
    config = ("--config", tmp_path / "none.toml")
    assert cli("certificate", "print", file, "--out", pdf, *config).code == Exit.CONFIGURATION
    assert cli("certificate", "print", file, "--out", pdf).code == Exit.OK
    assert pdf.read_bytes().startswith(b"%PDF")
    assert cli("certificate", "print", file, "--out", pdf).code == Exit.EXISTS


def test_what_could_still_open_it_is_said_as_it_is() -> None:
    before = language()
    speak(Language.EN)
    try:
        row = erasure_view.row(replace(FOUND, slots=Slots.ABSENT))
        assert "nothing on it was overwritten" in row["device"]
        assert "a quorum of escrow generation 2" in row["remains"]
        never = erasure_view.remains(replace(FOUND, escrow=0))
        assert never == "Nothing: no recovery key was ever put under escrow."
    finally:
        speak(before)

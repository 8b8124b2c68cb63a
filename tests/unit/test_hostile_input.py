"""Plans and keys from people who mean harm: refused with a sentence, never a crash, and nothing in
them moves what is shown beside them.
"""

import base64
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kms.ceremonies.plan import parse_plan
from kms.ceremonies.record.folder import Folder
from kms.ceremonies.steps.state import site_root
from kms.ceremonies.steps.trusted import TrustedKind, load_public
from kms.cli.inputs import read_private_key, read_root
from kms.cli.plan_view import spoken
from kms.domain.text import visible
from kms.errors import IntegrityFailure, InvalidInput, VerificationFailed
from kms.hsm.publickeys import load_anchor, load_p256, load_rsa
from kms.practice.certificates import make_authority
from kms.statements.keylist import load_ec
from tests.fixtures.ceremonies import PLAN, FolderFiles

P256 = bytes.fromhex("06082a8648ce3d030107")
UNKNOWN = bytes.fromhex("06082a8648ce3d030163")
"""Object identifiers of P-256, and of a curve that nobody knows."""
SPKI = (
    ec.generate_private_key(ec.SECP256R1())
    .public_key()
    .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    .replace(P256, UNKNOWN)
)


def pem(kind: str, der: bytes) -> str:
    text = base64.encodebytes(der).decode()
    return f"-----BEGIN {kind}-----\n{text}-----END {kind}-----\n"


KEY = pem("PUBLIC KEY", SPKI)


def plan(parameters: str = "", **fields: str) -> bytes:
    text = PLAN.format(id="trial-1", word="x") + parameters
    for name, value in fields.items():
        lines = [f"{name} = {value}" if one.startswith(f"{name} = ") else one
                 for one in text.split("\n")]  # fmt: skip
        text = "\n".join(lines)
    return text.encode()


def test_the_plan_itself_is_taken() -> None:
    certificate = f'key = """\n{KEY}"""\n'
    assert parse_plan(plan(certificate)).file.id == "trial-1"


@pytest.mark.parametrize(
    "parameters",
    [
        "x = " + "[" * 50_000 + "]" * 50_000,
        "x = " + "[" * 40 + "]" * 40,
        "x = " + "{a=" * 20_000 + "1" + "}" * 20_000,
        ".".join("a" * 20_000) + " = 1",
        "x = " + "9" * 10_000,
        'x = "\\u001b[2J"',
        'x = "one\\ntwo"',
        'x = "\\u202egnp"',
        'x = "zero\\u200bwidth"',
        '"\\u001b[31m" = "x"',
        '[[parameters.people]]\nname = "\\u2066x"',
        'x = "-----BEGIN \\u001b[2J"',
    ],
)
def test_a_plan_that_would_move_or_hide_text_or_has_no_end_is_refused(parameters: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_plan(plan(parameters))
    assert visible(caught.value.message) == caught.value.message


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("purpose", '"Routine.\\nTo approve: SHA-256 00"'),
        ("administrator", '"chen-admin\\u200b"'),
        ("expires", "2027-01-20T00:00:00+08:00"),
        ("expires", "2027-01-20T00:00:00"),
    ],
)
def test_what_people_read_first_is_what_it_looks_like(field: str, value: str) -> None:
    with pytest.raises(InvalidInput):
        parse_plan(plan(**{field: value}))


def test_a_key_of_an_unknown_kind_is_refused_wherever_it_comes_in(tmp_path: Path) -> None:
    file = tmp_path / "site-root-1.pem"
    file.write_text(KEY)
    private = tmp_path / "private.pem"
    private.write_text(pem("PRIVATE KEY", SPKI))
    authority = make_authority("Devices").certificate.public_bytes(Encoding.DER)
    anchor = authority.replace(P256, UNKNOWN)
    shown = pem("CERTIFICATE", anchor)
    refusals = (
        (InvalidInput, lambda: load_rsa(SPKI)),
        (InvalidInput, lambda: load_p256(SPKI)),
        (InvalidInput, lambda: load_anchor(anchor)),
        (InvalidInput, lambda: load_public(TrustedKind.SERVER, KEY)),
        (InvalidInput, lambda: load_public(TrustedKind.DEVICE_ANCHOR, shown)),
        (InvalidInput, lambda: read_root(file)),
        (InvalidInput, lambda: read_private_key(private, None)),
        (VerificationFailed, lambda: load_ec(SPKI, "")),
        (IntegrityFailure, lambda: site_root(FolderFiles(tmp_path))),
    )
    for kind, refusal in refusals:
        with pytest.raises(kind):
            refusal()
    assert (spoken(KEY), spoken(shown)) == (KEY, shown)


def test_a_site_root_that_is_no_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "site-root-1.pem").write_text("nothing")
    with pytest.raises(IntegrityFailure, match=r"site-root-1\.pem"):
        site_root(FolderFiles(tmp_path))


@pytest.mark.parametrize("kind", ["link", "pipe", "endless"])
def test_a_folder_on_a_strangers_stick_neither_hangs_nor_fills_the_memory(
    tmp_path: Path, kind: str
) -> None:
    (tmp_path / "request.json").write_text("{}")
    path = tmp_path / "plan.toml"
    if kind == "link":
        path.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.touch()
        os.truncate(path, 1 << 40)
    with pytest.raises(InvalidInput, match=r"plan\.toml"):
        Folder(tmp_path).plan()

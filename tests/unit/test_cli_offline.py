"""``audit verify`` and ``envelope open``: no service, no configuration, no HSM, no network.

Evidence and envelopes are made in software here; end-to-end tests use those of a real site.
"""

import base64
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kms.cli.inputs import read_root
from kms.client.keys import EnvelopeOpener, SiteTrust
from kms.statements import jws
from tests.fixtures.cli import Cli
from tests.fixtures.evidence import Site, new_key
from tests.practice.issuer import MEETING, SPACE, Issuer, device_key

# --- audit verify --------------------------------------------------------------------------------


def pem_of(key: ec.EllipticCurvePublicKey) -> bytes:
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(encoding, form)


@dataclass(frozen=True)
class Evidence:
    bundle: Path
    root: Path
    note: Path


@pytest.fixture
def evidence(tmp_path: Path) -> Evidence:
    site = Site()
    site.start()
    site.space("treasury")
    room = site.open("treasury", "alice", "bob")
    site.checkpoint()
    site.change(room, "alice")
    site.fetch(room, "alice")
    site.checkpoint()
    files = Evidence(tmp_path / "bundle.db", tmp_path / "root.pem", tmp_path / "early.note")
    files.note.write_text(site.notes()[0], "utf-8")
    files.root.write_bytes(pem_of(site.root_key.public_key()))
    site.write(files.bundle)
    return files


def verify(cli: Cli, files: Evidence, *more: object) -> tuple[int, str]:
    ended = cli("audit", "verify", files.bundle, "--site-root", files.root, *more)
    return ended.code, ended.out


def test_a_sound_bundle_is_confirmed_in_plain_words(cli: Cli, evidence: Evidence) -> None:
    code, text = verify(cli, evidence, "--checkpoint", evidence.note)
    assert code == 0
    assert "Conclusion: everything holds." in text
    code, text = verify(cli, evidence, "--checkpoint", evidence.note, "--lang", "zh")
    assert code == 0
    assert "全部通过" in text


def test_with_json_the_report_is_one_document(cli: Cli, evidence: Evidence) -> None:
    _code, text = verify(cli, evidence, "--json", "--checkpoint", evidence.note)
    report = json.loads(text)
    assert report["verdict"] == "pass"
    assert report["site"] == "hq.bank.example"


def test_a_bundle_under_another_root_ends_with_65_and_a_report(
    cli: Cli, evidence: Evidence
) -> None:
    evidence.root.write_bytes(pem_of(new_key().public_key()))
    code, text = verify(cli, evidence)
    assert code == 65
    assert "Do not rely on this evidence" in text


def test_a_rewritten_log_is_found_by_the_checkpoint_that_the_auditor_kept(
    cli: Cli, evidence: Evidence
) -> None:
    lines = evidence.note.read_text("utf-8").splitlines(keepends=True)
    lines[2] = base64.b64encode(bytes(32)).decode() + "\n"
    evidence.note.write_text("".join(lines), "utf-8")
    assert verify(cli, evidence, "--checkpoint", evidence.note)[0] == 65


def test_a_bundle_that_is_not_there_is_no_verdict_on_evidence(cli: Cli, evidence: Evidence) -> None:
    evidence.bundle.unlink()
    code, text = verify(cli, evidence)
    assert code == 66
    assert "FAIL" not in text


@pytest.mark.parametrize("content", [b"", b"not a database", b"SQLite format 3\0" + bytes(100)])
def test_a_file_that_is_no_bundle_is_reported_not_crashed_on(
    cli: Cli, evidence: Evidence, content: bytes
) -> None:
    evidence.bundle.write_bytes(content)
    code, text = verify(cli, evidence)
    assert code == 65
    assert "FAIL" in text


@pytest.mark.parametrize("content", ["", "not a key", "-----BEGIN PUBLIC KEY-----\nAA==\n"])
def test_a_root_that_is_no_key_is_refused(cli: Cli, evidence: Evidence, content: str) -> None:
    evidence.root.write_text(content)
    assert verify(cli, evidence)[0] == 65


def test_verifying_imports_neither_hsm_nor_store_nor_network_and_reads_no_configuration(
    evidence: Evidence,
) -> None:
    code = (
        "import sys; from kms.cli.main import run;"
        "code = run(sys.argv[1:]);"
        "heavy = {'pkcs11', 'sqlalchemy', 'alembic', 'httpx2', 'starlette', 'uvicorn', 'kms.hsm',"
        " 'kms.store', 'kms.client', 'kms.settings', 'kms.bootstrap'};"
        "print(code, sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    arguments = ["audit", "verify", str(evidence.bundle), "--site-root", str(evidence.root)]
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert ended.stderr.strip() == "0 []"


# --- envelope open -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Received:
    envelope: Path
    key: Path
    key_list: Path
    root: Path
    document: dict[str, object]

    def arguments(self) -> list[object]:
        trust = ["--key-list", self.key_list, "--site-root", self.root]
        return ["envelope", "open", self.envelope, "--key", self.key, *trust]


def private_pem(encryption: serialization.KeySerializationEncryption) -> bytes:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return device_key(0).private_bytes(encoding, form, encryption)


@pytest.fixture
def received(tmp_path: Path) -> Received:
    issuer = Issuer(wrap_alg="RSA-OAEP-256")
    issued = issuer.mint([device_key(0), device_key(1)], epoch=3)
    names = ("envelope.json", "key.pem", "keys.jws", "root.pem")
    document = {
        "space": SPACE,
        "meeting": MEETING,
        "epoch": 3,
        "recipient": jws.spki_id(device_key(0).public_key()),
        "manifest": issued.token,
        "blob": base64.b64encode(issued.blobs[0]).decode(),
    }
    files = Received(*(tmp_path / name for name in names), document=document)
    files.envelope.write_text(json.dumps(document))
    files.key.write_bytes(private_pem(serialization.NoEncryption()))
    files.key_list.write_text(issuer.key_list() + "\n")
    files.root.write_bytes(pem_of(issuer.root.public_key()))
    return files


def test_an_envelope_opens_offline_and_names_every_reader(cli: Cli, received: Received) -> None:
    ended = cli(*received.arguments(), "--json")
    assert ended.code == 0
    opened = json.loads(ended.out)
    assert opened["commitment_holds"] is True
    assert opened["subject"] == f"{SPACE}/{MEETING}/3"
    assert [reader["you"] for reader in opened["readers"]] == [True, False]


def test_no_key_is_ever_printed(cli: Cli, received: Received) -> None:
    trust = SiteTrust(
        "practice.example", read_root(received.root), received.key_list.read_text().strip()
    )
    opener = EnvelopeOpener(trust, device_key(0), "RSA-OAEP-256")
    blob = base64.b64decode(str(received.document["blob"]))
    manifest = str(received.document["manifest"])
    key = opener.open(manifest, blob, space=SPACE, meeting=MEETING, epoch=3).base_key
    for more in ([], ["--json"]):
        ended = cli(*received.arguments(), *more)
        text = ended.out + ended.err
        assert key.hex() not in text
        assert base64.b64encode(key).decode().rstrip("=") not in text
        assert base64.urlsafe_b64encode(key).decode().rstrip("=") not in text


def test_a_downgraded_algorithm_is_refused(cli: Cli, received: Received) -> None:
    ended = cli(*received.arguments(), "--wrap-alg", "RSA-OAEP")
    assert ended.code == 65
    assert "[envelope_refused]" in ended.err


@pytest.mark.parametrize("field", ["blob", "manifest", "epoch", "space", "meeting"])
def test_a_changed_envelope_is_refused(cli: Cli, received: Received, field: str) -> None:
    changes = {
        "blob": base64.b64encode(bytes(256)).decode(),
        "manifest": str(received.document["manifest"])[:-2] + "AA",
        "epoch": 4,
        "space": "treasury",
        "meeting": "0193a5b0-7c3e-7000-8000-0123456789ac",
    }
    received.envelope.write_text(json.dumps({**received.document, field: changes[field]}))
    ended = cli(*received.arguments())
    assert ended.code == 65
    assert not ended.out


def test_another_sites_root_is_refused(cli: Cli, received: Received) -> None:
    received.root.write_bytes(pem_of(new_key().public_key()))
    assert cli(*received.arguments()).code == 65


def test_the_password_of_a_private_key_comes_by_descriptor(cli: Cli, received: Received) -> None:
    received.key.write_bytes(private_pem(serialization.BestAvailableEncryption(b"long secret")))
    refused = cli(*received.arguments())
    assert refused.code == 65
    assert "--password-fd" in refused.err
    read_end, write_end = os.pipe()
    os.write(write_end, b"long secret\n")
    os.close(write_end)
    assert cli(*received.arguments(), "--password-fd", read_end).code == 0

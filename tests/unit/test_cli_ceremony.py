"""``conclave ceremony`` without tokens: plans, what is shown before anybody signs, refusals."""

import io
import json
import re
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from kms.ceremonies.catalogue import CEREMONIES, read_brief
from kms.ceremonies.paper.blank import Known, blank_plan
from kms.ceremonies.paper.sample import example_brief, example_site
from kms.ceremonies.people.software import new_software_credential
from kms.ceremonies.people.words import digest_words
from kms.ceremonies.plan import parse_plan
from kms.ceremonies.record.folder import Folder
from kms.ceremonies.record.journal import Journal
from kms.ceremonies.record.request import make_request
from kms.ceremonies.steps.certificate import Certificate, Destroyed
from kms.cli.premises import founding_brief
from kms.errors import InvalidInput, VerificationFailed
from kms.practice.layout import PEOPLE, SITE_TOKEN
from kms.practice.plans import Writer, plan_time
from kms.statements.canonical import encode_record, unb64u
from kms.statements.card import make_card
from tests.fixtures.cli import Cli
from tests.unit.test_cli_offline import pem_of

SITE = "hq.bank.example"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The configuration of a site that is not founded yet."""
    path = tmp_path / "conclave.toml"
    path.write_text(
        f'[site]\nid = "{SITE}"\n[paths]\nstate = "{tmp_path}/state"\n'
        f'[hsm]\nprofile = "none.toml"\n[[hsm.tokens]]\nlabel = "{SITE_TOKEN}"\n'
        "[ceremonies]\nsoftware_credentials = true\n"
    )
    return path


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """The plan that founds the site, with everybody's card; their keys lie beside it."""
    cards = {
        one.name: make_card(one.name, new_software_credential(tmp_path / f"{one.name}.pem", b""))
        for one in PEOPLE
    }
    _name, text = next(Writer(SITE, plan_time(time.time())).all(cards, {}, ""))
    path = tmp_path / "plan.toml"
    path.write_text(text)
    return path


@pytest.fixture
def folder(tmp_path: Path, plan: Path) -> Path:
    """The folder of that ceremony, which was called."""
    brief = founding_brief(parse_plan(plan.read_bytes()))
    path = tmp_path / "state" / "ceremonies" / brief.plan.file.id
    path.parent.mkdir(parents=True)
    Journal.create(path, brief.plan.raw, make_request(brief, int(time.time())))
    return path


# --- plans ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CEREMONIES)
def test_a_new_plan_of_every_kind_is_for_this_site_and_can_be_read(
    cli: Cli, config: Path, kind: str
) -> None:
    ended = cli("--config", config, "ceremony", "plan", "new", kind)
    assert ended.code == 0
    read = parse_plan(ended.out.encode())
    assert (read.file.site, read.file.ceremony) == (SITE, kind)
    assert all(line.startswith(("#", "")) for line in ended.out.splitlines())


def test_a_new_plan_never_overwrites_a_file(cli: Cli, config: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.toml"
    assert cli("--config", config, "ceremony", "plan", "new", "drill", "--out", out).code == 0
    assert cli("--config", config, "ceremony", "plan", "new", "drill", "--out", out).code == 73


@pytest.mark.parametrize(
    "kind", ["recover", "recover-disk", "register-recipient", "replace-officer"]
)
def test_a_new_plan_has_no_key_that_nobody_of_the_site_holds(kind: str) -> None:
    example = example_brief(CEREMONIES[kind])
    known = Known(example.site.site, ("treasury",), 1, example.register, ())
    text = blank_plan(CEREMONIES[kind], known, int(time.time()))
    assert "FILL IN" in text
    assert not re.search(r'"eyJ|^MII|tls_key = "[^F]', text, re.MULTILINE)
    with pytest.raises((InvalidInput, VerificationFailed)):
        read_brief(parse_plan(text.encode()), known.register, "", example_site(example.plan))


def test_a_checked_plan_shows_its_digest_in_words_and_who_must_sign(
    cli: Cli, config: Path, plan: Path
) -> None:
    ended = cli("--config", config, "ceremony", "plan", "check", plan, "--json")
    assert ended.code == 0, ended.err
    document = json.loads(ended.out)
    read = parse_plan(plan.read_bytes())
    assert document["sha256"] == read.sha256.hex()
    assert document["words"] == list(digest_words(read.sha256))
    assert document["must_sign"]["people"] == ["chen-admin", "liu-witness", "zhao-auditor"]
    assert {name: one["threshold"] for name, one in document["must_sign"]["groups"].items()} == {
        "security": 3,
        "legal": 2,
    }


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("version = 1", "version = 1\nsurprise = 1", "surprise"),
        ('auditor = "zhao-auditor"', 'auditor = "liu-witness"', "names a person twice"),
        ('witness = "liu-witness"', 'witness = "nobody"', "nobody"),
        (f'site = "{SITE}"', 'site = "other.example"', "other.example"),
        ("expires = 20", "expires = 19", "expired"),
    ],
)
def test_a_plan_that_does_not_hold_is_refused_with_the_reason(
    cli: Cli, config: Path, plan: Path, old: str, new: str, told: str
) -> None:
    plan.write_text(plan.read_text().replace(old, new, 1))
    ended = cli("--config", config, "ceremony", "plan", "check", plan)
    assert ended.code != 0
    assert told in ended.err


def test_the_handbook_of_a_plan_names_every_command_that_is_typed(
    cli: Cli, config: Path, plan: Path
) -> None:
    text = cli("--config", config, "ceremony", "handbook", plan).out
    commands = set(re.findall("`(conclave ceremony [a-z]+)", text))
    assert {f"conclave ceremony {word}" for word in ("run", "sign", "verify")} <= commands


# --- signing -------------------------------------------------------------------------------------


def last_word(folder: Path) -> str:
    return digest_words(unb64u(Folder(folder).request().digest()))[-1]


def sign(cli: Cli, folder: Path, person: str, key: Path) -> tuple[int, str]:
    ended = cli("ceremony", "sign", "--folder", folder, "--person", person, "--key", key)
    return ended.code, ended.err


def type_in(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Type lines; the process of the tests itself is not hardened."""
    monkeypatch.setattr("kms.cli.ceremony_sign.harden", lambda: None)
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def test_an_approval_is_written_once_the_last_word_was_typed(
    cli: Cli, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_in(monkeypatch, "wrong", last_word(folder).upper())
    code, shown = sign(cli, folder, "wang-security", tmp_path / "wang-security.pem")
    assert code == 0, shown
    assert set(Folder(folder).approvals()) == {"wang-security"}


@pytest.mark.parametrize(
    ("person", "key", "word", "told"),
    [
        ("wang-security", "wang-security", "wrong", "the last word was not typed"),
        ("wang-security", "sun-security", "", "the credential of sun-security"),
        ("somebody", "sun-security", "", "does not take part"),
    ],
)
def test_nothing_is_written_for_a_wrong_word_key_or_person(
    cli: Cli,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    person: str,
    key: str,
    word: str,
    told: str,
) -> None:
    type_in(monkeypatch, *([word or last_word(folder)] * 3))
    code, shown = sign(cli, folder, person, tmp_path / f"{key}.pem")
    assert code != 0
    assert told in shown
    assert not Folder(folder).approvals()


def test_only_one_set_of_eight_words_is_on_the_screen_of_whoever_signs(
    cli: Cli, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_in(monkeypatch, "wrong", last_word(folder))
    code, shown = sign(cli, folder, "wang-security", tmp_path / "wang-security.pem")
    assert code == 0
    assert "That is not the last of the eight words above." in shown
    plans = " ".join(digest_words(Folder(folder).plan().sha256))
    assert plans not in shown


# --- what is there -------------------------------------------------------------------------------


def test_a_called_ceremony_is_listed_and_its_exceptions_are_shown(
    cli: Cli, config: Path, folder: Path
) -> None:
    (one,) = json.loads(cli("--config", config, "ceremony", "list", "--json").out)["items"]
    assert (one["state"], one["transcript"]) == ("called", None)
    assert cli("--config", config, "ceremony", "exception", folder.name, "a bag is torn").code == 0
    shown = json.loads(cli("--config", config, "ceremony", "show", folder.name, "--json").out)
    assert [told["text"] for told in shown["exceptions"]] == ["a bag is torn"]


def test_nothing_is_added_to_a_ceremony_that_is_over(
    cli: Cli, config: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal.open(folder)
    journal.progress.recorded = "the transcript's digest"
    monkeypatch.setattr(Journal, "open", lambda _folder: journal)
    ended = cli("--config", config, "ceremony", "exception", folder.name, "too late")
    assert ended.code == 75
    assert "on the printed transcript by hand" in ended.err


def test_a_file_that_is_no_transcript_is_no_verdict_but_a_refusal(cli: Cli, tmp_path: Path) -> None:
    root = tmp_path / "root.pem"
    root.write_bytes(pem_of(ec.generate_private_key(ec.SECP256R1()).public_key()))
    (tmp_path / "transcript.json").write_text("{}")
    ended = cli("ceremony", "verify", tmp_path / "transcript.json", "--site-root", root)
    assert ended.code == 65
    assert "CV-01 [✗]" in ended.out
    assert "it does not hold" in ended.out


def test_a_certificate_of_destruction_is_printed_as_pdf(cli: Cli, tmp_path: Path) -> None:
    destroyed = Destroyed("escrow key", "SeNi4fp_blkyHgW1UDw", "site", "destroyed on the token")
    people = ("chen-admin", "liu-witness", "zhao-auditor")
    file, out = tmp_path / "certificate.json", tmp_path / "certificate.pdf"
    certificate = Certificate(SITE, "gone-2026", 1_790_000_000, *people, (destroyed,), "none")
    file.write_bytes(encode_record(certificate))
    ended = cli("ceremony", "print", file, "--out", out)
    assert ended.code == 0, ended.err
    assert out.read_bytes().startswith(b"%PDF")

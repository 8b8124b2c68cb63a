"""Whoever writes to the state directory puts an older or another statement there: no ceremony is
held under it, and no token comes to trust what it names.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kms.audit.leaf import LeafDraft, Outcome, Phase
from kms.bootstrap.files import StateFiles
from kms.ceremonies.steps.generations import EscrowRecord
from kms.ceremonies.steps.state import current_register
from kms.domain.people import Part
from kms.errors import IntegrityFailure
from kms.ports import Unit
from kms.practice import PracticeSite
from kms.statements import archive, jws
from kms.statements.canonical import b64u, canonical, digest, encode_record
from kms.statements.keylist import TYP as KEY_LIST
from kms.statements.register import TYP as REGISTER
from kms.store.sqlite import SqliteStore
from tests.fixtures.escrowed import hold, order
from tests.fixtures.founded import founded_site, hold_isolated, killed_at, plan_path
from tests.fixtures.softhsm import clone_site
from tests.fixtures.store import TestClock
from tests.scenarios.restoration import burn, restore_parameters

SPACE = "create-investment-banking"


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> PracticeSite:
    return founded_site(tmp_path_factory.mktemp("founded") / "site")


@pytest.fixture(scope="module")
def drilled(founded: PracticeSite) -> Iterator[PracticeSite]:
    """A site with a second register."""
    with TemporaryDirectory(prefix="cv-") as folder:
        site = clone_site(founded, Path(folder, "s"))
        order(site, "drill", "generation = 1\n", officers=officers(site))
        hold_isolated(site, "drill")
        yield site


def officers(site: PracticeSite) -> list[str]:
    register, _token = current_register(StateFiles(site.state))
    return [one.name for one in register.people if one.part is Part.OFFICER]


@pytest.fixture
def site(founded: PracticeSite) -> Iterator[PracticeSite]:
    with TemporaryDirectory(prefix="cv-") as folder:
        yield clone_site(founded, Path(folder, "s"))


@pytest.fixture
def later(drilled: PracticeSite) -> Iterator[PracticeSite]:
    with TemporaryDirectory(prefix="cv-") as folder:
        yield clone_site(drilled, Path(folder, "s"))


def refused(site: PracticeSite, what: str) -> None:
    lists = sorted(site.state.glob("key-list-*"))
    with pytest.raises(IntegrityFailure, match=what):
        hold_isolated(site, SPACE)
    assert sorted(site.state.glob("key-list-*")) == lists


def test_the_newest_statements_are_taken(later: PracticeSite) -> None:
    hold_isolated(later, SPACE)


def test_an_older_register_does_not_count_once_the_newer_is_gone(later: PracticeSite) -> None:
    (later.state / "register-2.jws").unlink()
    refused(later, "register of people is not number 2")


def test_an_older_register_under_a_higher_number_does_not_count(later: PracticeSite) -> None:
    old = (later.state / "register-1.jws").read_bytes()
    (later.state / "register-3.jws").write_bytes(old)
    refused(later, "register of people is not number 2")


def test_a_root_of_somebody_elses_signs_nothing_that_counts(site: PracticeSite) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (site.state / "site-root-2.pem").write_bytes(pem)
    for name, typ in (("register-{}.jws", REGISTER), ("key-list-{}.jws", KEY_LIST)):
        token = (site.state / name.format(1)).read_text()
        payload = jws.unverified_payload(token, typ=typ)
        forged = jws.sign(payload, typ=typ, kid=jws.spki_id(public), signer=jws.private_signer(key))
        (site.state / name.format(2)).write_text(forged)
    refused(site, "trusts another key as site-root/1")


def test_an_older_key_list_under_a_higher_number_does_not_count(site: PracticeSite) -> None:
    old = (site.state / "key-list-1.jws").read_bytes()
    (site.state / "key-list-2.jws").write_bytes(old)
    refused(site, "key list is not number 1")


def test_a_journal_does_not_tell_which_keys_are_the_tokens(site: PracticeSite) -> None:
    assert killed_at(site, SPACE, "The site root signs a key list")
    spki = jws.spki_der(ec.generate_private_key(ec.SECP256R1()).public_key())
    journal = site.state / "ceremonies" / SPACE / "journal.jsonl"
    lines = [json.loads(line) for line in journal.read_bytes().splitlines()]
    for line in lines:
        if line["event"] == "step-done" and line["step"].startswith("token/manifest/"):
            line["facts"] = {"kid": digest(spki), "spki": b64u(spki)}
    journal.write_bytes(b"".join(canonical(line) + b"\n" for line in lines))
    refused(site, "trusts another key as manifest/1")


def write_record(site: PracticeSite, number: int, spki: bytes, disk_spki: bytes) -> None:
    record = EscrowRecord(number, "00" * 8, b64u(spki), b64u(disk_spki))
    (site.state / f"escrow-{number}.json").write_bytes(encode_record(record))


def plant_generation(site: PracticeSite, number: int) -> None:
    """Write what tells of an escrow generation: a leaf, and files with a key of one's own."""
    spki = jws.spki_der(rsa.generate_private_key(65537, 4096).public_key())
    write_record(site, number, spki, spki)
    for name in archive.ESCROW_BLOBS:
        (site.state / name.format(number)).write_bytes(bytes(2400))
    told = {"ceremony": "c-0", "generation": number}
    told |= {"spki": digest(spki), "disk_spki": digest(spki)}
    leaf = LeafDraft(
        "escrow.generate", "ceremony/c-0", "plan:", "", f"escrow/{number}", Phase.EVENT,
        Outcome.SUCCEEDED, details=told,
    )  # fmt: skip
    with closing(SqliteStore.open(site.state / "conclave.db", TestClock())) as store:
        asyncio.run(store.commit(Unit(leaves=(leaf,))))


@pytest.mark.parametrize("number", [2, 7])
def test_no_token_trusts_an_escrow_key_that_a_planted_leaf_names(
    site: PracticeSite, number: int
) -> None:
    plant_generation(site, number)
    refused(site, f"token site trusts another key as escrow/{number}")
    plan = order(site, "new-generation", 'reason = "schedule"\n', officers=officers(site))
    with pytest.raises(IntegrityFailure, match="trusts another key as escrow"):
        hold(site, plan)


def test_the_key_of_an_interrupted_replacement_is_not_taken_from_its_journal(
    site: PracticeSite,
) -> None:
    order(site, "new-generation", 'reason = "schedule"\n', officers=officers(site))
    assert killed_at(site, "new-generation", "The log tells of the new escrow generation")
    spki = jws.spki_der(rsa.generate_private_key(65537, 4096).public_key())
    file = site.state / "escrow-2.json"
    file.write_bytes(canonical({**json.loads(file.read_bytes()), "spki": b64u(spki)}))
    journal = site.state / "ceremonies" / "new-generation" / "journal.jsonl"
    lines = [json.loads(line) for line in journal.read_bytes().splitlines()]
    for line in lines:
        if line["event"] == "step-done" and line["step"] == "escrow/escrow-key":
            line["facts"] |= {"kid": digest(spki), "spki": b64u(spki)}
    journal.write_bytes(b"".join(canonical(line) + b"\n" for line in lines))
    with pytest.raises(IntegrityFailure, match="token site trusts another key as escrow/2"):
        hold_isolated(site, "new-generation")


def test_a_burned_site_is_not_restored_under_a_planted_escrow_key(site: PracticeSite) -> None:
    hold_isolated(site, SPACE)
    hold_isolated(site, "create-treasury")
    plant_generation(site, 2)
    burn(site)
    parameters = restore_parameters(site).partition("[[parameters.anchors]]")[0]
    with pytest.raises(IntegrityFailure, match="escrow"):
        hold(site, order(site, "restore-site", parameters, officers=officers(site)))
    assert not (site.state / "site-root-2.pem").exists()


@pytest.mark.parametrize("number", [1, 2])
def test_no_token_trusts_an_escrow_key_that_the_log_does_not_name(
    site: PracticeSite, number: int
) -> None:
    theirs = rsa.generate_private_key(65537, 4096).public_key()
    spki = jws.spki_der(theirs)
    write_record(site, number, spki, spki)
    if number == 1:
        refused(site, "escrow keys are not those of generation 1")
        return
    facts = hold(site, plan_path(site, SPACE))["token/escrow/space-investment-banking"]
    assert facts["generation"] == 1
    assert facts["kid"] != digest(spki)

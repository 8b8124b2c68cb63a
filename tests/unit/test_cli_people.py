"""``people`` and ``credential``: the register as people read it, keys as they make them."""

import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kms.domain.people import Register, Standing
from kms.statements import jws
from kms.statements.card import make_card, read_card
from kms.statements.register import TYP, encode_register
from tests.fixtures.cli import Cli
from tests.fixtures.people import NOW, YEAR, changed, held, register


class State:
    """A state directory with a site root and registers that it signed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, ec.generate_private_key(ec.SECP256R1())
        self.write_root(1, self.root)

    def write_root(self, number: int, key: ec.EllipticCurvePrivateKey) -> Path:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        pem = key.public_key().public_bytes(serialization.Encoding.PEM, form)
        path = self.folder / f"site-root-{number}.pem"
        path.write_bytes(pem)
        return path

    def write(self, number: int, people: Register) -> Path:
        kid, signer = jws.spki_id(self.root.public_key()), jws.private_signer(self.root)
        token = jws.sign(encode_register(people), typ=TYP, kid=kid, signer=signer)
        path = self.folder / f"register-{number}.jws"
        path.write_text(token)
        return path


@pytest.fixture
def state(tmp_path: Path) -> State:
    made = State(tmp_path)
    made.write(1, register())
    return made


# --- people --------------------------------------------------------------------------------------


def test_people_are_listed_with_part_group_share_and_terms(cli: Cli, state: State) -> None:
    ended = cli("people", "list", "--state", state.folder)
    assert ended.code == 0
    heading, *lines = [line.split("\t") for line in ended.out.splitlines()]
    rows = {line[0]: dict(zip(heading, line, strict=True)) for line in lines}
    assert len(rows) == len(register().people)
    assert rows["li-security"]["Part"] == "officer"
    assert (rows["li-security"]["Group"], rows["li-security"]["Share"]) == ("security", "2")
    assert (rows["chen-admin"]["Group"], rows["chen-admin"]["Drill due"]) == ("-", "-")
    assert (rows["chen-admin"]["Approves for"], rows["li-security"]["Approves for"]) == ("-", "*")


def test_whose_operations_an_officer_approves_is_shown(cli: Cli, state: State) -> None:
    state.write(2, changed("li-security", spaces=("treasury", "lending")))
    shown = cli("people", "show", "li-security", "--state", state.folder)
    assert "Approves for\ttreasury lending" in shown.out
    document = json.loads(cli("people", "list", "--state", state.folder, "--json").out)
    spaces = {row["name"]: row["spaces"] for row in document["people"]}
    assert spaces["li-security"] == ["treasury", "lending"]
    assert (spaces["wang-security"], spaces["chen-admin"]) == ([], None)


def test_the_newest_register_counts(cli: Cli, state: State) -> None:
    state.write(10, replace(register(), version=10))
    state.write(9, replace(register(), version=9))
    document = json.loads(cli("people", "list", "--state", state.folder, "--json").out)
    assert document["version"] == 10
    assert document["groups"][0] == {"name": "security", "threshold": 3}
    assert document["people"][0]["credentials"][0]["kind"] == "token"


def test_one_person_is_shown_with_history(cli: Cli, state: State) -> None:
    people = tuple(
        replace(one, removed=NOW, replaced_by="sun-witness") if one.name == "liu-witness" else one
        for one in (*register().people, replace(register().people[1], **SUN))
    )
    state.write(2, replace(register(), version=2, people=people))
    row = json.loads(cli("people", "show", "liu-witness", "--state", state.folder, "--json").out)
    assert (row["state"], row["replaced_by"]) == ("removed", "sun-witness")
    assert (
        held("liu-witness").credential.kid
        in cli("people", "show", "liu-witness", "--state", state.folder).out
    )
    assert cli("people", "show", "nobody", "--state", state.folder).code == 66


SUN: dict[str, Any] = {"name": "sun-witness", "credentials": (held("sun-witness").credential,)}


def test_a_register_that_the_site_root_did_not_sign_is_refused(cli: Cli, state: State) -> None:
    other = state.write_root(2, ec.generate_private_key(ec.SECP256R1()))
    assert cli("people", "list", "--state", state.folder).code == 65
    pinned = state.folder / "site-root-1.pem"
    listed = cli("people", "list", "--state", state.folder, "--site-root", pinned)
    assert listed.code == 0
    assert cli("people", "list", "--state", state.folder, "--site-root", other).code == 65


def test_a_folder_without_a_register_says_where_one_comes_from(cli: Cli, tmp_path: Path) -> None:
    ended = cli("people", "list", "--state", tmp_path)
    assert ended.code == 66
    assert "conclave ceremony plan new initialise-site" in ended.err


@pytest.mark.parametrize(
    ("changes", "at", "expected"),
    [
        ({}, NOW, Standing.IN_OFFICE),
        ({}, NOW + 200 * 86_400, Standing.DRILL_OVERDUE),
        ({}, NOW + YEAR, Standing.ENDED),
        ({"term_from": NOW + 1}, NOW, Standing.NOT_BEGUN),
        ({"removed": NOW}, NOW + YEAR, Standing.REMOVED),
    ],
)
def test_how_a_person_stands(changes: dict[str, int], at: int, expected: Standing) -> None:
    assert replace(register().person("li-security"), **changes).standing(at) is expected


def test_who_has_no_share_is_never_late_for_a_drill() -> None:
    assert register().person("chen-admin").standing(NOW + 200 * 86_400) is Standing.IN_OFFICE


# --- cards ---------------------------------------------------------------------------------------


def conclave(*arguments: object, password: bytes | None = None) -> subprocess.CompletedProcess[str]:
    """Run in a process of its own, since making keys hardens the process for good."""
    command = [sys.executable, "-m", "kms.cli.main", "--lang", "en", *map(str, arguments)]
    ours, theirs = os.pipe()
    if password is not None:
        command += ["--password-fd", str(ours)]
        os.write(theirs, password)
    os.close(theirs)
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            pass_fds=(ours,),
            stdin=subprocess.DEVNULL,
        )
    finally:
        os.close(ours)


def test_a_key_in_a_file_and_its_card_are_made_in_one_command(cli: Cli, tmp_path: Path) -> None:
    key, card = tmp_path / "wang.key.pem", tmp_path / "wang.card.jws"
    ended = conclave("credential", "new", "--person", "wang", "--key", key, "--out", card, "--json")
    assert ended.returncode == 0, ended.stderr
    made = read_card(card.read_text().strip())
    assert (made.person, made.credential.kind) == ("wang", "software")
    assert json.loads(ended.stdout)["credential"] == made.credential.kid
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    shown = cli("credential", "show", card)
    assert made.credential.kid in shown.out


def test_an_encrypted_key_needs_its_password_for_another_card(tmp_path: Path) -> None:
    key, card = tmp_path / "wang.key.pem", tmp_path / "wang.card.jws"
    arguments = ("--person", "wang", "--key", key)
    conclave("credential", "new", *arguments, "--out", card, password=b"correct horse\n")
    again = tmp_path / "again.jws"
    without = conclave("credential", "card", *arguments, "--out", again)
    assert without.returncode == 65
    assert "--password-fd" in without.stderr
    conclave("credential", "card", *arguments, "--out", again, password=b"correct horse")
    assert read_card(again.read_text().strip()) == read_card(card.read_text().strip())


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--person", "Wang Li", "--key", "k.pem"), 65),
        (("--person", "wang"), 65),
        (("--person", "wang", "--key", "k.pem", "--token", "card"), 65),
        (("--person", "wang", "--key", "k.pem", "--init-token"), 65),
        (("--person", "wang", "--token", "card", "--module", "/nowhere.so"), 78),
        (("--person", "wang", "--token", "card", "--config", "/nonexistent.toml"), 78),
        ((), 64),
    ],
)
def test_what_cannot_be_made_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = conclave("credential", "new", *arguments, "--out", "card.jws")
    assert ended.returncode == code, ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_no_key_is_made_where_its_card_could_not_be_written(tmp_path: Path) -> None:
    key, card = tmp_path / "wang.key.pem", tmp_path / "wang.card.jws"
    card.write_text("somebody else's")
    ended = conclave("credential", "new", "--person", "wang", "--key", key, "--out", card)
    assert ended.returncode == 73
    assert not key.exists()
    assert card.read_text() == "somebody else's"


def test_a_card_that_does_not_hold_is_not_shown(cli: Cli, tmp_path: Path) -> None:
    card = tmp_path / "card.jws"
    card.write_text(make_card("wang", held("wang"))[:-4] + "AAAA")
    ended = cli("credential", "show", card)
    assert ended.code == 65
    assert "wang" not in ended.out

"""The ceremonies of a site's life on real tokens and a real store: recipients come and go, spaces
retire, shares are drilled and split anew; killed anywhere, a ceremony is brought to its end.
"""

import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from kms.audit.bundle import Evidence, write_bundle
from kms.audit.checks import Check, Verdict
from kms.audit.verify import verify_bundle
from kms.bootstrap.files import StateFiles
from kms.ceremonies.ports import SharedSecret
from kms.ceremonies.record.transcript import read_unverified
from kms.ceremonies.steps.generations import share_books
from kms.ceremonies.steps.shares import combine, share_name
from kms.ceremonies.steps.state import current_register, key_list, site_root
from kms.ceremonies.verification.verify import verify_transcript
from kms.domain.models import Recipient, Space
from kms.errors import AlreadyExists, InvalidInput, NotFound, ShareRefused, StateNotAllowed
from kms.practice import PracticeSite
from kms.practice.people import CardFolder
from kms.statements.canonical import read_row
from kms.store.sqlite import SqliteStore
from tests.fixtures.store import TestClock
from tests.scenarios.site_ceremonies import (
    Held,
    OldCards,
    SlipOfTheHand,
    hold,
    interrupt,
    plan_of,
    unfounded,
)

TREASURY = "space-treasury"
LENDING = ('space = "treasury"', 'space = "lending"')


def spaces(site: PracticeSite) -> dict[str, Space]:
    return {record.space: record for record in _records(site) if isinstance(record, Space)}


def recipients(site: PracticeSite, space: str = "treasury") -> dict[str, Recipient]:
    return {
        record.name: record
        for record in _records(site)
        if isinstance(record, Recipient) and record.space == space
    }


def _records(site: PracticeSite) -> Iterator[Any]:
    store = SqliteStore.open(site.state / "conclave.db", TestClock())
    try:
        for row in store.spaces():
            yield read_row(row.row)
            yield from (read_row(one.row) for one in store.recipients(row.row.key.split("/")[1]))
    finally:
        store.close()


def labels(held: Held, step: str) -> set[str]:
    """Return what a dump in the facts shows on the token."""
    return {item["label"] for item in held[step]["objects"]}


# --- recipients and spaces ------------------------------------------------------------------------


def test_a_server_is_registered_and_revoked_and_may_come_back(practice_site: PracticeSite):
    held = hold(practice_site, plan_of("register-recipient"))
    assert "server/ms-1" in labels(held, f"token/dump/{TREASURY}")
    assert not recipients(practice_site)["ms-1"].revoked
    with pytest.raises(AlreadyExists, match="trusts a server ms-1 already"):
        hold(practice_site, plan_of("register-recipient", name="again"))

    held = hold(practice_site, plan_of("revoke-recipient"))
    assert "server/ms-1" not in labels(held, f"revoke/dump/{TREASURY}")
    assert recipients(practice_site)["ms-1"].revoked
    with pytest.raises(NotFound, match="trusts no server ms-1"):
        hold(practice_site, plan_of("revoke-recipient", name="again-2"))

    hold(practice_site, plan_of("register-recipient", name="back"))
    assert not recipients(practice_site)["ms-1"].revoked


def test_a_key_is_registered_under_one_name(practice_site: PracticeSite):
    hold(practice_site, plan_of("register-recipient"))
    plan = plan_of("register-recipient", ('name = "ms-1"', 'name = "ms-2"'), name="twin")
    with pytest.raises(AlreadyExists, match="as server ms-1"):
        hold(practice_site, plan)


def test_a_space_takes_only_what_its_release_class_has(practice_site: PracticeSite):
    banking = ('space = "treasury"', 'space = "investment-banking"')
    with pytest.raises(Exception, match="a roster space has no server"):
        hold(practice_site, plan_of("register-recipient", banking))


def partner_plan(space: str, partner: str, kind: str = "register-recipient", name: str = "") -> str:
    text = plan_of(kind, name=name or f"{kind}-{partner}").partition("[parameters]")[0]
    return f'{text}[parameters]\nspace = "{space}"\nkind = "partner"\nname = "{partner}"\n'


BANKING = "investment-banking"
PARTNER = f"partner/{BANKING}/1"


def test_another_spaces_vault_becomes_a_partner_and_ceases_to_be(practice_site: PracticeSite):
    held = hold(practice_site, partner_plan("treasury", BANKING))
    assert PARTNER in labels(held, f"token/dump/{TREASURY}")
    vault, ours = recipients(practice_site, BANKING)["vault"], recipients(practice_site)[BANKING]
    assert (ours.kind, ours.recipient, ours.spki) == ("partner", vault.recipient, vault.spki)
    assert (ours.version, ours.tls_spki) == (1, "")
    with pytest.raises(AlreadyExists, match="trusts a partner"):
        hold(practice_site, partner_plan("treasury", BANKING, name="again"))

    held = hold(practice_site, partner_plan("treasury", BANKING, "revoke-recipient"))
    assert PARTNER not in labels(held, f"revoke/dump/{TREASURY}")
    assert recipients(practice_site)[BANKING].revoked


def test_a_partners_newer_vault_takes_the_place_of_the_older_one(practice_site: PracticeSite):
    hold(practice_site, partner_plan("treasury", BANKING))
    hold(practice_site, plan_of("rotate-vault", ('space = "treasury"', f'space = "{BANKING}"')))
    held = hold(practice_site, partner_plan("treasury", BANKING, name="newer"))
    assert held["register/record"]["replaced"] == [PARTNER]
    ours = [one for one in _records(practice_site) if isinstance(one, Recipient)]
    partners = [one for one in ours if (one.space, one.name) == ("treasury", BANKING)]
    assert {one.version: bool(one.revoked) for one in partners} == {1: True, 2: False}
    held = hold(practice_site, partner_plan("treasury", BANKING, "revoke-recipient"))
    kinds = {label.partition("/")[0] for label in labels(held, f"revoke/dump/{TREASURY}")}
    assert "partner" not in kinds


def test_no_vault_of_a_space_with_servers_becomes_partner_of_a_roster_space(
    practice_site: PracticeSite,
):
    with pytest.raises(InvalidInput, match="for devices alone"):
        hold(practice_site, partner_plan(BANKING, "treasury"))


@pytest.mark.parametrize(
    ("partner", "more", "told"),
    [
        ("treasury", "", "no partner of its own"),
        (BANKING, 'public_key = "x"\n', "no public_key"),
        (BANKING, 'tls_key = "x"\n', "no tls_key"),
    ],
)
def test_a_partners_key_is_never_the_plans(
    practice_site: PracticeSite, partner: str, more: str, told: str
):
    with pytest.raises(InvalidInput, match=told):
        hold(practice_site, partner_plan("treasury", partner) + more)


def test_a_partner_is_registered_in_spite_of_every_interruption(practice_site: PracticeSite):
    plan = partner_plan("treasury", BANKING)
    for step in ("token/trust", "register/record"):
        interrupt(practice_site, plan, step)
    held = hold(practice_site, plan)
    assert PARTNER in labels(held, f"token/dump/{TREASURY}")
    assert not recipients(practice_site)[BANKING].revoked


def test_a_retired_space_trusts_its_keepers_alone(practice_site: PracticeSite):
    held = hold(practice_site, plan_of("retire-space"))
    kinds = {label.partition("/")[0] for label in labels(held, f"retire/dump/{TREASURY}")}
    assert kinds == {"vault", "escrow", "disk-escrow", "manifest", "row-mac", "site-root"}
    assert spaces(practice_site)["treasury"].retired
    known = recipients(practice_site)
    assert {name for name, record in known.items() if record.revoked} == {"ms-a", "ms-b"}
    with pytest.raises(StateNotAllowed, match="retired"):
        hold(practice_site, plan_of("register-recipient"))
    with pytest.raises(StateNotAllowed, match="retired"):
        hold(practice_site, plan_of("retire-space", name="twice"))


def test_a_space_is_made_once(practice_site: PracticeSite):
    with pytest.raises(AlreadyExists, match="there is or was a space treasury"):
        hold(practice_site, plan_of("create-space"))


def test_a_site_is_founded_once(practice_site: PracticeSite):
    plan = (practice_site.plans / "01-initialise-site.toml").read_text()
    with pytest.raises(AlreadyExists, match="founded"):
        hold(practice_site, plan.replace('id = "initialise-site"', 'id = "second"'))


# --- shares ---------------------------------------------------------------------------------------


def test_a_drill_proves_every_share_and_moves_the_next_one(practice_site: PracticeSite):
    files = StateFiles(practice_site.state)
    old = {one.name: one.drill_due for one in current_register(files)[0].people}
    held = hold(practice_site, plan_of("drill"))
    assert held["shares/so-combine"]["quorums"] == 10
    assert held["shares/escrow-combine"]["quorums"] == 30
    register, _token = current_register(files)
    assert (register.version, register.ceremony) == (2, "drill")
    officers = {one.name: one.drill_due for one in register.people if one.group}
    assert all(due > old[name] for name, due in officers.items())


def test_a_wrong_card_and_a_wrong_word_are_tried_again_and_told(practice_site: PracticeSite):
    held = hold(practice_site, plan_of("register-recipient"), people=SlipOfTheHand)
    told = [facts["retries"] for step, facts in held.items() if "so-share" in step]
    assert told[0][1:] == ["word"]
    assert told[0][0] in {"holder", "secret"}
    assert told[1:] == [[], []]


def test_a_new_officer_gets_shares_and_old_ones_still_combine(practice_site: PracticeSite):
    files = StateFiles(practice_site.state)
    before = CardFolder(practice_site.shares).words()
    held = hold(practice_site, plan_of("replace-officer"))
    register, _token = current_register(files)
    assert register.person("wu-security").replaced_by == "he-security"
    assert register.person("he-security").share == 4
    books = {(book.secret, book.split): book for book in share_books(files)}
    for secret in SharedSecret:
        new = books[secret, 2]
        assert new.holders["security/4"] == "he-security"
        assert new.check == books[secret, 1].check
        name = f"{secret}/{secret}-card/he-security"
        assert held[name]["sha256"] == new.share_sha256["security/4"]
    places = ("security/2", "security/4", "security/5")
    old = [before[share_name(SharedSecret.SO, place, 1, 1)] for place in places]
    assert combine(old, books[SharedSecret.SO, 1].check)

    with pytest.raises(ShareRefused, match="split 1"):
        hold(practice_site, plan_of("register-recipient", name="old"), people=OldCards)
    hold(practice_site, plan_of("register-recipient", name="new"))


# --- interruptions --------------------------------------------------------------------------------


FOUNDING = (
    "officers/so-prove",
    "site/initialise/site",
    "site/pin/site",
    "escrow/escrow-write",
    "issue/key-list",
    "issue/register",
)


def test_a_site_is_founded_in_spite_of_every_interruption():
    with tempfile.TemporaryDirectory(prefix="cv-") as folder:
        site, config, plan = unfounded(Path(folder, "s"))
        for step in FOUNDING:
            interrupt(site, plan, step, config)
        held = hold(site, plan, config=config)
        assert labels(held, "site/dump/site") >= {"site-root/1", "checkpoint/1", "row-mac/1"}
        files = StateFiles(site.state)
        register, _token = current_register(files)
        assert register.version == 1
        assert [key.space for key in key_list(files).keys] == [""]
        assert len(share_books(files)) == 2
        first = (site.plans / "02-create-investment-banking.toml").read_text()
        hold(site, first, config=config)


def with_third_space(site: PracticeSite) -> None:
    text = site.config.read_text()
    site.config.write_text(f'{text}\n[[hsm.tokens]]\nlabel = "space-l"\nspace = "lending"\n')


CREATING = (
    "token/initialise/space-l",
    "token/pin/space-l",
    "register/space",
    "register/key-list",
)


def test_a_space_is_made_in_spite_of_every_interruption(practice_site: PracticeSite):
    with_third_space(practice_site)
    plan = plan_of("create-space", LENDING)
    for step in CREATING:
        interrupt(practice_site, plan, step)
    held = hold(practice_site, plan)
    assert {"vault", "escrow"} == set(recipients(practice_site, "lending"))
    assert spaces(practice_site)["lending"].token == "space-l"
    listed = [key.space for key in key_list(StateFiles(practice_site.state)).keys]
    assert sorted(listed) == ["", "investment-banking", "lending", "treasury"]
    assert "vault/1/trusted" in labels(held, "token/dump/space-l")
    hold(practice_site, plan_of("register-recipient", LENDING))


def test_a_replacement_is_brought_to_its_end(practice_site: PracticeSite):
    plan = plan_of("replace-officer")
    for step in ("so/so-prove", "escrow/escrow-prove", "issue/register"):
        interrupt(practice_site, plan, step)
    hold(practice_site, plan)
    files = StateFiles(practice_site.state)
    assert current_register(files)[0].version == 2
    assert sorted((book.secret, book.split) for book in share_books(files)) == [
        ("escrow", 1),
        ("escrow", 2),
        ("so", 1),
        ("so", 2),
    ]
    hold(practice_site, plan_of("register-recipient"))


def test_trust_that_was_interrupted_is_undone_and_given_anew(practice_site: PracticeSite):
    plan = plan_of("register-recipient")
    interrupt(practice_site, plan, "token/trust")
    held = hold(practice_site, plan)
    assert "server/ms-1" in labels(held, f"token/dump/{TREASURY}")


def test_a_revocation_is_brought_to_its_end(practice_site: PracticeSite):
    plan = plan_of("revoke-recipient", ('name = "ms-1"', 'name = "ms-a"'))
    for step in ("revoke/token", "revoke/record"):
        interrupt(practice_site, plan, step)
    held = hold(practice_site, plan)
    assert "server/ms-a" not in labels(held, f"revoke/dump/{TREASURY}")
    assert recipients(practice_site)["ms-a"].revoked


# --- afterwards -----------------------------------------------------------------------------------


def test_the_log_and_every_transcript_verify_offline(practice_site: PracticeSite, tmp_path: Path):
    hold(practice_site, plan_of("register-recipient"))
    hold(practice_site, plan_of("drill"))
    revoke = plan_of("revoke-recipient")
    interrupt(practice_site, revoke, "revoke/token")
    hold(practice_site, revoke)
    hold(practice_site, plan_of("replace-officer"))
    hold(practice_site, plan_of("retire-space"))

    root = site_root(StateFiles(practice_site.state))
    held = practice_site.state / "ceremonies"
    transcripts = [(path / "transcript.json").read_bytes() for path in held.iterdir()]
    transcripts.sort(key=lambda one: read_unverified(one).sequence)
    for previous, transcript in pairwise([None, *transcripts]):
        verify_transcript(transcript, root, previous)
    assert len(transcripts) == 7 + 5

    evidence, notes = bundle(practice_site, tmp_path / "evidence.db")
    report = verify_bundle(evidence, root, notes)
    told = {one.check: one.found for one in report.results if one.verdict is not Verdict.PASS}
    assert told == {Check.PAIRS: 1}, "the interruption, and nothing else"
    assert report.verdict is Verdict.FINDING


def bundle(site: PracticeSite, path: Path) -> tuple[Path, list[str]]:
    """Write the site's whole log as evidence, return it and the checkpoints kept from before;
    there are no meetings in it.
    """
    store = SqliteStore.open(site.state / "conclave.db", TestClock())
    try:
        evidence = Evidence(
            site.site_id,
            "2026-01-01T00:00:00Z",
            store.leaves(0, 10_000),
            store.checkpoints(0, 10_000),
            (),
            [(key_list(StateFiles(site.state)).version, site.key_list.read_text())],
        )
        write_bundle(path, evidence)
        return path, [note for _size, note in store.checkpoints(0, 10_000)]
    finally:
        store.close()

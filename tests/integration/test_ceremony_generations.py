"""The escrow key replaced on real tokens, for distrust: nothing old opens anything afterwards."""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from kms.audit.checks import Verdict
from kms.bootstrap.files import StateFiles
from kms.ceremonies.steps.certificate import read_certificate
from kms.errors import InvalidInput, NotFound, PinError
from kms.hsm.officer import OfficerToken
from kms.hsm.profile import load_profile
from kms.practice import PracticeSite
from kms.settings import load
from tests.fixtures.escrow import so_pins
from tests.fixtures.escrowed import (
    OFFICERS,
    SPACE,
    Filled,
    audit,
    fill,
    hold,
    kill_at,
    look,
    mint_on,
    order,
    site_root,
)
from tests.fixtures.isolated import run_isolated
from tests.fixtures.pins import KnownPins
from tests.fixtures.softhsm import clone_site
from tests.practice.service import serving

EPOCHS = 7
DISTRUST = 'reason = "distrust"\n'


@pytest.fixture(scope="module")
def master(practice_master: PracticeSite, tmp_path_factory: pytest.TempPathFactory) -> Filled:
    with TemporaryDirectory(prefix="cv-") as folder:
        made = fill(clone_site(practice_master, Path(folder, "s")), EPOCHS)
        kept = tmp_path_factory.mktemp("filled") / "site"
        return Filled(clone_site(made.site, kept), made.meeting, made.keys)


@pytest.fixture
def filled(master: Filled) -> Iterator[Filled]:
    with TemporaryDirectory(prefix="cv-") as folder:
        yield Filled(clone_site(master.site, Path(folder, "s")), master.meeting, master.keys)


def test_after_distrust_every_key_is_covered_anew_and_nothing_old_is_left(filled: Filled) -> None:
    site = filled.site
    before = so_pins(site)
    facts = hold(site, order(site, "new-generation", DISTRUST))
    told = facts["replace/rewrap/space-treasury"]
    assert told["epochs"] == EPOCHS
    assert told["per_second"] > 0
    assert facts["replace/coverage"]["epochs"] == {SPACE: EPOCHS, "investment-banking": 0}
    assert not site.escrow_blob.exists()
    assert (site.state / "escrow-2.kwp").exists()
    after = so_pins(site)
    assert all(before[label] != after[label] for label in before)
    run_isolated(site.environment, _check_tokens, site, before, after)
    certificate = read_certificate(StateFiles(site.state), "new-generation")
    assert (certificate.executor, certificate.supervisor) == ("chen-admin", "liu-witness")
    with serving(site) as service:
        status = look(service)
        assert not status.attention
        assert [(one.generation, one.epochs) for one in status.generations] == [(1, 0), (2, EPOCHS)]
        assert status.generations[0].destroyed
        mint_on(service)
        assert look(service).generations[1].epochs == EPOCHS + 1
        report = audit(service, site_root(site))
        assert report.verdict in {Verdict.PASS, Verdict.FINDING}, report.to_text()


def _check_tokens(site: PracticeSite, before: dict[str, str], after: dict[str, str]) -> None:
    profile = load_profile(load(site.config).hsm.profile)
    old, new = KnownPins(before, {}), KnownPins(after, _user_pins(site))
    for label in before:
        with pytest.raises(PinError):
            OfficerToken(profile, label, old).revoke("nothing")
        token = OfficerToken(profile, label, new)
        with pytest.raises(NotFound):
            token.revoke("nothing")
        assert "escrow/1" not in token.labels()
        assert "escrow/2" in token.labels()


def _user_pins(site: PracticeSite) -> dict[str, str]:
    pins: dict[str, str] = json.loads(site.pins.read_text())
    return pins


def test_a_scheduled_replacement_leaves_the_officers_secret_alone(filled: Filled) -> None:
    site = filled.site
    before = so_pins(site)
    facts = hold(site, order(site, "new-generation", 'reason = "schedule"\n'))
    assert so_pins(site) == before
    assert not any(step.startswith(("officers/", "pins/")) for step in facts)
    assert facts["replace/coverage"]["epochs"][SPACE] == EPOCHS


BEFORE = (
    "draws the share wrapping key",
    "reads every object on the token site",
    "draws a new SO secret",
    "combines every quorum",
)
AFTER = (
    "session lets the token space-treasury trust",
    "The token space-treasury opens every key",
    "The program proves that every key",
    "are destroyed on the token space-treasury",
    "are destroyed on the site's token",
    "are deleted from the state directory",
    "The destruction certificate",
    "The program keeps the old SO secret",
    "The token space-treasury gets its new SO PIN",
)


def test_killed_before_anything_is_replaced_the_old_generation_is_in_force(
    filled: Filled,
) -> None:
    site = filled.site
    plan = order(site, "new-generation", DISTRUST)
    for sentence in BEFORE:
        kill_at(site, plan, sentence)
        with serving(site) as service:
            status = look(service)
            assert (status.attention, status.covered) == (False, EPOCHS), sentence
    hold(site, plan)
    _check_replaced(site)


def test_killed_again_and_again_while_it_is_replaced_every_key_stays_covered(
    filled: Filled,
) -> None:
    site = filled.site
    plan = order(site, "new-generation", DISTRUST)
    for sentence in AFTER:
        kill_at(site, plan, sentence)
        with serving(site) as service:
            assert look(service).covered == EPOCHS, sentence
    hold(site, plan)
    _check_replaced(site)


def _check_replaced(site: PracticeSite) -> None:
    with serving(site) as service:
        status = look(service)
        assert not status.attention
        assert [(one.generation, one.epochs) for one in status.generations] == [(1, 0), (2, EPOCHS)]
        mint_on(service)
        report = audit(service, site_root(site))
        assert report.verdict in {Verdict.PASS, Verdict.FINDING}, report.to_text()


def test_who_is_to_be_removed_takes_no_part(filled: Filled) -> None:
    plan = order(filled.site, "new-generation", f'{DISTRUST}remove = ["{OFFICERS[0]}"]\n')
    with pytest.raises(InvalidInput, match="takes no part"):
        hold(filled.site, plan)

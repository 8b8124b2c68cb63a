"""Ceremonies on a real site: the writer's lock, and a kill at any sentence of the script."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kms.audit.leaf import Leaf, Outcome, Phase, decode_leaf
from kms.ceremonies.verification.verify import verify_transcript
from kms.errors import AlreadyExists, StoreUnavailable
from kms.practice import PracticeSite
from kms.statements import archive
from kms.store.sqlite import SqliteStore
from tests.fixtures.founded import founded_site, hold_isolated, killed_at
from tests.fixtures.softhsm import clone_site
from tests.fixtures.store import TestClock

SPACE = "create-investment-banking"
SENTENCES = (
    "combines the shares to the SO secret",
    "the token space-investment-banking: its SO PIN",
    "hands the user PIN",
    "enters the store, with its release class",
    "vault key enters the store",
    "escrow key enters the store",
    "The site root signs a key list",
)
"""Where a process is killed: before tokens are touched, between them, between writes."""


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> PracticeSite:
    return founded_site(tmp_path_factory.mktemp("founded") / "site")


@pytest.fixture
def site(master: PracticeSite) -> Iterator[PracticeSite]:
    with TemporaryDirectory(prefix="cv-") as folder:
        yield clone_site(master, Path(folder, "s"))


def leaves(site: PracticeSite) -> list[Leaf]:
    store = SqliteStore.open(site.state / "conclave.db", TestClock())
    try:
        assert store.open_intents() == []
        return [decode_leaf(one) for one in store.leaves(0, 1000)]
    finally:
        store.close()


def events(site: PracticeSite) -> Counter[str]:
    return Counter(one.action for one in leaves(site) if one.phase is Phase.EVENT)


def verify(site: PracticeSite, transcript: Path) -> None:
    pem = (site.state / archive.SITE_ROOT.format(1)).read_bytes()
    root = serialization.load_pem_public_key(pem)
    assert isinstance(root, ec.EllipticCurvePublicKey)
    verify_transcript(transcript.read_bytes(), root)


def test_a_ceremony_that_is_killed_again_and_again_goes_on_and_does_nothing_twice(
    site: PracticeSite,
) -> None:
    before = events(site)
    for sentence in SENTENCES:
        assert killed_at(site, SPACE, sentence), sentence
    verify(site, hold_isolated(site, SPACE))
    assert events(site) - before == Counter(
        {"space.create": 1, "recipient.register": 2, "key-list.issue": 1}
    )
    runs = [one for one in leaves(site) if one.resource == f"ceremonies/{SPACE}"]
    assert [one.outcome for one in runs if one.phase is Phase.RESULT] == [
        *[Outcome.INTERRUPTED] * len(SENTENCES),
        Outcome.SUCCEEDED,
    ]


def test_a_ceremony_that_is_over_is_not_held_again(site: PracticeSite) -> None:
    hold_isolated(site, SPACE)
    before = leaves(site)
    hold_isolated(site, SPACE)
    assert leaves(site) == before


def test_a_site_is_founded_once(site: PracticeSite) -> None:
    again = site.plans / "99-again.toml"
    (first,) = site.plans.glob("*-initialise-site.toml")
    again.write_text(first.read_text().replace('id = "initialise-site"', 'id = "second-site"'))
    with pytest.raises(AlreadyExists):
        hold_isolated(site, "again")


def test_no_ceremony_while_the_service_holds_the_writers_lock(site: PracticeSite) -> None:
    store = SqliteStore.open(site.state / "conclave.db", TestClock())
    try:
        with pytest.raises(StoreUnavailable) as caught:
            hold_isolated(site, SPACE)
    finally:
        store.close()
    assert "stop the service first" in caught.value.hint

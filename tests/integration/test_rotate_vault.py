"""The ceremony that gives a space its next vault key, on real tokens and a real store."""

import pytest

from kms.domain.ids import SpaceName
from kms.domain.models import Recipient, RecipientKind
from kms.errors import NotFound
from kms.practice import PracticeSite
from kms.statements.canonical import read_row
from kms.store.sqlite import SqliteStore
from tests.fixtures.softhsm import SoftHsm
from tests.fixtures.store import TestClock
from tests.scenarios.site_ceremonies import Held, hold, interrupt, plan_of

TOKEN = "space-treasury"
MADE = "rotate/vault"


def vaults(site: PracticeSite) -> list[Recipient]:
    store = SqliteStore.open(site.state / "conclave.db", TestClock())
    try:
        records = [read_row(one.row) for one in store.recipients(SpaceName("treasury"))]
    finally:
        store.close()
    found = [one for one in records if isinstance(one, Recipient)]
    return sorted(
        (one for one in found if one.kind is RecipientKind.VAULT), key=lambda one: one.version
    )


def on_token(held: Held) -> set[str]:
    objects = held[f"rotate/dump/{TOKEN}"]["objects"]
    return {one["label"] for one in objects if one["label"].startswith("vault/")}


def versions(*numbers: int) -> set[str]:
    return {f"vault/{number}{end}" for number in numbers for end in ("", "/trusted")}


def test_a_space_gets_its_next_vault_key_and_keeps_the_one_before(
    practice_site: PracticeSite,
) -> None:
    held = hold(practice_site, plan_of("rotate-vault"))
    assert on_token(held) == versions(1, 2)
    first, second = vaults(practice_site)
    assert (first.version, second.version) == (1, 2)
    assert not first.revoked
    assert second.recipient == held[MADE]["kid"]
    held = hold(practice_site, plan_of("rotate-vault", name="third"))
    assert on_token(held) == versions(1, 2, 3)
    assert [one.version for one in vaults(practice_site)] == [1, 2, 3]


def test_a_key_that_an_interruption_left_trusted_is_taken_and_not_replaced(
    practice_site: PracticeSite,
) -> None:
    """The service may have started meanwhile and wrapped keys to it."""
    interrupt(practice_site, plan_of("rotate-vault"), MADE)
    held = hold(practice_site, plan_of("rotate-vault"))
    assert on_token(held) == versions(1, 2)
    assert [one.recipient for one in vaults(practice_site)][1] == held[MADE]["kid"]


def test_the_record_is_written_once(practice_site: PracticeSite) -> None:
    interrupt(practice_site, plan_of("rotate-vault"), "rotate/record")
    hold(practice_site, plan_of("rotate-vault"))
    assert [one.version for one in vaults(practice_site)] == [1, 2]


def test_a_space_that_is_not_there_has_no_vault_key(practice_site: PracticeSite) -> None:
    with practice_site.config.open("a") as config:
        config.write('\n[[hsm.tokens]]\nlabel = "space-lending"\nspace = "lending"\n')
    with pytest.raises(NotFound, match="no space lending"):
        hold(practice_site, plan_of("rotate-vault", ('space = "treasury"', 'space = "lending"')))


@pytest.fixture
def next_vault(softhsm: SoftHsm) -> SoftHsm:
    """A token on which a private half was left that nobody came to trust."""
    softhsm.officer(TOKEN).generate_vault(2)
    return softhsm


def test_a_private_half_that_nobody_trusts_is_made_anew(next_vault: SoftHsm) -> None:
    token = next_vault.officer(TOKEN)
    assert "vault/2" in token.labels()
    assert "vault/2/trusted" not in token.labels()
    hold(next_vault.site, plan_of("rotate-vault"))
    assert [one.version for one in vaults(next_vault.site)] == [1, 2]

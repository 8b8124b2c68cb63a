"""A space with two vault keys in use: what the ceremonies of escrow and recovery make of it."""

import pytest

from kms.domain.models import RecipientKind
from kms.practice import PracticeSite
from kms.settings import load
from kms.statements.readers import peek_readers
from kms.wire.requests import RosterWish
from tests.fixtures.softhsm import clone_site
from tests.practice.service import Service, serving
from tests.scenarios import stored
from tests.scenarios.held import SECURITY, hold, write_plan
from tests.scenarios.restoration import burn, restore_parameters

SPACE, SERVER = "treasury", "ms-a"


@pytest.fixture(scope="module")
def site(practice_master: PracticeSite, tmp_path_factory: pytest.TempPathFactory) -> PracticeSite:
    """A site whose treasury has a key under each of two vault keys, and nothing moves them."""
    made = clone_site(practice_master, tmp_path_factory.mktemp("versions") / "site")
    with serving(made) as service:
        mint(service)
        with service.console() as console:
            console.pause_reseal(SPACE)
    hold(made, write_plan(made, "rotate-vault", "next-vault", f'space = "{SPACE}"', SECURITY))
    with serving(made) as service:
        mint(service)
    return made


def mint(service: Service) -> None:
    with service.server(SERVER) as client:
        client.open_meeting(SPACE, RosterWish(recipients=(service.opener(SERVER).recipient,)))


def versions(site: PracticeSite, kind: RecipientKind) -> list[int]:
    """Return under which version or generation each stored key of the space lies."""
    found = stored.read(load(site.config).paths.database, site.directory / "copy.db")
    kept = []
    for epoch in (one for one in found.surviving if one.space == SPACE):
        blobs = found.blobs[epoch.space, epoch.meeting, epoch.epoch]
        readers = peek_readers(epoch.manifest, epoch.addenda)
        kept += [one.version for one in readers.of_kind(kind) if one.id in blobs]
    return sorted(kept)


def check_covered(site: PracticeSite) -> None:
    with serving(site) as service:
        mint(service)
        with service.console() as console:
            found = console.escrow()
        assert found.covered == found.epochs > 0


def test_escrow_and_recovery_open_what_each_vault_key_keeps(site: PracticeSite) -> None:
    assert versions(site, RecipientKind.VAULT) == [1, 2]
    parameters = 'reason = "schedule"\nremove = []\nadd = []'
    hold(site, write_plan(site, "new-generation", "second", parameters))
    assert versions(site, RecipientKind.VAULT) == [1, 2]
    assert versions(site, RecipientKind.ESCROW) == [2, 2]
    check_covered(site)

    burn(site)
    hold(site, write_plan(site, "restore-site", "restore", restore_parameters(site)))
    site.site_root.write_bytes((site.state / "site-root-2.pem").read_bytes())
    assert len(set(versions(site, RecipientKind.VAULT))) == 1
    check_covered(site)

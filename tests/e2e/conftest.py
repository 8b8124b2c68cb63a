"""One practice site for the whole run of end-to-end tests, and a service of it for each module."""

from collections.abc import Iterator

import pytest

from kms.practice import PracticeSite
from tests.fixtures.softhsm import clone_site
from tests.practice.service import Service, serving


@pytest.fixture(scope="module")
def service(
    practice_master: PracticeSite, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A served practice site of the module's own."""
    site = clone_site(practice_master, tmp_path_factory.mktemp("site") / "site")
    with serving(site) as running:
        yield running

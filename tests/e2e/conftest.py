"""One practice site for the whole run of end-to-end tests, and a service of it for each module."""

from collections.abc import Iterator

import pytest

from tests.practice.service import Service, serving
from tests.scenarios.site import fresh_site


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A served practice site of the module's own."""
    with serving(fresh_site(tmp_path_factory.mktemp("site"))) as running:
        yield running

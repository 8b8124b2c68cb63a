"""A served practice site for the documents' commands and requests."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kms.practice import PracticeSite
from tests.fixtures.softhsm import clone_site
from tests.practice.service import Service, serving


@pytest.fixture(scope="module")
def service(practice_master: PracticeSite) -> Iterator[Service]:
    """A site of the module's own, which signs its log often so that nobody waits for it."""
    with tempfile.TemporaryDirectory(prefix="cv-") as folder:
        site = clone_site(practice_master, Path(folder, "s"))
        with site.config.open("a") as config:
            config.write("\n[audit]\ncheckpoint_seconds = 0.2\n")
        with serving(site) as running:
            yield running

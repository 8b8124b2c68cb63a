"""Fixtures for all tests."""

import os
from collections.abc import Iterator

import pytest

from tests.fixtures.cli import cli
from tests.fixtures.softhsm import practice_master, practice_site, softhsm

__all__ = ["cli", "practice_master", "practice_site", "softhsm"]


@pytest.fixture(autouse=True)
def umask_of_its_own() -> Iterator[None]:
    """Give every test the same umask, whatever program an earlier one ran in this process."""
    before = os.umask(0o022)
    yield
    os.umask(before)

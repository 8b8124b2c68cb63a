"""Fixtures for all tests."""

import gc
import os
from collections.abc import Iterator

import pytest

from tests.fixtures.cli import cli
from tests.fixtures.softhsm import practice_master, practice_site, softhsm

__all__ = ["cli", "practice_master", "practice_site", "softhsm"]


def pytest_configure() -> None:
    """Let the garbage collector rest while thousands of tests are collected."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Let it run again, past what was collected: that stays to the end."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def umask_of_its_own() -> Iterator[None]:
    """Give every test the same umask, whatever program an earlier one ran in this process."""
    before = os.umask(0o022)
    yield
    os.umask(before)

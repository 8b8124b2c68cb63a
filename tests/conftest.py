"""Fixtures for all tests."""

from tests.fixtures.cli import cli
from tests.fixtures.softhsm import practice_master, practice_site, softhsm

__all__ = ["cli", "practice_master", "practice_site", "softhsm"]

"""Fixtures for all tests."""

from tests.fixtures.softhsm import practice_master, practice_site, softhsm

__all__ = ["practice_master", "practice_site", "softhsm"]

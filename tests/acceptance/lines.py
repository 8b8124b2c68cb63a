"""Prints every acceptance test as the line it proves, with the figures it saw."""

from collections.abc import Callable

import pytest

FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Record a figure to be printed beside the test's line."""
    return request.node.stash.setdefault(FIGURES, []).append


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Carry line and figures to the summary."""
    outcome = yield
    report = outcome.get_result()
    report.line = " ".join((item.function.__doc__ or item.name).split())
    report.figures = item.stash.get(FIGURES, [])


def pytest_terminal_summary(terminalreporter):
    """Print the lines."""
    terminalreporter.section("acceptance")
    for word, mark in (("passed", "✔"), ("failed", "✘"), ("error", "✘"), ("skipped", "-")):
        for report in terminalreporter.getreports(word):
            if report.when == "call" or word != "passed":
                terminalreporter.line(f"{mark} {getattr(report, 'line', report.nodeid)}")
                for text in getattr(report, "figures", []):
                    terminalreporter.line(f"    {text}")

"""The one table of the board's pages: path, who may, what it is. Navigation and tests read it."""

from dataclasses import dataclass

from kms.domain.models import Role
from kms.web import live
from kms.web.views import (
    account,
    approvals,
    audit,
    disks,
    enrolment,
    escrow,
    grants,
    keys,
    meetings,
    overview,
    people,
    plots,
    reports,
    rotation,
    settings,
)
from kms.web.visit import Page

PAGES: tuple[Page, ...] = tuple(
    page
    for view in (
        overview,
        account,
        enrolment,
        rotation,
        meetings,
        keys,
        escrow,
        people,
        approvals,
        grants,
        disks,
        audit,
        plots,
        reports,
        settings,
        live,
    )
    for page in view.PAGES
)
"""Every page."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the navigation; ``text`` is English."""

    page: str
    text: str


@dataclass(frozen=True, slots=True)
class Group:
    """Lines of the navigation that belong together."""

    text: str
    entries: tuple[Entry, ...]


NAVIGATION = (
    Group(
        "Now",
        (Entry("overview", "Overview"), Entry("rotation", "Rotation"), Entry("plots", "Trends")),
    ),
    Group(
        "Keys",
        (
            Entry("meetings", "Meeting security"),
            Entry("keys", "Keys and versions"),
            Entry("escrow", "Key escrow"),
            Entry("disks", "Disks"),
        ),
    ),
    Group(
        "People",
        (
            Entry("approvals", "Approvals"),
            Entry("grants", "Grants"),
            Entry("people", "Officers and ceremonies"),
        ),
    ),
    Group(
        "Evidence",
        (Entry("audit", "Audit log"), Entry("reports", "Reports"), Entry("settings", "Settings")),
    ),
)
"""What stands at the side; a line is shown to whoever may see its page."""

BY_ID = {page.id: page for page in PAGES}


def navigation(roles: frozenset[Role]) -> list[tuple[Group, list[tuple[Entry, str]]]]:
    """Return the groups and lines, with their paths, that these roles may see."""
    found = []
    for group in NAVIGATION:
        lines = [
            (entry, BY_ID[entry.page].path)
            for entry in group.entries
            if entry.page in BY_ID and BY_ID[entry.page].roles & roles
        ]
        if lines:
            found.append((group, lines))
    return found

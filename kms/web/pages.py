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
class Line:
    """A line of the navigation; ``text`` is English."""

    text: str
    page: str


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of the navigation that belong together."""

    text: str
    entries: tuple[Line, ...]


NAVIGATION = (
    Lines(
        "Now",
        (Line("Overview", "overview"), Line("Rotation", "rotation"), Line("Trends", "plots")),
    ),
    Lines(
        "Keys",
        (
            Line("Meeting security", "meetings"),
            Line("Keys and versions", "keys"),
            Line("Key escrow", "escrow"),
            Line("Disks", "disks"),
        ),
    ),
    Lines(
        "People and approvals",
        (
            Line("Approvals", "approvals"),
            Line("Grants", "grants"),
            Line("Officers and ceremonies", "people"),
        ),
    ),
    Lines(
        "Log and reports",
        (Line("Audit log", "audit"), Line("Reports", "reports"), Line("Settings", "settings")),
    ),
)
"""What stands at the side; a line is shown to whoever may see its page."""

BY_ID = {page.id: page for page in PAGES}


def navigation(roles: frozenset[Role]) -> list[tuple[Lines, list[tuple[Line, str]]]]:
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

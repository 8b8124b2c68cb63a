"""Active alerts as people read them: in their language, and with the page that shows more."""

from collections.abc import Mapping
from dataclasses import dataclass

from kms.domain.alerts import ALERTS, ActiveAlert
from kms.i18n import Language, _, language
from kms.web.visit import Visit

PAGES: Mapping[str, str] = {
    "rotation-overdue": "rotation",
    "vault-overdue": "keys",
    "vault-retirable": "keys",
    "reseal-stuck": "keys",
    "bulk-fetch": "audit",
    "unusual-fetch": "audit",
    "repeated-refusals": "audit",
    "integrity-failure": "audit",
    "key-compromised": "audit",
    "passkey-new": "settings",
    "escrow-gap": "escrow",
    "escrow-drill-overdue": "escrow",
    "escrow-owed": "escrow",
    "hsm-trouble": "keys",
    "grant-forgotten": "grants",
    "log-trouble": "audit",
    "approval-waiting": "approvals",
    "disk-unknown": "disks",
    "disk-quarantined": "disks",
    "disk-gone-open": "disks",
    "disk-recovery-overdue": "disks",
    "disk-order-failed": "disks",
}
"""The line of the navigation that an alert leads to; some lead to none."""


@dataclass(frozen=True, slots=True)
class Told:
    """An alert in the present language; ``page`` and ``href`` of where more stands, empty if the
    visitor has no such page.
    """

    alert: ActiveAlert
    text: str
    todo: str
    page: str
    href: str


def told(visit: Visit, alert: ActiveAlert) -> Told:
    """Return an alert as the visitor reads it."""
    known, zh = ALERTS[alert.alert], language() is Language.ZH
    page, href = _page(visit, PAGES.get(alert.alert, ""))
    text, todo = (known.zh, known.todo_zh) if zh else (known.en, known.todo_en)
    return Told(alert, text, todo, page, href)


def _page(visit: Visit, wanted: str) -> tuple[str, str]:
    """Return the name and path of a page of the visitor's navigation; both empty if none is it."""
    for _group, lines in visit.navigation(visit.principal.roles):
        for line, path in lines:
            if line.page == wanted:
                return _(line.text), path
    return "", ""

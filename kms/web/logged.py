"""What the log's actions are called on the board, and in which groups a reader chooses them."""

from kms.audit.actions import ACTIONS
from kms.i18n import Language, _, language

_KEYS, _PEOPLE, _DISKS, _REPORTS, _BOARD, _SITE = range(6)
_GROUPS = {
    _KEYS: "meeting roster epoch envelope media recipient space destruction hold",
    _PEOPLE: "approval ceremony register key-list escrow vault reseal grant policy site-policy",
    _DISKS: "disk disk-order device erasure",
    _REPORTS: "report audit alert integrity",
    _BOARD: "passkey session access",
    _SITE: "site service clock",
}
GROUP_OF = {prefix: group for group, names in _GROUPS.items() for prefix in names.split()}
"""The group of an action, by what stands before its point."""


def action_words(action: str) -> str:
    """Return what an action of the log means to a reader, in the present language."""
    known = ACTIONS.get(action)
    if known is None:
        return action
    return known.zh if language() is Language.ZH else known.en


def action_groups() -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    """Return every action, as (group, (words, action) of each), both in the present language."""
    titles = {
        _KEYS: _("Meetings and keys"),
        _PEOPLE: _("Approvals, ceremonies and policies"),
        _DISKS: _("Disks"),
        _REPORTS: _("Log, alerts and reports"),
        _BOARD: _("Sign-in and access"),
        _SITE: _("The site"),
    }
    return tuple((title, _actions(group)) for group, title in titles.items())


def _actions(group: int) -> tuple[tuple[str, str], ...]:
    wanted = (one for one in ACTIONS if GROUP_OF[one.partition(".")[0]] == group)
    return tuple((action_words(one), one) for one in wanted)

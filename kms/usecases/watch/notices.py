"""From leaves to notices, in the channel's language: ids and names, never a secret."""

import msgspec

from kms.audit.actions import ACTIONS
from kms.audit.leaf import Leaf, Outcome, decode_leaf
from kms.domain.alerts import ALERTS, ActiveAlert, Severity
from kms.domain.approvals import RULES
from kms.i18n import Language
from kms.usecases.watch.channel import Notice, Wishes

_ALERT, _APPROVAL, _SITE = b'{"action":"alert.', b'{"action":"approval.', b'{"action":"site.'
_APPROVALS = frozenset({"approval.request", "approval.sign", "approval.cancel"})
_SEALS = frozenset({"site.seal", "site.unseal"})
_RAISE = "alert.raise"


def notice_of(data: bytes, wishes: Wishes) -> Notice | None:
    """Return what a channel is told of a leaf; None: nothing."""
    if not wishes.audit and not data.startswith((_ALERT, _APPROVAL, _SITE)):
        return None
    leaf = decode_leaf(data)
    told = _told(leaf, wishes)
    return told or (_exported(leaf, wishes.language) if wishes.audit else None)


def notice_of_unlogged(active: ActiveAlert, wishes: Wishes) -> Notice | None:
    """Return what a channel is told of an alert that the log could not take."""
    return _alert(active, _RAISE, active.since, wishes)


def _told(leaf: Leaf, wishes: Wishes) -> Notice | None:
    if leaf.action.startswith("alert."):
        details = leaf.details
        key = (str(details["alert"]), leaf.space, str(details["subject"]))
        number, text = int(details.get("number", 0)), str(details.get("text", ""))
        active = ActiveAlert(*key, number, text, leaf.time, leaf.seq)
        return _alert(active, leaf.action, leaf.time, wishes)
    if leaf.action in _APPROVALS and wishes.approvals:
        return _approval(leaf, wishes.language)
    if leaf.action in _SEALS and leaf.outcome is Outcome.SUCCEEDED:
        fields = {"actor": leaf.actor, "resource": leaf.resource}
        title = _action(leaf.action, wishes.language)
        return _notice(leaf, Severity.CRITICAL, title, "", fields)
    return None


def _alert(active: ActiveAlert, kind: str, time: str, wishes: Wishes) -> Notice | None:
    known = ALERTS.get(active.alert)
    if active.severity.rank < wishes.severity.rank:
        return None
    raised, chinese = kind == _RAISE, wishes.language is Language.ZH
    sentence = active.alert
    todo = ""
    if known:
        sentence = known.zh if chinese else known.en
        todo = (known.todo_zh if chinese else known.todo_en) if raised else ""
    fields = {"alert": active.alert, "subject": active.subject}
    if raised:
        fields |= {"number": str(active.number)} | ({"text": active.text} if active.text else {})
    title = f"{_action(kind, wishes.language)}: {sentence}"
    return Notice(active.seq, kind, time, active.severity, active.space, title, todo, fields)


def _approval(leaf: Leaf, language: Language) -> Notice:
    operation, person = str(leaf.details["operation"]), str(leaf.details["person"])
    rule = RULES.get(operation)
    summary = operation
    if rule:
        summary = rule.summary_zh if language is Language.ZH else rule.summary_en
    request = leaf.resource.rpartition("/")[2]
    fields = {"request": request, "operation": operation, "person": person}
    title = f"{_action(leaf.action, language)}: {summary}"
    return _notice(leaf, Severity.NOTICE, title, "", fields)


def _exported(leaf: Leaf, language: Language) -> Notice:
    """Return a leaf whole."""
    fields = {
        "actor": leaf.actor,
        "auth": leaf.auth,
        "resource": leaf.resource,
        "phase": leaf.phase.value,
        "outcome": leaf.outcome.value,
        "request": leaf.request,
        "intent": "" if leaf.intent is None else str(leaf.intent),
        "rows": msgspec.json.encode(leaf.rows).decode(),
        "details": msgspec.json.encode(leaf.details).decode(),
    }
    title = _action(leaf.action, language)
    return _notice(leaf, Severity.NOTICE, title, "", fields, audit=True)


def _notice(
    leaf: Leaf,
    severity: Severity,
    title: str,
    text: str,
    fields: dict[str, str],
    *,
    audit: bool = False,
) -> Notice:
    return Notice(
        leaf.seq, leaf.action, leaf.time, severity, leaf.space, title, text, fields, audit
    )


def _action(action: str, language: Language) -> str:
    known = ACTIONS.get(action)
    if known is None:
        return action
    return known.zh if language is Language.ZH else known.en

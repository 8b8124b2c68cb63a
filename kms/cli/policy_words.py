"""What is said of policies: why they decide as they do, what a space's policy says."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from kms.cli.output import Column
from kms.i18n import _

if TYPE_CHECKING:
    from kms.wire.policies import Explain, ExplanationOut, MissingOut, PolicyOut, QuorumOut

_SPACE = (
    Column("Space", "space"),
    Column("Version", "version"),
    Column("Department", "department"),
    Column("Line of business", "business_type"),
    Column("Region", "region"),
    Column("Customer level", "customer_level"),
    Column("Classification", "classification"),
    Column("New key every (s)", "interval_seconds"),
    Column("Maximum age (s)", "maximum_age_seconds"),
    Column("Join rotates from age (s)", "join_age_seconds"),
    Column("Most envelopes of a key", "maximum_uses"),
    Column("Quiet hours (UTC)", "quiet"),
    Column("Published ahead (s)", "publish_ahead_seconds"),
    Column("Vault key's time (s)", "vault_seconds"),
    Column("Kept after the end (s)", "retention_seconds"),
    Column("Must approve", "quorums"),
    Column("Alerts from", "thresholds"),
)
_HOUR = 60


def decision(permitted: bool) -> str:
    """Return a decision as a word."""
    return _("allowed") if permitted else _("denied")


def verdict(holds: bool) -> str:
    """Return what came of a case as a word."""
    return _("as expected") if holds else _("FAILED")


def sentences(question: "Explain", answer: "ExplanationOut") -> Iterator[str]:
    """Yield why the policies decide as they do, a sentence a line."""
    yield _headline(question, answer.permitted)
    if answer.grant:
        yield _("Only by the time-bound grant {grant}.").format(grant=answer.grant)
    for error in answer.errors:
        yield _("The policies could not decide: {error}").format(error=error)
    text = _("Permitted by {id} ({source}).")
    if not answer.permitted:
        text = _("Forbidden by {id} ({source}), whatever else permits it.")
    for policy in answer.deciding:
        yield text.format(id=policy.id, source=policy.source)
    if answer.permitted or answer.deciding or answer.errors:
        return
    yield _("Nothing permits it.") if answer.near else _("No policy permits it to anybody.")
    for near in answer.near:
        wants = "; ".join(_wanted(one) for one in near.missing)
        text = _("{id} ({source}) would, but {wants}.")
        yield text.format(id=near.id, source=near.source, wants=wants)


def _headline(question: "Explain", permitted: bool) -> str:
    if permitted:
        text = _("{principal} may do {operation} in {place}.")
    else:
        text = _("{principal} may not do {operation} in {place}.")
    return text.format(
        principal=question.principal,
        operation=question.operation,
        place=question.space or _("the site"),
    )


def _wanted(missing: "MissingOut") -> str:
    match missing.lack:
        case "role":
            text = _("it is for the role {wanted}")
        case "condition":
            text = _("it holds only {wanted}")
        case _:
            text = _("it is for {wanted} alone")
    return text.format(wanted=missing.wanted)


def space_fields(found: "PolicyOut") -> tuple[Sequence[Column], dict[str, Any]]:
    """Return the columns and the row that show a space's policy; what is not said has a dash."""
    policy = found.policy
    rules = policy.rotation.model_dump(mode="json")
    labels = {name: value or None for name, value in policy.labels.model_dump(mode="json").items()}
    row = {
        "space": found.space,
        "version": found.version or None,
        **labels,
        **{name: value or None for name, value in rules.items()},
        "quiet": _quiet(rules["quiet_from"], rules["quiet_until"]),
        "retention_seconds": policy.retention_seconds or None,
        "quorums": "; ".join(map(_quorum, policy.quorums)) or None,
        "thresholds": "; ".join(f"{one.alert} {one.number}" for one in policy.thresholds) or None,
    }
    return _SPACE, row


def _quiet(start: int, end: int) -> str | None:
    return None if start == end else f"{_clock(start)}-{_clock(end)}"


def _clock(minutes: int) -> str:
    return f"{minutes // _HOUR:02}:{minutes % _HOUR:02}"


def _quorum(quorum: "QuorumOut") -> str:
    needs = ", ".join(
        f"{need.count} {need.group}" + (f" ({need.space})" if need.space else "")
        for need in quorum.needs
    )
    return f"{quorum.operation}: {needs}"

"""A request as people read it before they sign: every field of what is signed, in words, and its
digest as other people see it.

Nothing is left out and nothing added: the lines come from the signed bytes. Text of others is shown
with what would move or hide other text spelled out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from msgspec import to_builtins

from kms.ceremonies.people.words import digest_words
from kms.domain.asked import flat, needs_in_words, summary_of
from kms.domain.text import visible
from kms.i18n import _
from kms.site_time import zone_name
from kms.statements.canonical import unb64u
from kms.statements.request import OperationRequest
from kms.web.names import called
from kms.web.words import duration, hexadecimal, minutes_of_day, moment, word

_HEX_GROUP = 4
_MINUTES = 60
_TIMES = frozenset({"starts", "expires"})
_WORDS = frozenset({"role", "preparation"})
_MINUTES_OF_DAY = frozenset({"quiet_from", "quiet_until"})


@dataclass(frozen=True, slots=True)
class Line:
    """One field of a request: what it is called, its path in what is signed (empty: a field of the
    request itself), and its text, a line each.
    """

    label: str
    path: str
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Digest:
    """A SHA-256 as people compare it: in groups of hex digits, as eight words (aloud), and as it
    stands in what is signed (base64url).
    """

    groups: tuple[str, ...]
    words: tuple[str, ...]
    spelled: str


def digest_shown(spelled: str) -> Digest:
    """Return a SHA-256 (base64url) as people compare it; raise InvalidInput."""
    sha256 = unb64u(spelled)
    text = sha256.hex()
    groups = tuple(text[at : at + _HEX_GROUP] for at in range(0, len(text), _HEX_GROUP))
    return Digest(groups, digest_words(sha256), spelled)


def lines_of(wanted: OperationRequest) -> tuple[Line, ...]:
    """Return everything that a signature on a request covers, parameters in the order in which
    their type declares them; raise InvalidInput for parameters in another form.
    """
    return (
        _line(_("Operation"), f"{summary_of(wanted.operation)} ({wanted.operation})"),
        _line(_("Site"), wanted.site),
        _line(_("Space"), wanted.space or _("the whole site")),
        *parameter_lines(to_builtins(wanted.parameters_as())),
        _line(_("Reason"), wanted.reason),
        _line(_("Asked for by"), called(wanted.requester)),
        _line(_("Asked for at"), f"{moment(wanted.issued)} {zone_name()}"),
        _line(_("Open until"), f"{moment(wanted.expires)} {zone_name()}"),
        _line(_("Must approve"), needs_in_words(wanted.quorum)),
        _line(
            _("Register of people (SHA-256)"), f"{hexadecimal(wanted.register)} ({wanted.register})"
        ),
        _line(_("Random number"), wanted.nonce),
        _line(_("Request"), wanted.id),
    )


def parameter_lines(parameters: dict[str, Any]) -> Iterator[Line]:
    """Yield the parameters of a request, or of a policy, each under its path."""
    for path, value in flat(parameters):
        yield Line(label_of(path), path, _texts(told(path, value)))


def told(path: str, value: Any) -> str:
    """Return a parameter's value exactly, with what it means to people behind it."""
    name = path.rpartition(".")[2]
    if name in _TIMES:
        return f"{moment(value)} {zone_name()} ({value})"
    if name in _WORDS:
        return f"{word(value)} ({value})"
    if name in _MINUTES_OF_DAY:
        return f"{value} ({minutes_of_day(value)} {zone_name()})"
    if name.endswith("_seconds") and value:
        return f"{value} ({duration(value)})"
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    return str(value)


def label_of(path: str) -> str:
    """Return what a parameter is called; its path where it has no name of its own."""
    name = next((one for one in reversed(path.split(".")) if not one.isdecimal()), path)
    return _labels().get(name, path)


def _line(label: str, text: str) -> Line:
    return Line(label, "", _texts(text))


def _texts(text: str) -> tuple[str, ...]:
    return tuple(visible(line) for line in text.split("\n"))


def _labels() -> dict[str, str]:
    return {
        "meeting": _("Meeting"),
        "epoch": _("Epoch"),
        "hold": _("Legal hold"),
        "principal": _("Caller"),
        "role": _("Role"),
        "starts": _("Starts"),
        "expires": _("Ends"),
        "partner": _("Partner's space"),
        "report": _("Report"),
        "version": _("Version"),
        "text": _("Policies (Cedar)"),
        "space": _("Space"),
        **_policy_labels(),
        **_disk_labels(),
    }


def _policy_labels() -> dict[str, str]:
    return {
        "department": _("Department"),
        "business_type": _("Line of business"),
        "region": _("Region"),
        "customer_level": _("Customer level"),
        "classification": _("Classification"),
        "interval_seconds": _("New key every (s)"),
        "maximum_age_seconds": _("Maximum age (s)"),
        "join_age_seconds": _("Join rotates from age (s)"),
        "maximum_uses": _("Most envelopes of a key"),
        "quiet_from": _("Quiet hours from (minute of the day)"),
        "quiet_until": _("Quiet hours until (minute of the day)"),
        "publish_ahead_seconds": _("Published ahead (s)"),
        "vault_seconds": _("Vault key's time (s)"),
        "retention_seconds": _("Kept after the end (s)"),
        "quorums": _("Own rules about who must approve"),
        "operation": _("Operation"),
        "needs": _("Groups that must approve"),
        "group": _("Group"),
        "count": _("How many people"),
        "thresholds": _("Own thresholds of alerts"),
        "alert": _("Alert"),
        "number": _("From number"),
    }


def _disk_labels() -> dict[str, str]:
    return {
        "disk": _("Disk"),
        "serial": _("Serial"),
        "size": _("Size (bytes)"),
        "preparation": _("How it is prepared"),
        "label": _("Label"),
        "name": _("Mount name"),
        "automatic": _("Opened when plugged in"),
        "read_only": _("Read only"),
        "replaces": _("Replaces"),
        "overwrite": _("Overwrite what lies on it"),
        "absent": _("The device is lost or broken"),
    }

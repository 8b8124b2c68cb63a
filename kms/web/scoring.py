"""Scores as people read them: a tone, reasons in the present language, links to the evidence."""

from collections.abc import Iterator
from dataclasses import dataclass

from kms.domain.ids import MeetingId, SpaceName
from kms.domain.score import LABEL_EN, LABEL_ZH, Evidence, EvidenceKind, Part, Reason, Score
from kms.i18n import Language, _, language


@dataclass(frozen=True, slots=True)
class Mark:
    """A score: ``number`` with two digits, ``icon`` and ``tone`` of the gravest part that fails,
    ``vector`` with the parts' names, such as ``D1/A0/K1``.
    """

    number: str
    icon: str
    tone: str
    vector: str


@dataclass(frozen=True, slots=True)
class Link:
    """Evidence in words, and where to look at it (empty: nowhere on the board)."""

    text: str
    href: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason: which part it is for or against, whether it holds."""

    part: str
    holds: bool
    text: str
    links: tuple[Link, ...]


_TONES = ((Part.D, "✕", "bad"), (Part.K, "▲", "warn"), (Part.A, "○", "quiet"))


def mark(found: Score) -> Mark:
    """Return a score as it is shown."""
    holds = {Part.D: found.d, Part.K: found.k, Part.A: found.a}
    failing = ((icon, tone) for part, icon, tone in _TONES if not holds[part])
    return Mark(f"{found.number:.2f}", *next(failing, ("✓", "good")), found.vector)


def label() -> str:
    """Return what the number is: a self-check, no assessment."""
    return LABEL_ZH if language() is Language.ZH else LABEL_EN


def said(reason: Reason | None) -> str:
    """Return a reason in the present language; empty for none."""
    if reason is None:
        return ""
    return reason.zh if language() is Language.ZH else reason.en


def findings(found: Score, space: SpaceName, meeting: MeetingId) -> tuple[Finding, ...]:
    """Return every reason, those against it first."""
    ordered = sorted(found.reasons, key=lambda one: one.holds)
    return tuple(
        Finding(_part(one.part), one.holds, said(one), tuple(_links(one, space, meeting)))
        for one in ordered
    )


def _part(part: Part) -> str:
    texts = {
        Part.D: _("Encrypted (D)"),
        Part.A: _("Algorithm (A)"),
        Part.K: _("Key management (K)"),
    }
    return texts[part]


def _links(reason: Reason, space: SpaceName, meeting: MeetingId) -> Iterator[Link]:
    for one in reason.evidence:
        yield _link(one, space, meeting)


def _link(evidence: Evidence, space: SpaceName, meeting: MeetingId) -> Link:
    value = evidence.value
    texts = {
        EvidenceKind.LEAF: _("log entry {value}"),
        EvidenceKind.EPOCH: _("epoch {value}"),
        EvidenceKind.GRANT: _("grant {value}"),
        EvidenceKind.VAULT: _("vault key {value}"),
        EvidenceKind.ESCROW: _("escrow generation {value}"),
    }
    places = {
        EvidenceKind.LEAF: f"/audit/leaves/{value}",
        EvidenceKind.EPOCH: f"/meetings/{space}/{meeting}#epoch-{value}",
        EvidenceKind.GRANT: "/grants",
        EvidenceKind.VAULT: f"/keys?space={space}",
        EvidenceKind.ESCROW: "/escrow",
    }
    return Link(texts[evidence.kind].format(value=value), places[evidence.kind])

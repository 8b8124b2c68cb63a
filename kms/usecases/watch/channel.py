"""What a notification channel is: the port of kms/notify, and what goes through it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from kms.domain.alerts import Severity
from kms.i18n import Language


class DeliveryError(Exception):
    """A notice was not taken, or nobody knows; the message is short and holds no secret."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What people, or their tools, are told of one leaf. ``seq`` is the leaf's, so that what comes
    twice is known again; -1 if the log could not be written. ``title`` and ``text`` are in the
    channel's language. ``audit``: it is an entry of the log, exported as it is.
    """

    seq: int
    kind: str
    time: str
    severity: Severity
    space: str
    title: str
    text: str
    fields: dict[str, str] = field(default_factory=dict)
    audit: bool = False


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a channel wants to hear: from which severity on, whether requests for approval too,
    whether every leaf of the log; in which language.
    """

    name: str
    severity: Severity
    language: Language
    approvals: bool
    audit: bool = False


class Channel(Protocol):
    """A way to reach people."""

    @property
    def wishes(self) -> Wishes:
        """What it wants to hear."""
        ...

    async def send(self, notices: Sequence[Notice]) -> None:
        """Deliver in order; raise DeliveryError, then all of them are sent again."""
        ...

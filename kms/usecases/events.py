"""What subscribers hear: the log's own leaves, filtered by space. The event's id is the leaf's."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from kms.audit.leaf import Leaf, Outcome, Phase, decode_leaf
from kms.domain.alerts import severity_of
from kms.domain.models import Principal
from kms.domain.states import KeyState
from kms.usecases.services import Services
from kms.usecases.watch.health import may_see_alert

_PAGE = 500
_KINDS = frozenset(
    {
        "meeting.open",
        "meeting.close",
        "meeting.destroy",
        "roster.change",
        "epoch.rotate",
        "epoch.activate",
        "epoch.suspend",
        "epoch.resume",
        "epoch.compromise",
        "epoch.destroy",
        "meeting.share",
    }
)
_STATES = {
    "epoch.suspend": KeyState.SUSPENDED,
    "epoch.resume": KeyState.ACTIVE,
    "epoch.compromise": KeyState.COMPROMISED,
    "epoch.destroy": KeyState.DESTROYED,
}
"""The state that an epoch is in after what is told."""


_ALERTS = frozenset({"alert.raise", "alert.clear"})


@dataclass(frozen=True, slots=True)
class Event:
    """A change of a meeting. ``epoch`` was minted or changed its state, ``cancelled`` must not be
    used. Or an alert, which has no meeting, and no space if it is the site's own.
    """

    seq: int
    kind: str
    at: str
    space: str | None
    meeting: str | None
    epoch: int | None = None
    state: str | None = None
    cancelled: int | None = None
    alert: str | None = None
    severity: str | None = None
    subject: str | None = None
    number: int | None = None


async def follow(
    services: Services, principal: Principal, after: int
) -> AsyncGenerator[Event, None]:
    """Yield the events behind leaf ``after`` (-1: all), then new ones as they become durable.

    A reader that is slow holds nothing up: it reads the log at its own pace.
    """
    grown = asyncio.Event()
    stop = services.store.subscribe(lambda _size: grown.set())
    position = after + 1
    try:
        while True:
            grown.clear()
            for data in services.store.leaves(position, _PAGE):
                leaf = decode_leaf(data)
                position = leaf.seq + 1
                if leaf.action in _ALERTS:
                    if may_see_alert(principal, leaf.space):
                        yield _alert(leaf)
                elif principal.reaches(leaf.space) and _told(leaf):
                    yield _event(leaf)
            if position >= services.store.tree_size():
                await grown.wait()
            else:
                await asyncio.sleep(0)  # others have their turn between two pages
    finally:
        stop()


def _told(leaf: Leaf) -> bool:
    return (
        leaf.action in _KINDS
        and leaf.phase is not Phase.INTENT
        and leaf.outcome is Outcome.SUCCEEDED
    )


def _alert(leaf: Leaf) -> Event:
    alert = str(leaf.details["alert"])
    return Event(
        leaf.seq,
        leaf.action,
        leaf.time,
        leaf.space or None,
        None,
        alert=alert,
        severity=severity_of(alert),
        subject=leaf.details["subject"],
        number=leaf.details.get("number"),
    )


def _event(leaf: Leaf) -> Event:
    parts = leaf.resource.split("/")
    return Event(
        leaf.seq,
        leaf.action,
        leaf.time,
        leaf.space,
        parts[3],
        leaf.details.get("epoch"),
        leaf.details.get("state") or _STATES.get(leaf.action),
        _unusable(leaf),
    )


def _unusable(leaf: Leaf) -> int | None:
    """Return the epoch that must not be used from now on."""
    field = "epoch" if leaf.action == "epoch.compromise" else "cancelled"
    number: int | None = leaf.details.get(field)
    return number

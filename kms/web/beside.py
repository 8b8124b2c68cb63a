"""What the service knows of the things that a request names, for whoever is to approve it. None of
it is signed, and the page says so.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import to_builtins

from kms.domain.approvals import (
    EpochTarget,
    HoldTarget,
    MeetingTarget,
    PolicyChange,
    Sharing,
    SitePolicyChange,
)
from kms.domain.asked import flat
from kms.domain.disks import DiskTarget
from kms.domain.ids import SpaceName
from kms.domain.reports import ReportTarget
from kms.domain.text import visible
from kms.errors import ConclaveError, HsmUnavailable, NotFound, Sealed
from kms.i18n import _
from kms.statements.request import OperationRequest
from kms.usecases.disks import views as disks
from kms.usecases.lifecycle.holds import list_holds
from kms.usecases.policies import read_policy, read_site_policy
from kms.web.requested import label_of, told
from kms.web.visit import Visit
from kms.web.words import moment

_NONE, _BETWEEN = "—", "…"
_ABOUT = 3
"""Lines shown around each change of a text."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that a policy change alters."""

    label: str
    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Beside:
    """``facts`` in words with their labels, ``changes`` of a space's policy against the one in
    force, ``text`` the same of Cedar policies as (sign, line); ``stale``: the change does not
    follow the version in force. ``href`` leads to what it is about; ``error``: it cannot be read.
    """

    facts: tuple[tuple[str, str], ...] = ()
    changes: tuple[Difference, ...] = ()
    text: tuple[tuple[str, str], ...] = ()
    stale: bool = False
    href: str = ""
    error: ConclaveError | None = None


async def beside(visit: Visit, wanted: OperationRequest) -> Beside:
    """Return what is known; what a sealed or absent space keeps is not."""
    try:
        return await _beside(visit, wanted)
    except (HsmUnavailable, NotFound, Sealed) as error:
        return Beside(error=error)


async def _beside(visit: Visit, wanted: OperationRequest) -> Beside:
    match wanted.parameters_as():
        case HoldTarget(name):
            return await _hold(visit, SpaceName(wanted.space), name)
        case PolicyChange() | SitePolicyChange() as change:
            return await _policy(visit, change)
        case DiskTarget(name):
            return _disk(await disks.disk(visit.services, visit.call("disk.read"), name))
        case _:
            return place(wanted)


def place(wanted: OperationRequest) -> Beside:
    """Return the link alone to what a request is about, where a page is about it."""
    match wanted.parameters_as():
        case EpochTarget(meeting) | MeetingTarget(meeting) | Sharing(meeting):
            return Beside(href=f"/meetings/{wanted.space}/{meeting}")
        case ReportTarget():
            return Beside(href="/reports")
        case _:
            return Beside()


async def _policy(visit: Visit, change: PolicyChange | SitePolicyChange) -> Beside:
    services = visit.services
    if isinstance(change, SitePolicyChange):
        site = await read_site_policy(services, visit.call("site-policy.read"))
        stale = change.version != site.version + 1
        return Beside(text=_compared(site.text, change.text), stale=stale)
    new = change.policy
    old, version = await read_policy(services, visit.call("policy.read"), new.space)
    changes = differences({"policy": to_builtins(old)}, {"policy": to_builtins(new)})
    return Beside(changes=changes, stale=change.version != version + 1)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Return every field that differs, also those that one side alone has."""
    before, after = dict(flat(old)), dict(flat(new))
    return tuple(
        Difference(label_of(path), path, _value(before, path), _value(after, path))
        for path in dict.fromkeys((*before, *after))
        if before.get(path) != after.get(path)
    )


def _value(fields: Mapping[str, Any], path: str) -> str:
    if path not in fields:
        return _NONE
    return visible(told(path, fields[path])) or _NONE


def _compared(old: str, new: str) -> tuple[tuple[str, str], ...]:
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=_ABOUT)
    return tuple(
        ("", _BETWEEN) if line.startswith("@") else (line[:1], visible(line[1:]))
        for line in list(lines)[2:]
    )


async def _hold(visit: Visit, space: SpaceName, name: str) -> Beside:
    found = await list_holds(visit.services, visit.call("hold.list"), space)
    hold = next((one for one in found if one.hold == name), None)
    if hold is None:
        raise NotFound("there is no such hold")
    facts = (
        (_("Protects"), hold.meeting or _("the whole space")),
        (_("Why it was placed"), visible(hold.reason)),
        (_("Placed by"), hold.placed_by),
        (_("Placed at"), moment(hold.placed)),
        (_("Lifted"), moment(hold.lifted)),
    )
    return Beside(facts=facts)


def _disk(found: disks.DiskView) -> Beside:
    disk = found.disk
    state = _("erased") if disk.erased else _(found.device.state.value) if found.device else _NONE
    facts = (
        (_("Label"), visible(disk.label)),
        (_("Serial"), disk.serial),
        (_("State"), state),
    )
    return Beside(facts=facts, href="/disks")

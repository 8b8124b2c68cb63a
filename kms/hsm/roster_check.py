"""What a ``roster`` space's worker checks before it wraps for devices.

The statement is signed by a TRUSTED roster authority, is about this space and meeting and not
older than one seen before; every device has a valid certificate of a TRUSTED anchor. In a
confidential meeting the host has invited every device, and the host stays who it was.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from kms.domain.models import Meeting, Roster
from kms.errors import VerificationFailed
from kms.hsm.devices import Device, read_device
from kms.hsm.keyring import Anchors, SpaceKeyring
from kms.statements import jws
from kms.statements.invitation import host_id, host_key, verify_invitation
from kms.statements.roster import TYP, RosterStatement, verify_roster

MAX_MEETINGS = 65_536
"""Meetings whose highest roster version is remembered."""
MAX_CERTIFICATES = 2_048
"""Device certificates whose signature is not checked again while their anchor stands."""

_K = TypeVar("_K")
_V = TypeVar("_V")


class Latest(Generic[_K, _V]):
    """A mapping that forgets what was unused longest."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._items: OrderedDict[_K, _V] = OrderedDict()

    def get(self, key: _K) -> _V | None:
        """Return what is remembered of the key."""
        if key not in self._items:
            return None
        self._items.move_to_end(key)
        return self._items[key]

    def put(self, key: _K, value: _V) -> None:
        """Remember a value."""
        self._items[key] = value
        self._items.move_to_end(key)
        if len(self._items) > self._most:
            self._items.popitem(last=False)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A meeting's newest roster that was seen, and its host."""

    version: int
    host: str


class RosterCheck:
    """Checks the rosters of one space of a site; ``clock`` gives seconds since 1970."""

    def __init__(self, site: str, space: str, clock: Callable[[], float]) -> None:
        self._site = site
        self._space = space
        self._clock = clock
        self._seen: Latest[str, _Seen] = Latest(MAX_MEETINGS)
        self._known: Latest[str, Device] = Latest(MAX_CERTIFICATES)

    def devices(self, keys: SpaceKeyring, meeting: Meeting, roster: Roster) -> list[Device]:
        """Return the devices of a meeting's roster in its order; raise VerificationFailed."""
        kid = jws.key_id(roster.statement, typ=TYP)
        statement = verify_roster(roster.statement, keys.authority(kid))
        self._check_subject(statement, meeting, roster)
        devices = self._read(keys, statement.devices)
        now = self._clock()
        for device in devices:
            device.check_valid(now)
        if tuple(device.id for device in devices) != roster.recipients:
            raise VerificationFailed("the roster's record names other devices than its statement")
        if statement.host:
            self._check_invited(statement, devices, now)
        self._seen.put(roster.meeting, _Seen(roster.version, meeting.host))
        return devices

    def _check_subject(self, statement: RosterStatement, meeting: Meeting, roster: Roster) -> None:
        if (statement.space, statement.meeting, statement.version) != (
            self._space,
            roster.meeting,
            roster.version,
        ):
            raise VerificationFailed("the roster statement is about something else")
        seen = self._seen.get(roster.meeting) or _Seen(0, meeting.host)
        if statement.version < seen.version:
            raise VerificationFailed("a newer roster of this meeting was seen before")
        if not host_id(statement.host) == meeting.host == seen.host:
            raise VerificationFailed("the roster names another host than the meeting has")

    def _check_invited(self, statement: RosterStatement, devices: list[Device], now: float) -> None:
        """Raise VerificationFailed unless each device has one invitation of the host for this
        meeting that is in force now; a passkey that it names is one that can be verified.
        """
        host = host_key(statement.host)
        invitations = [verify_invitation(token, host) for token in statement.invitations]
        if sorted(one.device for one in invitations) != sorted(device.id for device in devices):
            raise VerificationFailed("the host has not invited each device once")
        place = (self._site, statement.space, statement.meeting)
        if any((one.site, one.space, one.meeting) != place for one in invitations):
            raise VerificationFailed("an invitation is to another meeting")
        if not all(one.in_force(now) for one in invitations):
            raise VerificationFailed("an invitation is not in force now")

    def _read(self, keys: SpaceKeyring, certificates: tuple[str, ...]) -> list[Device]:
        anchors = keys.anchors()
        try:
            return [self._device(anchors, item) for item in certificates]
        except VerificationFailed:
            # The anchor may have been registered since the token was read.
            keys.reread_anchors()
            anchors = keys.anchors()
            return [self._device(anchors, item) for item in certificates]

    def _device(self, anchors: Anchors, certificate: str) -> Device:
        device = self._known.get(certificate)
        if device is None or device.anchor not in anchors:
            device = read_device(certificate, anchors.values())
            self._known.put(certificate, device)
        return device

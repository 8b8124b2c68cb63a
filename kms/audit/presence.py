"""Releases of confidential meetings' envelopes: each on an assertion, and on one of its own.

A statement of presence is in the leaf and is checked again from the host that the worker's manifest
names. Of a JWT the leaf has the digest: that it counted is the service's word.
"""

from kms.audit.checks import Broken, Check, Tally
from kms.audit.facts import MeetingFacts
from kms.audit.leaf import Leaf, seconds
from kms.audit.passkeys import Passkeys
from kms.audit.words import Served
from kms.domain.passkeys import MOST_PRESENCE_SECONDS
from kms.errors import VerificationFailed
from kms.statements.manifest import Manifest
from kms.statements.presence import Shown, verify_presence

_SLACK = 60
"""A call that was let in may last so many seconds."""
_AHEAD = 3
"""By how many seconds a device's clock may be ahead."""
_REMEMBERED = 2 * (MOST_PRESENCE_SECONDS + _SLACK)
"""For how many seconds a used one is remembered: longer than it could count."""


class Releases:
    """Checks what the leaves of releases say of who was at the device."""

    def __init__(self, site: str, passkeys: Passkeys, tally: Tally) -> None:
        self._site = site
        self._passkeys = passkeys
        self._tally = tally
        self._used: dict[str, int] = {}
        self._swept = 0

    def check(self, leaf: Leaf, told: Served, facts: MeetingFacts) -> None:
        """Raise Broken unless the release rests on an assertion, as its meeting demands."""
        if not (facts.host or told.assertion or told.presence):
            return
        self._tally.count(Check.PRESENCE)
        if bool(told.assertion) == bool(told.presence):
            raise _broken("交付信封未记一份在场证明", "a release does not tell of one assertion")
        name = told.assertion
        if told.presence:
            name = self._check_shown(leaf, told, facts)
        self._use(name, seconds(leaf.time))

    def _check_shown(self, leaf: Leaf, told: Served, facts: MeetingFacts) -> str:
        """Return the digest that names a statement of presence; raise Broken unless it counted."""
        try:
            shown = verify_presence(told.presence, facts.host)
        except VerificationFailed as error:
            raise _broken("在场证明不成立", error.message) from error
        presence = shown.presence
        place = (self._site, facts.space, facts.meeting, told.recipient)
        if (presence.site, presence.space, presence.meeting, presence.device) != place:
            raise _broken("在场证明属于其他会议或设备", "presence at another device or meeting")
        if self._passkeys.has(shown.passkey.credential):
            raise _broken("所用通行密钥另有用途", "presence by a passkey of the board")
        _check_time(shown, seconds(leaf.time))
        return shown.digest

    def _use(self, name: str, at: int) -> None:
        if at - self._swept > _REMEMBERED:
            self._used = {one: t for one, t in self._used.items() if at - t <= _REMEMBERED}
            self._swept = at
        if name in self._used:
            raise _broken("同一在场证明被使用两次", "one assertion was used twice")
        self._used[name] = at


def check_host(facts: MeetingFacts, manifest: Manifest) -> None:
    """Take in a manifest's host; raise Broken if the meeting had another."""
    before, facts.host = facts.host, facts.host or manifest.host
    if before and manifest.host != before:
        raise _broken("会议的主持人变了", "the meeting's host changed")


def _check_time(shown: Shown, at: int) -> None:
    issued = shown.presence.issued
    if not at - MOST_PRESENCE_SECONDS - _SLACK <= issued <= at + _AHEAD:
        raise _broken("在场证明不在时限之内", "presence at another time")
    if at >= shown.invitation.expires + _SLACK:
        raise _broken("邀请已过期", "the invitation had expired")


def _broken(zh: str, en: str) -> Broken:
    return Broken(Check.PRESENCE, zh, en)

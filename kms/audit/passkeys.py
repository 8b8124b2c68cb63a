"""Passkeys as the log tells them: invited and admitted by credentials of the register of people in
force then, used for what they are for, and for nothing once they are revoked.

The leaves hold the statements and the public keys, so that no other evidence is needed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from kms.audit.checks import Broken, Check
from kms.audit.facts import check_rows
from kms.audit.leaf import Leaf, Outcome, seconds
from kms.audit.passkey_words import (
    DETAILS,
    Admitted,
    Confirmed,
    Enrolled,
    Invited,
    Revoked,
    Started,
)
from kms.audit.words import details
from kms.domain.passkeys import Purpose
from kms.domain.people import Register
from kms.errors import ConclaveError
from kms.statements.canonical import digest
from kms.statements.card import load_key
from kms.statements.passkeys import (
    Invitation,
    verify_admission,
    verify_invitation,
)

_SLACK = 60
"""A call that was let in may last so many seconds."""
_PASSKEY, _CERTIFICATE = "passkey:", "tls:"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Known:
    """A passkey: how it was enrolled, the admissions that were given, when it was revoked."""

    enrolled: Enrolled
    admissions: frozenset[str] = field(default_factory=frozenset)
    revoked: int = 0


class Passkeys:
    """Applies the leaves about passkeys and sessions; ``register`` returns the register of people
    in force for the leaf of a number, or raises Broken.
    """

    def __init__(self, register: Callable[[int], Register]) -> None:
        self._register = register
        self._known: dict[str, _Known] = {}
        self._invited: dict[str, Invitation] = {}
        self._codes: set[str] = set()
        self._counters: dict[str, int] = {}
        self._certificates: set[tuple[str, str]] = set()
        self._steps: dict[str, Callable[[Leaf], None]] = {
            "passkey.invite": self._invite,
            "passkey.enroll": self._enroll,
            "passkey.admit": self._admit,
            "passkey.revoke": self._revoke,
            "session.start": self._start,
            "session.confirm": self._confirm,
        }

    def has(self, credential: str) -> bool:
        """Whether a passkey was ever enrolled at the board."""
        return credential in self._known

    def knows(self, leaf: Leaf) -> bool:
        """Whether the leaf is about a passkey or a session."""
        return leaf.action in DETAILS

    def apply(self, leaf: Leaf) -> None:
        """Apply one leaf; raise Broken."""
        details(leaf, DETAILS[leaf.action])
        check_rows(leaf, set())
        if leaf.outcome is Outcome.SUCCEEDED and leaf.action in self._steps:
            self._steps[leaf.action](leaf)

    def check_actor(self, leaf: Leaf) -> None:
        """Raise Broken unless whoever acted by a passkey had signed in with one that counted."""
        if not leaf.auth.startswith(_PASSKEY) or leaf.outcome is Outcome.REFUSED:
            return
        known = self._counting(leaf, _credential_of(leaf))
        if (known.enrolled.purpose, known.enrolled.person) != (Purpose.SIGN_IN, leaf.actor):
            raise _broken("所用通行密钥并非本人的登录密钥", "not a sign-in passkey of the actor")

    def check_signer(self, leaf: Leaf, credential: str, admission: str) -> None:
        """Raise Broken unless an approval passkey was enrolled, admitted by that very statement and
        not revoked before the leaf.
        """
        known = self._counting(leaf, credential)
        if known.enrolled.purpose is not Purpose.APPROVAL or admission not in known.admissions:
            raise _broken("签名的通行密钥未获准许", "signed by a passkey that was not admitted")

    def _counting(self, leaf: Leaf, credential: str) -> _Known:
        known = self._known.get(credential)
        if known is None:
            raise _broken("通行密钥从未登记", "a passkey that was never enrolled")
        if known.revoked and seconds(leaf.time) > known.revoked + _SLACK:
            raise _broken("通行密钥撤销后仍被使用", "a passkey was used after it was revoked")
        return known

    def _invite(self, leaf: Leaf) -> None:
        told = details(leaf, Invited)
        found = _held(
            lambda: verify_invitation(told.statement, self._register(leaf.seq), seconds(leaf.time)),
            "邀请并非由登记册中本人的凭据签名，或不在有效期内",
        )
        if (found.person, found.purpose) != (told.person, told.purpose):
            raise _broken("邀请与日志条目不符", "the invitation is not the one told of")
        if found.code_sha256 in self._codes:
            raise _broken("同一邀请出现两次", "one invitation twice")
        self._codes.add(found.code_sha256)
        self._invited[digest(told.statement.encode())] = found

    def _enroll(self, leaf: Leaf) -> None:
        told = details(leaf, Enrolled)
        if told.credential in self._known:
            raise _broken("通行密钥重复登记", "a passkey was enrolled twice")
        _held(lambda: load_key(told.spki), "通行密钥不是 P-256 公钥")
        self._known[told.credential] = _Known(told)
        self._counters[told.credential] = told.counter
        if told.invitation:
            self._by_invitation(leaf, told)
        elif told.purpose is not Purpose.APPROVAL or leaf.actor != told.person:
            raise _broken("登记通行密钥却无邀请", "enrolled without an invitation")
        elif not leaf.auth.startswith(_PASSKEY) and not self._by_certificate(leaf):
            raise _broken("登记者并未登录", "enrolled by somebody who was not signed in")

    def _by_invitation(self, leaf: Leaf, told: Enrolled) -> None:
        found = self._invited.pop(told.invitation, None)
        if found is None:
            raise _broken("邀请不存在或已被使用", "no such invitation, or it was used")
        if (found.person, found.purpose) != (told.person, told.purpose):
            raise _broken("邀请的是他人或另有用途", "invited was another person or purpose")
        if seconds(leaf.time) >= found.expires + _SLACK:
            raise _broken("邀请已过期", "the invitation had expired")
        people = {one.name: one for one in self._register(leaf.seq).people}
        person = people.get(told.person)
        if person is None or not person.in_office(seconds(leaf.time)):
            raise _broken("登记者不在任", "enrolled by somebody who was not in office")

    def _by_certificate(self, leaf: Leaf) -> bool:
        return (leaf.actor, leaf.auth) in self._certificates

    def _admit(self, leaf: Leaf) -> None:
        told = details(leaf, Admitted)
        known = self._counting(leaf, told.credential)
        found = _held(
            lambda: verify_admission(told.statement, self._register(leaf.seq), seconds(leaf.time)),
            "准许书并非由登记册中本人的凭据签名，或不在有效期内",
        )
        own = known.enrolled
        expected = (own.person, own.credential, own.spki, own.rp_id)
        if (found.person, found.credential, found.spki, found.rp_id) != expected:
            raise _broken("准许的是另一通行密钥", "the admission is of another passkey")
        if own.purpose is not Purpose.APPROVAL or known.revoked:
            raise _broken("此通行密钥不可用于批准", "not a passkey for approvals")
        self._known[told.credential] = replace(
            known, admissions=known.admissions | {told.statement}
        )

    def _revoke(self, leaf: Leaf) -> None:
        told = details(leaf, Revoked)
        known = self._known.get(told.credential)
        if known is None or known.revoked or known.enrolled.person != told.person:
            raise _broken("撤销的通行密钥不存在", "no such passkey to revoke")
        self._known[told.credential] = replace(known, revoked=seconds(leaf.time))

    def _start(self, leaf: Leaf) -> None:
        told = details(leaf, Started)
        if not told.credential and leaf.auth.startswith(_CERTIFICATE):
            self._certificates.add((leaf.actor, leaf.auth))
            return
        if leaf.auth != f"{_PASSKEY}{told.credential}":
            raise _broken("登录所用通行密钥与所记不符", "signed in by another passkey than told")
        self._use(leaf, told.credential, told.counter)

    def _confirm(self, leaf: Leaf) -> None:
        told = details(leaf, Confirmed)
        self._use(leaf, told.credential, told.counter)

    def _use(self, leaf: Leaf, credential: str, counter: int) -> None:
        known = self._counting(leaf, credential)
        if (known.enrolled.purpose, known.enrolled.person) != (Purpose.SIGN_IN, leaf.actor):
            raise _broken("所用通行密钥并非本人的登录密钥", "not a sign-in passkey of the actor")
        last = self._counters.get(credential, 0)
        self._counters[credential] = max(counter, last)
        if (counter or last) and counter <= last:
            raise _broken("通行密钥的计数器倒退", "a passkey's counter went back")


def _credential_of(leaf: Leaf) -> str:
    return leaf.auth.removeprefix(_PASSKEY).partition(";")[0]


def _held(step: Callable[[], _T], zh: str) -> _T:
    """Return what a check returns; raise Broken with these words for what it refuses."""
    try:
        return step()
    except Broken:
        raise
    except ConclaveError as error:
        raise _broken(zh, error.message) from error


def _broken(zh: str, en: str) -> Broken:
    return Broken(Check.PASSKEYS, zh, en)

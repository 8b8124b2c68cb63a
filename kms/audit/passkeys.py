"""Passkeys as the log tells them: invited and admitted by credentials of the register of people in
force then, used for what they are for, and for nothing once they are revoked.

The leaves hold the statements and the public keys, so that no other evidence is needed. The service
folds over its log with this very class, and writes no leaf that it would refuse.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from kms.audit.checks import Broken, Check
from kms.audit.facts import check_rows
from kms.audit.leaf import Leaf, Outcome, Phase, seconds
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
from kms.errors import ConclaveError, VerificationFailed
from kms.statements.canonical import digest
from kms.statements.card import load_key
from kms.statements.passkeys import (
    Invitation,
    verify_admission,
    verify_invitation,
)

_SLACK = 60
"""A call that was let in may last so many seconds."""
_HARMLESS = frozenset({"report.make", "session.end"})
"""What is written at an end, however late, and gives nobody anything: a session of a passkey that
was revoked ends too, and a report that was begun before is made for whoever may export it.
"""
_PASSKEY, _CERTIFICATE = "passkey:", "tls:"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Known:
    """A passkey: how it was enrolled, the admissions that were given and when the newest was
    issued, when it was revoked.
    """

    enrolled: Enrolled
    admissions: frozenset[str] = field(default_factory=frozenset)
    issued: int = 0
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
        self._intents: dict[int, tuple[str, int]] = {}
        self._begun = (-1, 0)
        self._steps: dict[str, Callable[[Leaf], None]] = {
            "passkey.invite": self._invite,
            "passkey.enroll": self._enroll,
            "passkey.admit": self._admit,
            "passkey.revoke": self._revoke,
            "session.start": self._start,
            "session.confirm": self._confirm,
        }

    def copy(self, register: Callable[[int], Register] | None = None) -> "Passkeys":
        """Return one that knows the same, to try a leaf on, or to go on with other registers."""
        other = Passkeys(register or self._register)
        other._known, other._invited = dict(self._known), dict(self._invited)
        other._codes, other._counters = set(self._codes), dict(self._counters)
        other._certificates, other._intents = set(self._certificates), dict(self._intents)
        return other

    def has(self, credential: str) -> bool:
        """Whether a passkey was ever enrolled at the board."""
        return credential in self._known

    def was_invited(self, code_sha256: str) -> bool:
        """Whether an invitation with that code was ever taken in, used or not."""
        return code_sha256 in self._codes

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
        """Raise Broken unless whoever acted by a passkey had signed in with one that counted when
        the act began. To be asked of every leaf, before any other check of it.
        """
        self._follow(leaf)
        if not leaf.auth.startswith(_PASSKEY) or leaf.outcome is Outcome.REFUSED:
            return
        known = self._find(_credential_of(leaf))
        if leaf.action not in _HARMLESS:
            self._check_unrevoked(leaf, known)
        _check_owner(leaf, known)

    def check_admitted(self, credential: str, admission: str) -> None:
        """Raise Broken unless an approval passkey was enrolled, and admitted by that very
        statement.
        """
        known = self._find(credential)
        if known.enrolled.purpose is not Purpose.APPROVAL or admission not in known.admissions:
            raise _broken("签名的通行密钥未获准许", "signed by a passkey that was not admitted")

    def check_signer(self, leaf: Leaf, credential: str, admission: str) -> None:
        """Raise Broken unless an approval passkey was admitted, and not revoked before what the
        leaf tells of began.
        """
        self.check_admitted(credential, admission)
        self._check_unrevoked(leaf, self._find(credential))

    def _follow(self, leaf: Leaf) -> None:
        """Learn when the act of a result began: its intent tells."""
        if leaf.phase is Phase.INTENT:
            self._intents[leaf.seq] = leaf.auth, seconds(leaf.time)
        auth, at = self._intents.pop(-1 if leaf.intent is None else leaf.intent, ("", 0))
        self._begun = (leaf.seq, at) if auth and auth == leaf.auth else (-1, 0)

    def _find(self, credential: str) -> _Known:
        known = self._known.get(credential)
        if known is None:
            raise _broken("通行密钥从未登记", "a passkey that was never enrolled")
        return known

    def _check_unrevoked(self, leaf: Leaf, known: _Known) -> None:
        seq, begun = self._begun
        at = begun if seq == leaf.seq else seconds(leaf.time)
        if known.revoked and at > known.revoked + _SLACK:
            raise _broken("通行密钥撤销后仍被使用", "a passkey was used after it was revoked")

    def _invite(self, leaf: Leaf) -> None:
        told = details(leaf, Invited)
        found = _lately(
            lambda at: verify_invitation(told.statement, self._register(leaf.seq), at),
            leaf,
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
        if told.invitation:
            self._by_invitation(leaf, told)
        elif told.purpose is not Purpose.APPROVAL or leaf.actor != told.person:
            raise _broken("登记通行密钥却无邀请", "enrolled without an invitation")
        elif not leaf.auth.startswith(_PASSKEY) and not self._by_certificate(leaf):
            raise _broken("登记者并未登录", "enrolled by somebody who was not signed in")
        self._known[told.credential] = _Known(told)
        self._counters[told.credential] = told.counter

    def _by_invitation(self, leaf: Leaf, told: Enrolled) -> None:
        found = self._invited.get(told.invitation)
        if found is None:
            raise _broken("邀请不存在或已被使用", "no such invitation, or it was used")
        if (found.person, found.purpose) != (told.person, told.purpose):
            raise _broken("邀请的是他人或另有用途", "invited was another person or purpose")
        if seconds(leaf.time) >= found.expires + _SLACK:
            raise _broken("邀请已过期", "the invitation had expired")
        people = {one.name: one for one in self._register(leaf.seq).people}
        person = people.get(told.person)
        if person is None or not any(map(person.in_office, _moments(leaf))):
            raise _broken("登记者不在任", "enrolled by somebody who was not in office")
        del self._invited[told.invitation]

    def _by_certificate(self, leaf: Leaf) -> bool:
        return (leaf.actor, leaf.auth) in self._certificates

    def _admit(self, leaf: Leaf) -> None:
        told = details(leaf, Admitted)
        known = self._find(told.credential)
        found = _lately(
            lambda at: verify_admission(told.statement, self._register(leaf.seq), at),
            leaf,
            "准许书并非由登记册中本人的凭据签名，或不在有效期内",
        )
        own = known.enrolled
        # A passkey answers at its own rp_id alone; the origin may have got another port since.
        expected = (own.person, own.credential, own.spki, own.rp_id)
        if (found.person, found.credential, found.spki, found.rp_id) != expected:
            raise _broken("准许的是另一通行密钥", "the admission is of another passkey")
        if own.purpose is not Purpose.APPROVAL or known.revoked:
            raise _broken("此通行密钥不可用于批准", "not a passkey for approvals")
        if found.issued <= known.issued:
            raise _broken("准许书不比先前的新", "the admission is no newer than the one before")
        self._known[told.credential] = replace(
            known, admissions=known.admissions | {told.statement}, issued=found.issued
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
        known = self._find(credential)
        self._check_unrevoked(leaf, known)
        _check_owner(leaf, known)
        last = self._counters.get(credential, 0)
        self._counters[credential] = max(counter, last)
        if (counter or last) and counter <= last:
            raise _broken("通行密钥的计数器倒退", "a passkey's counter went back")


def _credential_of(leaf: Leaf) -> str:
    return leaf.auth.removeprefix(_PASSKEY).partition(";")[0]


def _check_owner(leaf: Leaf, known: _Known) -> None:
    if (known.enrolled.purpose, known.enrolled.person) != (Purpose.SIGN_IN, leaf.actor):
        raise _broken("所用通行密钥并非本人的登录密钥", "not a sign-in passkey of the actor")


def _moments(leaf: Leaf) -> tuple[int, int]:
    """Return when the call may have been let in that wrote the leaf, the last first."""
    return seconds(leaf.time), seconds(leaf.time) - _SLACK


def _lately(step: Callable[[int], _T], leaf: Leaf, zh: str) -> _T:
    """Return what a check returns that held when the call was let in; raise Broken."""
    last, first = _moments(leaf)
    try:
        return step(last)
    except VerificationFailed:
        return _held(lambda: step(first), zh)


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

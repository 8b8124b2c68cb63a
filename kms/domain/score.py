"""The self-check score of one meeting: really encrypted (D), compliant algorithm (A), sound key
management (K), as the assessment of cryptographic applications scores a protected object.

It decides from facts that it is given and proves none of them. It is a reference for the site's own
people: nothing here says that an assessment is passed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from kms.domain.states import KeyState

LABEL_EN, LABEL_ZH = "self-check reference score", "自查参考分"


class Cipher(StrEnum):
    """What protects media from end to end: SFrame's suites (RFC 9605, section 4.5), or nothing."""

    AES_128_CTR_HMAC_SHA256_80 = "AES_128_CTR_HMAC_SHA256_80"
    AES_128_CTR_HMAC_SHA256_64 = "AES_128_CTR_HMAC_SHA256_64"
    AES_128_CTR_HMAC_SHA256_32 = "AES_128_CTR_HMAC_SHA256_32"
    AES_128_GCM_SHA256_128 = "AES_128_GCM_SHA256_128"
    AES_256_GCM_SHA512_128 = "AES_256_GCM_SHA512_128"
    NONE = "none"


STRENGTH: dict[Cipher, float] = {
    Cipher.AES_256_GCM_SHA512_128: 1.0,
    Cipher.AES_128_GCM_SHA256_128: 0.5,
    Cipher.AES_128_CTR_HMAC_SHA256_80: 0.5,
    Cipher.AES_128_CTR_HMAC_SHA256_64: 0.2,
    Cipher.AES_128_CTR_HMAC_SHA256_32: 0.2,
}
"""Ra of what encrypts: 256 bits authenticated; 128 bits; 128 bits under a shortened tag."""
COMPLIANT: frozenset[Cipher] = frozenset()
"""Of these suites none: a national algorithm (SM4) in a certified module would be."""
_LEAST_RA = 0.2
"""Where nothing encrypts; D fails then, so that it never counts."""
_STATES_ZH = {
    KeyState.PRE_ACTIVATION: "待激活",
    KeyState.ACTIVE: "使用中",
    KeyState.SUSPENDED: "已暂停",
    KeyState.DEACTIVATED: "已停用",
    KeyState.COMPROMISED: "已泄露",
    KeyState.DESTROYED: "已销毁",
}
RK = 1.0
"""Rk without a certified key management module."""


class Part(StrEnum):
    """A part of the vector."""

    D = "D"
    A = "A"
    K = "K"


class EvidenceKind(StrEnum):
    """What a reason can be looked up in."""

    LEAF = "leaf"
    EPOCH = "epoch"
    GRANT = "grant"
    VAULT = "vault"
    ESCROW = "escrow"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where a reason can be looked up: a number or an id of that kind."""

    kind: EvidenceKind
    value: str


@dataclass(frozen=True, slots=True)
class Reason:
    """One finding, for a part or against it."""

    part: Part
    holds: bool
    en: str
    zh: str
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a meeting. ``cipher`` is empty if nothing was reported, ``reported`` the
    leaf that tells it (None: not found). ``state`` is the present epoch's; ``closed``: the meeting
    has ended, so its last key is out of use. ``escrow``: the generations that cover the epoch.
    ``flagged`` are grants in the space that somebody should look at.
    """

    cipher: str
    reported: int | None
    epoch: int
    state: KeyState
    closed: bool
    overdue: bool
    escrow: tuple[int, ...]
    covered: bool
    flagged: tuple[str, ...]
    vault: int
    vault_overdue: bool


@dataclass(frozen=True, slots=True)
class Score:
    """The vector, its number from 0 to 1, and every reason."""

    d: bool
    a: bool
    k: bool
    ra: float
    rk: float
    reasons: tuple[Reason, ...]

    @property
    def vector(self) -> str:
        """The vector as a text, such as ``D1/A0/K1``."""
        return f"D{self.d:d}/A{self.a:d}/K{self.k:d}"

    @property
    def number(self) -> float:
        """The number, from 0 to 1."""
        return number(d=self.d, a=self.a, k=self.k, ra=self.ra, rk=self.rk)


def number(*, d: bool, a: bool, k: bool, ra: float, rk: float) -> float:
    """Return the assessment's number of a vector: 0 without D, 1 if all hold."""
    if not d:
        return 0.0
    if a and k:
        return 1.0
    if a or k:
        return 0.5 * (rk if a else ra)
    return 0.25 * ra * rk


def score(facts: Facts) -> Score:
    """Return a meeting's score with its reasons."""
    cipher = Cipher(facts.cipher) if facts.cipher else None
    keys = tuple(_key_reasons(facts))
    reasons = (_encrypted(facts, cipher), *_algorithm(facts, cipher), *keys)
    return Score(
        d=cipher in STRENGTH,
        a=cipher in COMPLIANT,
        k=all(one.holds for one in keys),
        ra=_LEAST_RA if cipher is None else STRENGTH.get(cipher, _LEAST_RA),
        rk=RK,
        reasons=reasons,
    )


def _encrypted(facts: Facts, cipher: Cipher | None) -> Reason:
    seen = _leaf(facts)
    if cipher is None:
        return Reason(
            Part.D, False, "Not shown: the server has reported no media cipher",
            "未证实：服务器未报告媒体加密方式",
        )  # fmt: skip
    if cipher is Cipher.NONE:
        return Reason(
            Part.D, False, "The server reports media without encryption from end to end",
            "服务器报告媒体未端到端加密", seen,
        )  # fmt: skip
    return Reason(
        Part.D, True, f"The server reports media encrypted with {cipher}",
        f"服务器报告媒体以 {cipher} 加密", seen,
    )  # fmt: skip


def _algorithm(facts: Facts, cipher: Cipher | None) -> Iterator[Reason]:
    if cipher not in STRENGTH:
        yield Reason(Part.A, False, "There is no algorithm to judge", "没有可评判的算法")
        return
    if cipher in COMPLIANT:
        yield Reason(
            Part.A, True, "The algorithm is a national one", "算法为国家密码算法", _leaf(facts)
        )
        return
    yield Reason(
        Part.A, False,
        f"AES is strong (Ra {STRENGTH[cipher]:g}) but no national algorithm such as SM4",
        f"AES 强度足够（Ra {STRENGTH[cipher]:g}），但不是 SM4 等国家密码算法", _leaf(facts),
    )  # fmt: skip


def _leaf(facts: Facts) -> tuple[Evidence, ...]:
    return () if facts.reported is None else (Evidence(EvidenceKind.LEAF, str(facts.reported)),)


def _key_reasons(facts: Facts) -> Iterator[Reason]:
    epoch = (Evidence(EvidenceKind.EPOCH, str(facts.epoch)),)
    wanted, sound = KeyState.ACTIVE, ("The present key is active", "当前密钥使用中")
    if facts.closed:
        wanted, sound = KeyState.DEACTIVATED, ("The last key is out of use", "最后的密钥已停用")
    generations = tuple(Evidence(EvidenceKind.ESCROW, str(one)) for one in facts.escrow)
    grants = tuple(Evidence(EvidenceKind.GRANT, one) for one in facts.flagged)
    vault = (Evidence(EvidenceKind.VAULT, str(facts.vault)),)
    checks: Sequence[tuple[bool, tuple[str, str], tuple[str, str], tuple[Evidence, ...]]] = (
        (
            facts.state == wanted,
            sound,
            (f"The key is {facts.state}", f"密钥状态异常：{_STATES_ZH[facts.state]}"),
            epoch,
        ),
        (
            not facts.overdue,
            ("The key is rotated in time", "密钥按时轮换"),
            ("The key's rotation is overdue", "密钥轮换已逾期"),
            epoch,
        ),
        (
            facts.covered,
            ("The key can be recovered from escrow", "密钥可从托管恢复"),
            ("The key cannot be recovered from escrow", "密钥无法从托管恢复"),
            (*epoch, *generations),
        ),
        (
            not facts.flagged,
            ("No grant in the space is forgotten", "空间内没有被遗忘的授权"),
            ("Grants in the space are unused or forgotten", "空间内有未使用或被遗忘的授权"),
            grants,
        ),
        (
            not facts.vault_overdue,
            ("The vault key is within its cryptoperiod", "保管库密钥在使用期限内"),
            ("The vault key is beyond its cryptoperiod", "保管库密钥已超过使用期限"),
            vault,
        ),
    )
    for holds, good, bad, evidence in checks:
        yield Reason(Part.K, holds, *(good if holds else bad), evidence)

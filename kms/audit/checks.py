"""What the offline verifier checks, under stable ids, and the tally of what it found."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from kms.errors import VerificationFailed

_KEPT = 20


class Check(StrEnum):
    """The checks, in the order of the report."""

    FORM = "AV-01"
    KEY_LIST = "AV-02"
    LEAVES = "AV-03"
    ACTIONS = "AV-04"
    TIMES = "AV-05"
    SIGNATURES = "AV-06"
    TREE = "AV-07"
    EARLIER = "AV-08"
    TAIL = "AV-09"
    PAIRS = "AV-10"
    STATES = "AV-11"
    NUMBERS = "AV-12"
    MANIFESTS = "AV-13"
    ROSTERS = "AV-14"
    ROWS = "AV-15"
    ACCESS = "AV-16"
    APPROVALS = "AV-17"
    DESTRUCTION = "AV-18"
    DISKS = "AV-19"
    PASSKEYS = "AV-20"
    PRESENCE = "AV-21"


class Verdict(StrEnum):
    """What came of a check. ``finding``: to be explained by people, not a proof of tampering."""

    PASS = "pass"  # noqa: S105 -- not a password
    FINDING = "finding"
    FAIL = "fail"
    NOT_RUN = "not-run"


@dataclass(frozen=True, slots=True)
class Said:
    """One sentence in both languages."""

    zh: str
    en: str


SENTENCES: dict[Check, Said] = {
    Check.FORM: Said(
        "证据包只含规定的表和列，文件完好",
        "The bundle has exactly the known tables and columns and is undamaged",
    ),
    Check.KEY_LIST: Said(
        "密钥清单由事先固定的站点根密钥签名", "The key list is signed by the pinned site root"
    ),
    Check.LEAVES: Said(
        "日志条目从 0 起连续编号，格式规范",
        "Leaves are numbered from 0 without a gap and canonical",
    ),
    Check.ACTIONS: Said(
        "均为已知操作，字段取值符合规定", "Every leaf speaks of a known action in known words"
    ),
    Check.TIMES: Said("时间从不倒退", "Times never go back"),
    Check.SIGNATURES: Said(
        "检查点由清单上的检查点密钥签名", "Checkpoints are signed by a listed checkpoint key"
    ),
    Check.TREE: Said("日志与包内每个检查点相符", "The log matches every checkpoint in the bundle"),
    Check.EARLIER: Said(
        "日志与审计员手中的早期检查点相符", "The log extends the auditor's earlier checkpoints"
    ),
    Check.TAIL: Said(
        "最后一个检查点之后没有未受保护的日志条目",
        "No leaf lies unprotected behind the last checkpoint",
    ),
    Check.PAIRS: Said("每个操作意图恰有一个结果", "Every intent has exactly one result"),
    Check.STATES: Said(
        "密钥状态变化符合 NIST SP 800-57", "Keys change state only as NIST SP 800-57 allows"
    ),
    Check.NUMBERS: Said(
        "密钥周期编号逐一递增，从不重用", "Epoch numbers count up and are never reused"
    ),
    Check.MANIFESTS: Said(
        "每个密钥周期都有已签名的清单，与日志条目一致，并含保管库和密钥托管两个接收方",
        "Every epoch has its signed manifest, as its leaf says, with vault and escrow",
    ),
    Check.ROSTERS: Said("名册一变即有新的密钥周期", "A changed roster always brings a new epoch"),
    Check.ROWS: Said("数据行版本逐一递增", "Versions of rows count up by one"),
    Check.ACCESS: Said(
        "信封只交给清单和名册上的接收方",
        "Envelopes went only to recipients on manifest and roster",
    ),
    Check.APPROVALS: Said(
        "须经批准的操作均按策略由足够人员批准且只执行一次；仪式之事均由仪式所为，授权均在有效期内",
        "What needs approval was approved as the policies demand, exactly as done, and done once; "
        "ceremonies did what only they do; grants were in force",
    ),
    Check.DESTRUCTION: Said(
        "销毁均不违反法律保全与保存期限，并有与请求和日志相符的已签名证书",
        "Destructions kept to legal holds and retention and have signed certificates that tell of "
        "them as request and log do",
    ),
    Check.DISKS: Said(
        "磁盘密钥只为已登记且未擦除的磁盘生成和释放，工序次序正确；擦除均有与请求和日志相符的已签名证书",
        "Disk keys were made and released only for disks that were enrolled and not erased, in the "
        "order of their works; erasures have signed certificates that tell of them as request and "
        "log do",
    ),
    Check.PASSKEYS: Said(
        "通行密钥均由登记册中本人的凭据邀请或准许，一次一用，用途不混；撤销之后未再使用",
        "Passkeys were invited and admitted by credentials of their people in the register, each "
        "invitation used once, each passkey for what it is for, none after it was revoked",
    ),
    Check.PRESENCE: Said(
        "机密会议的信封均凭在场证明交付，一次一用；凭通行密钥的，均为主持人所邀之人在时限之内对本会议、本设备作出",
        "Envelopes of confidential meetings went out on assertions, each used once; those by "
        "passkey hold: of whom the host invited, in time, for this meeting and device",
    ),
}


class Broken(VerificationFailed):
    """One thing does not hold; caught and tallied by the verifier."""

    def __init__(self, check: Check, zh: str, en: str) -> None:
        super().__init__(en)
        self.check = check
        self.said = Said(zh, en)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that a check found; ``seq`` is the leaf it is about."""

    verdict: Verdict
    seq: int | None
    said: Said


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check: ``checked`` things were looked at, ``found`` problems, the first 20 are listed."""

    check: Check
    verdict: Verdict
    checked: int
    found: int
    problems: tuple[Problem, ...]


class Tally:
    """Counts what was checked and keeps the first problems of each check."""

    def __init__(self) -> None:
        self._checked: Counter[Check] = Counter()
        self._found: Counter[tuple[Check, Verdict]] = Counter()
        self._problems: dict[Check, list[Problem]] = {check: [] for check in Check}
        self._stopped = False

    def count(self, check: Check, things: int = 1) -> None:
        """Add to the number of things looked at."""
        self._checked[check] += things

    def guard(self, step: Callable[[], None], seq: int | None = None) -> None:
        """Run one check; note as a failure what it raises."""
        try:
            step()
        except Broken as broken:
            self.fail(broken, seq)

    def fail(self, broken: Broken, seq: int | None = None) -> None:
        """Note a failure."""
        self._note(broken.check, Problem(Verdict.FAIL, seq, broken.said))

    def finding(self, check: Check, said: Said, seq: int | None = None) -> None:
        """Note something that people have to explain."""
        self._note(check, Problem(Verdict.FINDING, seq, said))

    def stop(self) -> None:
        """Say that the verification did not get to its end: nothing counts as passed."""
        self._stopped = True

    def results(self) -> tuple[CheckResult, ...]:
        """Return every check's result, in order."""
        return tuple(self._result(check) for check in Check)

    def _note(self, check: Check, problem: Problem) -> None:
        self._found[check, problem.verdict] += 1
        if len(self._problems[check]) < _KEPT:
            self._problems[check].append(problem)

    def _result(self, check: Check) -> CheckResult:
        failures = self._found[check, Verdict.FAIL]
        findings = self._found[check, Verdict.FINDING]
        if failures:
            verdict = Verdict.FAIL
        elif self._stopped:
            verdict = Verdict.NOT_RUN
        else:
            verdict = Verdict.FINDING if findings else Verdict.PASS
        problems = tuple(self._problems[check])
        return CheckResult(check, verdict, self._checked[check], failures + findings, problems)

"""What the offline verifier of transcripts checks, under stable ids, and what it reports."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from kms.audit.checks import Said
from kms.ceremonies.people.words import digest_words
from kms.ceremonies.record.transcript import Result, Transcript
from kms.domain.text import visible
from kms.errors import ConclaveError, VerificationFailed
from kms.i18n import Language
from kms.statements.canonical import unb64u


class Check(StrEnum):
    """The checks, in the order in which they are made."""

    FORM = "CV-01"
    PLAN = "CV-02"
    REGISTER = "CV-03"
    SCRIPT = "CV-04"
    STEPS = "CV-05"
    TIMES = "CV-06"
    APPROVALS = "CV-07"
    SIGNATURES = "CV-08"
    ROOT = "CV-09"
    NUMBER = "CV-10"
    PREVIOUS = "CV-11"


SENTENCES: dict[Check, Said] = {
    Check.FORM: Said(
        "仪式记录格式规范，不含未知字段", "The transcript is canonical and has no unknown field"
    ),
    Check.PLAN: Said(
        "批准请求与所附计划书逐字节一致", "The request for approval is for exactly the plan within"
    ),
    Check.REGISTER: Said(
        "人员登记册由事先固定的站点根密钥签名，首次仪式则由其计划书设立",
        "The register of people is signed by the pinned site root, or, in a site's first ceremony, "
        "founded by the plan",
    ),
    Check.SCRIPT: Said(
        "计划书属于已知种类，与人员登记册和站点相符",
        "The plan is of a known kind and fits register and site",
    ),
    Check.STEPS: Said(
        "各节、各步骤均按计划书依次完成，未完成的均已撤销",
        "Sections and steps are those of the plan, in order, each done; what was not was undone",
    ),
    Check.TIMES: Said("时间从不倒退", "Times never go back"),
    Check.APPROVALS: Said(
        "执行之前已达法定人数批准，且仅针对此请求",
        "A quorum approved exactly this request before anything was done",
    ),
    Check.SIGNATURES: Said(
        "每位参加者均以本人凭据签署本仪式记录",
        "Everybody who took part signed the transcript with a credential of their own",
    ),
    Check.ROOT: Said(
        "首次仪式生成的站点根密钥即事先固定者",
        "The site root that a first ceremony made is the pinned one",
    ),
    Check.NUMBER: Said(
        "记录编号与指向前一记录的摘要相配", "Its number goes with its link to the one before it"
    ),
    Check.PREVIOUS: Said("本记录紧接所给的前一记录", "It follows the transcript that was given"),
}


_RESULTS = {Result.SUCCEEDED: "成功", Result.ABORTED: "已放弃"}


class TranscriptRefused(VerificationFailed):
    """A transcript does not hold; ``check`` is the first check that failed."""

    def __init__(self, check: Check, reason: str) -> None:
        super().__init__(f"{check}: {reason}")
        self.check = check


@contextmanager
def checking(check: Check) -> Iterator[None]:
    """Name the check in whatever is refused within."""
    try:
        yield
    except ConclaveError as error:
        raise TranscriptRefused(check, error.message) from error
    except Exception as error:
        # The file is a stranger's: whatever a plan in it leads to, the answer is that it is wrong.
        raise TranscriptRefused(check, f"not as it should be: {type(error).__name__}") from error


@dataclass(frozen=True, slots=True)
class Verified:
    """A transcript that holds.

    ``sha256`` is its payload's (base64url), which the log and the next transcript name;
    ``site_root`` the id of the site root from then on; ``checks`` those that were made.
    """

    transcript: Transcript
    sha256: str
    signers: tuple[str, ...]
    site_root: str
    checks: tuple[Check, ...]

    def to_text(self, language: Language = Language.ZH) -> str:
        """Return the report in plain words."""
        said = [self._head(), *(SENTENCES[check] for check in self.checks), self._end()]
        lines = [one.zh if language is Language.ZH else one.en for one in said]
        marks = ["", *(f"{check} [✓] " for check in self.checks), ""]
        return "\n".join(mark + line for mark, line in zip(marks, lines, strict=True)) + "\n"

    def _head(self) -> Said:
        told = self.transcript
        site, names = visible(told.site), ", ".join(self.signers)
        return Said(
            f"密钥仪式 {told.ceremony}（{told.kind}）· 站点 {site} · 第 {told.sequence} 号记录\n"
            f"结果 {_RESULTS[told.result]} · 签署人 {names}\n{self._digest('以单词表示')}",
            f"Key ceremony {told.ceremony} ({told.kind}) · site {site} · transcript "
            f"{told.sequence}\nresult {told.result} · signed by {names}\n"
            f"{self._digest('the same in words')}",
        )

    def _digest(self, in_words: str) -> str:
        """Name the transcript as its signers compared it, and as the log does."""
        raw = unb64u(self.sha256)
        words = " ".join(digest_words(raw))
        return f"SHA-256 {raw.hex()} ({self.sha256})\n{in_words} {words}"

    def _end(self) -> Said:
        return Said("结论：全部通过。", "Conclusion: everything holds.")

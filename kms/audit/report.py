"""The verifier's report, for people (Chinese first, English on request) and for programs."""

import json
from dataclasses import dataclass
from typing import Any, Literal

from kms.audit.checks import SENTENCES, CheckResult, Said, Verdict
from kms.domain.text import visible
from kms.errors import VerificationFailed

Language = Literal["zh", "en"]

_WORDS = {
    Verdict.PASS: Said("通过", "pass"),
    Verdict.FINDING: Said("需说明", "finding"),
    Verdict.FAIL: Said("不通过", "FAIL"),
    Verdict.NOT_RUN: Said("未完成", "not run"),
}
_CONCLUSIONS = {
    Verdict.PASS: Said("结论：全部通过。", "Conclusion: everything holds."),
    Verdict.FINDING: Said(
        "结论：未发现篡改，但有事项需要说明。",
        "Conclusion: no sign of tampering, but there are findings to explain.",
    ),
    Verdict.FAIL: Said(
        "结论：不通过。不要信赖这份证据。",
        "Conclusion: it does not hold. Do not rely on this evidence.",
    ),
}


@dataclass(frozen=True, slots=True)
class Report:
    """What was verified.

    ``site`` is the key list's; ``protected`` counts the leaves that the newest checkpoint covers;
    ``root`` is the hex root over all ``leaves``.
    """

    site: str
    leaves: int
    protected: int
    root: str
    results: tuple[CheckResult, ...]

    @property
    def verdict(self) -> Verdict:
        """Return the worst verdict; a check that did not run is a failure."""
        verdicts = {result.verdict for result in self.results}
        if verdicts & {Verdict.FAIL, Verdict.NOT_RUN}:
            return Verdict.FAIL
        return Verdict.FINDING if Verdict.FINDING in verdicts else Verdict.PASS

    def raise_if_failed(self) -> None:
        """Raise VerificationFailed unless every check passed, findings aside."""
        if self.verdict is Verdict.FAIL:
            wrong = [r.check for r in self.results if r.verdict in {Verdict.FAIL, Verdict.NOT_RUN}]
            raise VerificationFailed(f"the evidence does not hold: {', '.join(wrong)}")

    def to_text(self, language: Language = "zh") -> str:
        """Return the report in plain words."""
        lines = [*self._head(language), ""]
        for result in self.results:
            lines += _result_lines(result, language)
        lines += ["", _say(_CONCLUSIONS[self.verdict], language)]
        return "\n".join(lines) + "\n"

    def to_json(self) -> str:
        """Return the report as JSON, both languages in it."""
        body = {
            "verdict": self.verdict,
            "site": self.site,
            "leaves": self.leaves,
            "protected": self.protected,
            "root": self.root,
            "checks": [_result_json(result) for result in self.results],
        }
        return json.dumps(body, ensure_ascii=False, indent=2)

    def _head(self, language: Language) -> list[str]:
        site = visible(self.site)
        said = Said(
            f"审计日志离线核验 · 站点 {site}\n"
            f"共 {self.leaves} 个日志条目，其中 {self.protected} 个受检查点保护\n"
            f"根哈希 {self.root}",
            f"Offline verification of the audit log · site {site}\n"
            f"{self.leaves} leaves, {self.protected} of them under a checkpoint\nroot {self.root}",
        )
        return _say(said, language).split("\n")


def _say(said: Said, language: Language) -> str:
    return said.zh if language == "zh" else said.en


def _result_lines(result: CheckResult, language: Language) -> list[str]:
    word = _say(_WORDS[result.verdict], language)
    sentence = _say(SENTENCES[result.check], language)
    count = _say(Said(f"（{result.checked}）", f" ({result.checked})"), language)
    lines = [f"{result.check} [{word}] {sentence}{count}"]
    for problem in result.problems:
        place = "" if problem.seq is None else f"#{problem.seq} "
        lines.append(f"      {place}{visible(_say(problem.said, language))}")
    hidden = result.found - len(result.problems)
    if hidden:
        lines.append("      " + _say(Said(f"另有 {hidden} 处", f"and {hidden} more"), language))
    return lines


def _result_json(result: CheckResult) -> dict[str, Any]:
    sentence = SENTENCES[result.check]
    return {
        "id": result.check,
        "verdict": result.verdict,
        "checked": result.checked,
        "found": result.found,
        "zh": sentence.zh,
        "en": sentence.en,
        "problems": [
            {"verdict": p.verdict, "seq": p.seq, "zh": p.said.zh, "en": p.said.en}
            for p in result.problems
        ],
    }

"""The verdict on a transcript, as a document and in plain words."""

from typing import Any

from kms.ceremonies.verification.verdict import SENTENCES, Check, TranscriptRefused, Verified
from kms.i18n import Language, language


def document(found: Verified) -> dict[str, Any]:
    """Return a transcript that holds as one JSON document."""
    told = found.transcript
    return {
        "verdict": "pass",
        "site": told.site,
        "ceremony": told.ceremony,
        "kind": told.kind,
        "sequence": told.sequence,
        "result": told.result.value,
        "sha256": found.sha256,
        "site_root": found.site_root,
        "signers": list(found.signers),
        "checks": [_check(one, "pass") for one in found.checks],
    }


def refused(error: TranscriptRefused) -> tuple[str, dict[str, Any]]:
    """Return the report on a transcript that does not hold, as text and as document: the checks
    that passed, and the one that failed. What comes after it was not checked.
    """
    passed = [one for one in Check if one < error.check]
    checks = [*(_check(one, "pass") for one in passed), _check(error.check, "fail")]
    zh = language() is Language.ZH
    end = "结论：不通过。" if zh else "Conclusion: it does not hold."
    lines = [f"{one['id']} [{'✓' if one['outcome'] == 'pass' else '✗'}] {one['text']}"
             for one in checks]  # fmt: skip
    said = {"verdict": "fail", "reason": error.message, "checks": checks}
    return "\n".join([*lines, error.message, end]), said


def _check(check: Check, outcome: str) -> dict[str, str]:
    said = SENTENCES[check]
    text = said.zh if language() is Language.ZH else said.en
    return {"id": check.value, "outcome": outcome, "text": text}

"""A transcript as people read it: who took part, what was done and when, what went otherwise.

It tells what the transcript says; whether that holds, the verifier alone decides.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from kms.ceremonies.people.words import digest_words
from kms.ceremonies.record.entries import (
    Aborted,
    Deviation,
    Entry,
    Refused,
    Resumed,
    SectionBegun,
    SectionUndone,
    StepDone,
    StepFailed,
    UndoFailed,
)
from kms.ceremonies.record.transcript import Transcript, encode_transcript
from kms.ceremonies.room import Facts
from kms.ceremonies.step import Script
from kms.documents.paper import (
    Block,
    Heading,
    Move,
    Paper,
    Paragraph,
    SignatureLines,
    Source,
    Table,
)
from kms.domain.people import Register
from kms.i18n import _
from kms.statements.canonical import unb64u

_INLINE = 160
"""Facts up to this many characters stand with their step, longer ones in the annex."""


def transcript_paper(
    transcript: Transcript,
    title: str,
    script: Script,
    register: Register,
    signed: Mapping[str, str],
) -> Paper:
    """Return a transcript in the present language.

    ``title`` (a source text) and ``script`` are those of its kind, ``register`` the one that it
    was held under; ``signed`` maps the people who signed it to the id of their credential.
    """
    sha256 = hashlib.sha256(encode_transcript(transcript)).digest()
    return Paper(
        title=_(title),
        kind=_("Transcript {sequence} of {site}").format(
            sequence=transcript.sequence, site=transcript.site
        ),
        footer=f"{transcript.site} · {transcript.ceremony} · SHA-256 {sha256.hex()}",
        blocks=(
            *_summary(transcript, sha256),
            *_people(transcript, register, signed),
            *_steps(transcript, script),
            *_exceptions(transcript),
            *_annex(transcript),
        ),
    )


def moment(seconds: int) -> str:
    """Return whole seconds since 1970 as a date with its time, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _summary(transcript: Transcript, sha256: bytes) -> Iterator[Block]:
    before = unb64u(transcript.previous).hex() if transcript.previous else ""
    plan = unb64u(transcript.plan_sha256)
    yield Table(
        (),
        (
            (_("Ceremony"), f"`{transcript.ceremony}` (`{transcript.kind}`)"),
            (_("Result"), _(transcript.result.value)),
            (_("Begun"), moment(transcript.begun)),
            (_("Ended"), moment(transcript.ended)),
            (_("SHA-256 of this transcript"), f"`{sha256.hex()}`"),
            (_("The same in words"), " ".join(digest_words(sha256))),
            (_("SHA-256 of the transcript before"), f"`{before}`" if before else _("none")),
            (_("SHA-256 of the plan"), f"`{plan.hex()}`"),
            (_("Offline ceremony image"), _offline(transcript)),
        ),
        (1, 3),
    )


def _offline(transcript: Transcript) -> str:
    return _("yes") if transcript.binding.offline_image else _("no")


def _people(
    transcript: Transcript, register: Register, signed: Mapping[str, str]
) -> Iterator[Block]:
    people = [register.person(name) for name in transcript.request.roster]
    yield Heading(1, _("Who took part"))
    yield Table(
        (_("Person"), _("Part"), _("Plan"), _("Transcript"), _("Credential")),
        tuple(
            (
                f"{person.display} ({person.name})",
                _(person.part.value),
                _("approved") if person.name in transcript.approvals else "-",
                _("signed") if person.name in signed else "-",
                f"`{signed.get(person.name, person.credentials[0].kid)}`",
            )
            for person in people
        ),
        (5, 3, 2, 2, 6),
    )
    yield Paragraph(_("Signed on paper as well:"))
    names = [one.display for one in people if one.name in transcript.approvals]
    yield SignatureLines(tuple(names))


def _steps(transcript: Transcript, script: Script) -> Iterator[Block]:
    done = {one.step: one for one in transcript.entries if isinstance(one, StepDone)}
    begun = {one.section for one in transcript.entries if isinstance(one, SectionBegun)}
    yield Heading(1, _("What was done"))
    for number, section in enumerate(script, 1):
        if section.id not in begun:
            continue
        yield Heading(2, f"{number}. {_(section.text).format_map(section.values)}")
        for count, step in enumerate(section.steps, 1):
            entry = done.get(step.id)
            when = moment(entry.time) if entry else _("not done")
            facts = _short(entry.facts) if entry else ""
            text = f"{_(step.text).format_map(step.values)} {facts}".rstrip()
            yield Move(f"{number}.{count}", when, text, ticked=False)


def _short(facts: Facts) -> str:
    if not facts:
        return ""
    told = _told(facts)
    return f"`{told}`" if len(told) <= _INLINE else _("(facts in the annex)")


def _told(facts: Facts) -> str:
    return json.dumps(facts, ensure_ascii=False, sort_keys=True).replace("`", "'")


def _exceptions(transcript: Transcript) -> Iterator[Block]:
    rows = tuple((moment(one.time), *told) for one in transcript.entries if (told := _told_of(one)))
    yield Heading(1, _("Exception sheet"))
    if rows:
        yield Table((_("Time"), _("What"), _("Details")), rows, (3, 3, 7))
    else:
        yield Paragraph(_("Everything went as written."))


def _told_of(entry: Entry) -> tuple[str, str] | None:
    told: tuple[str, str] | None = None
    match entry:
        case Deviation(text=text):
            told = _("Remark"), text
        case Refused(person=person, reason=reason):
            told = _("Approval refused"), f"{person}: {reason}"
        case StepFailed(step=step, code=code, message=message):
            told = _("Step failed"), f"`{step}` [{code}] {message}"
        case UndoFailed(step=step, code=code, message=message):
            told = _("Step could not be undone"), f"`{step}` [{code}] {message}"
        case SectionUndone(section=section):
            told = _("Section undone"), f"`{section}`"
        case Resumed():
            told = _("Taken up again"), ""
        case Aborted():
            told = _("Given up"), ""
        case StepDone(step=step, facts={"retries": retries}) if retries:
            told = _("Share given in again"), f"`{step}` {', '.join(map(str, retries))}"
    return told


def _annex(transcript: Transcript) -> Iterator[Block]:
    yield Heading(1, _("Annex: the plan"))
    yield Source(transcript.plan, "toml")
    long = [
        one
        for one in transcript.entries
        if isinstance(one, StepDone) and len(_told(one.facts)) > _INLINE
    ]
    if long:
        yield Heading(1, _("Annex: facts"))
    for one in long:
        yield Heading(2, f"{one.step} · {moment(one.time)}")
        yield Source("\n".join(_lines(one.facts)))


def _lines(facts: Facts) -> Iterator[str]:
    """Yield long facts a line each, of lists a line an entry."""
    for name, value in sorted(facts.items()):
        if isinstance(value, list) and len(json.dumps(value)) > _INLINE:
            yield f"{name}:"
            yield from (f"- {json.dumps(one, ensure_ascii=False, sort_keys=True)}" for one in value)
        else:
            yield f"{name}: {json.dumps(value, ensure_ascii=False, sort_keys=True)}"

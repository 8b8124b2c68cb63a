"""A printed transcript tells what the transcript says, exceptions first of all."""

from collections.abc import Iterator

import msgspec
import pytest

from kms.ceremonies.paper.printout import transcript_paper
from kms.ceremonies.record.entries import Deviation, Refused, StepDone, StepFailed
from kms.ceremonies.record.transcript import PAYLOAD_TYPE, Transcript, decode_transcript
from kms.documents.markdown import render_markdown
from kms.documents.pdf import render_pdf
from kms.i18n import Language, speak
from kms.statements.dsse import decode_envelope
from tests.fixtures.ceremonies import (
    MADE_UP,
    ROSTER,
    Cast,
    brief_of,
    made_up_script,
    signed_transcript,
)

CAST = Cast()
SIGNED = {name: CAST.kid(name) for name in ROSTER}


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    speak(Language.EN)
    yield
    speak(Language.ZH)


@pytest.fixture(scope="module")
def transcript(tmp_path_factory: pytest.TempPathFactory) -> Transcript:
    state = tmp_path_factory.mktemp("state")
    envelope = signed_transcript(CAST, state, brief_of(CAST)).read_bytes()
    return decode_transcript(decode_envelope(envelope, PAYLOAD_TYPE)[0])


def told(transcript: Transcript, signed: dict[str, str] = SIGNED) -> str:
    script = made_up_script(brief_of(CAST))
    paper = transcript_paper(transcript, MADE_UP.title, script, CAST.register, signed)
    assert render_pdf(paper, transcript.ended).startswith(b"%PDF-")
    return render_markdown(paper)


def with_entry(transcript: Transcript, entry: object) -> Transcript:
    return msgspec.structs.replace(transcript, entries=(*transcript.entries, entry))


def test_everybody_who_took_part_is_on_it_with_their_credential(transcript: Transcript) -> None:
    text = told(transcript)
    for name in ROSTER:
        (row,) = [line for line in text.splitlines() if f"({name})" in line]
        assert "| approved | signed |" in row
        assert f"`{CAST.kid(name)}`" in row


def test_who_has_not_signed_is_not_said_to_have(transcript: Transcript) -> None:
    text = told(transcript, {name: kid for name, kid in SIGNED.items() if name != "liu-witness"})
    (row,) = [line for line in text.splitlines() if "(liu-witness)" in line]
    assert "| approved | - |" in row


def test_every_step_has_its_time_and_its_facts(transcript: Transcript) -> None:
    text = told(transcript)
    assert '**2.1** 2027-01-15 08:00:00Z: Make the file three. `{"file": "three"}`' in text
    assert "### 3. For good." in text
    assert 'word = "hello"' in text


def test_a_ceremony_that_went_as_written_says_so(transcript: Transcript) -> None:
    assert "Everything went as written." in told(transcript)


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        (Deviation(time=0, text="a bag was torn"), "| Remark | a bag was torn |"),
        (Refused(time=0, person="wu", approval="x", reason="not in office"),
         "| Approval refused | wu: not in office |"),
        (StepFailed(time=0, step="more/three", code="not_found", message="it is gone"),
         "| Step failed | `more/three` \\[not_found] it is gone |"),
        (StepDone(time=0, step="more/three", facts={"retries": ["corrupted"]}),
         "| Share given in again | `more/three` corrupted |"),
    ],
    ids=["a remark", "a refused approval", "a failed step", "a share in a second try"],
)  # fmt: skip
def test_what_went_otherwise_is_on_the_exception_sheet(
    transcript: Transcript, entry: object, line: str
) -> None:
    sheet = told(with_entry(transcript, entry)).partition("## Exception sheet")[2]
    assert line in sheet
    assert "Everything went as written." not in sheet


def test_long_facts_stand_in_the_annex(transcript: Transcript) -> None:
    objects = [{"label": "vault/1", "sensitive": True, "id": "0" * 64} for _ in range(3)]
    entry = StepDone(time=0, step="finish/look", facts={"objects": objects, "token": "site"})
    step, _, annex = told(with_entry(transcript, entry)).partition("## Annex: facts")
    assert "Look. (facts in the annex)" in step
    assert annex.count("- {") == 3
    assert 'token: "site"' in annex

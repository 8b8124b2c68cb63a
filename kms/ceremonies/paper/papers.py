"""Turns a ceremony's files into documents for paper: signed transcripts, certificates.

It believes what the files say: verifying is another command.
"""

from kms.ceremonies.catalogue import ceremony_of, read_brief
from kms.ceremonies.paper.certificate_paper import certificate_paper
from kms.ceremonies.paper.printout import transcript_paper
from kms.ceremonies.people.signatures import holder_of
from kms.ceremonies.plan import parse_plan
from kms.ceremonies.record.transcript import PAYLOAD_TYPE, Transcript, decode_transcript
from kms.ceremonies.steps.certificate import Certificate
from kms.documents.paper import Paper
from kms.domain.people import Register
from kms.errors import InvalidInput, VerificationFailed
from kms.statements import jws
from kms.statements.canonical import decode_record
from kms.statements.dsse import decode_envelope
from kms.statements.register import TYP


def paper_of(data: bytes) -> tuple[Paper, int]:
    """Return a document and its date (whole seconds); raise InvalidInput for any other file."""
    try:
        payload, signatures = decode_envelope(data, PAYLOAD_TYPE)
    except VerificationFailed:
        return _of_certificate(data)
    transcript = decode_transcript(payload)
    return _of_transcript(transcript, signatures), transcript.ended


def _of_transcript(transcript: Transcript, signatures: dict[str, bytes]) -> Paper:
    plan = parse_plan(transcript.plan.encode())
    brief = read_brief(plan, register_in(transcript), transcript.register, transcript.binding)
    ceremony = ceremony_of(plan)
    signed = {holder_of(brief.register, kid)[0]: kid for kid in signatures}
    script = ceremony.script(brief)
    return transcript_paper(transcript, ceremony.title, script, brief.register, signed)


def register_in(transcript: Transcript) -> Register | None:
    """Return the register within WITHOUT verifying it; None in a site's first transcript."""
    if not transcript.register:
        return None
    return decode_record(jws.unverified_payload(transcript.register, typ=TYP), Register)


def _of_certificate(data: bytes) -> tuple[Paper, int]:
    try:
        certificate = decode_record(data, Certificate)
    except InvalidInput as error:
        raise InvalidInput("the file is neither a signed transcript nor a certificate") from error
    return certificate_paper(certificate), certificate.time

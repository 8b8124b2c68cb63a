"""Verifies a ceremony's transcript offline: needs the file and the pinned site root alone.

What it does not know it refuses. The script is written anew from the plan within.
"""

from cryptography.hazmat.primitives.asymmetric import ec

from kms.ceremonies.catalogue import CEREMONIES, read_brief
from kms.ceremonies.ceremony import Ceremony
from kms.ceremonies.kinds.initialise_site import SIGNED_REGISTER, FoundSite, founded
from kms.ceremonies.people.admission import check_admission
from kms.ceremonies.people.signatures import check_signatures, holder_of
from kms.ceremonies.plan import Plan, parse_plan
from kms.ceremonies.record.progress import Progress
from kms.ceremonies.record.replay import replay, starts
from kms.ceremonies.record.request import check_request, register_digest
from kms.ceremonies.record.transcript import PAYLOAD_TYPE, Transcript, decode_transcript
from kms.ceremonies.room import Brief
from kms.ceremonies.verification.verdict import Check, Verified, checking
from kms.domain.people import Register
from kms.errors import VerificationFailed
from kms.statements.canonical import digest
from kms.statements.dsse import decode_envelope
from kms.statements.jws import spki_id
from kms.statements.register import verify_register

SITE_ROOT = "site_root"
"""The fact by which a step names the site root that it made: its key's id."""


def verify_transcript(
    envelope: bytes, root: ec.EllipticCurvePublicKey, previous: bytes | None = None
) -> Verified:
    """Return what a transcript's file says once everything in it holds.

    ``root`` is the pinned site root: the one that signed the register of people that the ceremony
    began under, or, for a site's first ceremony, the one that it made. ``previous`` is the file of
    the transcript before it, if at hand. Raise VerificationFailed naming the first failed check.
    """
    with checking(Check.FORM):
        payload, signatures = decode_envelope(envelope, PAYLOAD_TYPE)
        transcript = decode_transcript(payload)
    with checking(Check.PLAN):
        plan = _plan(transcript)
    with checking(Check.REGISTER):
        register = _register(transcript, root)
    with checking(Check.SCRIPT):
        ceremony, brief = _brief(transcript, plan, register)
        script = ceremony.script(brief)
    with checking(Check.STEPS):
        progress = replay(transcript, script)
    with checking(Check.TIMES):
        _check_times(transcript, progress)
    with checking(Check.APPROVALS):
        _check_approvals(transcript, ceremony, brief, progress)
    with checking(Check.SIGNATURES):
        signers = _signers(transcript, payload, brief.register, signatures)
    with checking(Check.ROOT):
        site_root = _site_root(transcript, brief, progress, root)
    with checking(Check.NUMBER):
        _check_number(transcript)
    if previous is not None:
        with checking(Check.PREVIOUS):
            _check_previous(transcript, previous)
    checks = tuple(one for one in Check if one is not Check.PREVIOUS or previous is not None)
    return Verified(transcript, digest(payload), signers, site_root, checks)


def _plan(transcript: Transcript) -> Plan:
    raw = transcript.plan.encode()
    if digest(raw) != transcript.plan_sha256:
        raise VerificationFailed("the plan within is not the one of the digest")
    plan = parse_plan(raw)
    told = (transcript.site, transcript.ceremony, transcript.kind)
    if told != (plan.file.site, plan.file.id, plan.file.ceremony):
        raise VerificationFailed("the transcript is named otherwise than its plan")
    check_request(transcript.request, plan)
    return plan


def _register(transcript: Transcript, root: ec.EllipticCurvePublicKey) -> Register | None:
    """Return the register in force; None for the ceremony that founds it."""
    if transcript.request.register != register_digest(transcript.register):
        raise VerificationFailed("the request names another register of people")
    if (transcript.founded is None) is not bool(transcript.register):
        raise VerificationFailed("the ceremony has a register of people, or founds it: one of both")
    if not transcript.register:
        return None
    return verify_register(transcript.register, root)


def _brief(transcript: Transcript, plan: Plan, register: Register | None) -> tuple[Ceremony, Brief]:
    if transcript.binding.site != plan.file.site:
        raise VerificationFailed("the ceremony was held at another site than the plan's")
    brief = read_brief(plan, register, transcript.register, transcript.binding)
    if brief.register != (register or transcript.founded):
        raise VerificationFailed("the plan founds another register of people")
    return CEREMONIES[plan.file.ceremony], brief


def _check_times(transcript: Transcript, progress: Progress) -> None:
    started = progress.started
    if started is None or (transcript.begun, transcript.ended) != (started.time, progress.time):
        raise VerificationFailed("the ceremony began or ended at another time than its steps")
    if transcript.entries[0].time < transcript.request.issued:
        raise VerificationFailed("the ceremony began before its people were asked")


def _check_approvals(
    transcript: Transcript, ceremony: Ceremony, brief: Brief, progress: Progress
) -> None:
    if progress.started is None or progress.started.approvals != transcript.approvals:
        raise VerificationFailed("the ceremony started with other approvals")
    for moment in starts(transcript):
        check_admission(
            brief.register, transcript.request, transcript.approvals, ceremony.needs, moment
        )


def _signers(
    transcript: Transcript, payload: bytes, register: Register, signatures: dict[str, bytes]
) -> tuple[str, ...]:
    signed = {holder_of(register, kid)[0]: (kid, value) for kid, value in signatures.items()}
    if len(signed) != len(signatures):
        raise VerificationFailed("somebody signed the transcript twice")
    check_signatures(payload, register, signed)
    if signed.keys() != transcript.approvals.keys():
        wrong = ", ".join(sorted(signed.keys() ^ transcript.approvals.keys()))
        raise VerificationFailed(f"those who signed are not those who took part: {wrong}")
    return tuple(sorted(signed))


def _site_root(
    transcript: Transcript, brief: Brief, progress: Progress, root: ec.EllipticCurvePublicKey
) -> str:
    step = CEREMONIES[transcript.kind].makes_root
    if not step or progress.aborted:
        return spki_id(root)
    made = progress.facts()[step].get(SITE_ROOT)
    if not isinstance(made, str) or (not transcript.register and made != spki_id(root)):
        raise VerificationFailed("the site root that the ceremony made is not the pinned one")
    if not transcript.register:
        _check_founded(brief, progress, root)
    return made


def _check_founded(brief: Brief, progress: Progress, root: ec.EllipticCurvePublicKey) -> None:
    """Let the root itself say whom it was made for: anybody can name a public key."""
    parameters = brief.parameters_as(FoundSite)
    for facts in progress.facts().values():
        if SIGNED_REGISTER in facts:
            signed = verify_register(facts[SIGNED_REGISTER], root)
            if signed == founded(brief.plan, parameters, brief.site, signed.issued):
                return
    raise VerificationFailed("the site root did not sign the register that the plan founds")


def _check_number(transcript: Transcript) -> None:
    if (transcript.sequence == 1) is not (transcript.previous == ""):
        raise VerificationFailed("number 1, and no other, follows no transcript")


def _check_previous(transcript: Transcript, previous: bytes) -> None:
    payload = decode_envelope(previous, PAYLOAD_TYPE)[0]
    before = decode_transcript(payload)
    told = (transcript.site, transcript.sequence, transcript.previous)
    if told != (before.site, before.sequence + 1, digest(payload)):
        raise VerificationFailed("it does not follow the transcript that was given")

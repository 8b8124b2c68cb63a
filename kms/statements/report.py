"""Statements about compliance reports: what a report was made from, and what was exported of it.

Signed by the key of the site's token that signs checkpoints, which is on the key list; the type in
the header keeps the two apart.
"""

from dataclasses import dataclass

from kms.domain.reports import LANGUAGES, parse_report
from kms.domain.text import visible
from kms.errors import InvalidInput, VerificationFailed
from kms.statements import jws
from kms.statements.canonical import decode_record, encode_record, unb64u
from kms.statements.keylist import KeyList, KeyUse

TYP = "conclave-report+jws"
_HASH_BYTES = 32
_MAX_ACTOR = 200


@dataclass(frozen=True, slots=True)
class ReportStatement:
    """A report over the log's first ``size`` leaves, whose root is ``root``, about the time from
    ``since`` until before ``until``. ``bundle`` and ``figures`` are the SHA-256 of the evidence
    bundle and of the report's figures (JSON), ``actor`` is who made or exported it.

    Of what was made: ``figures`` has names masked, ``full`` is the SHA-256 of those with names in
    full, so that no others can be exported later. Empty in an export.

    Of an export: ``paper`` is the SHA-256 of the PDF, ``language`` its language, ``figures`` those
    that go with it, and ``request`` the approved request by which names are shown in full (empty:
    they are masked). All three are empty when the report was made. Digests in base64url, times in
    whole seconds; ``issued`` by the worker's clock.
    """

    iss: str
    report: str
    since: int
    until: int
    size: int
    root: str
    bundle: str
    figures: str
    paper: str
    language: str
    request: str
    actor: str
    issued: int
    full: str


def sign_report(told: ReportStatement, kid: str, signer: jws.RawSigner) -> str:
    """Return a statement as a JWS; raise InvalidInput for one that says nothing sensible."""
    check_report(told)
    return jws.sign(encode_record(told), typ=TYP, kid=kid, signer=signer)


def check_report(told: ReportStatement) -> None:
    """Raise InvalidInput unless every field can be what it says."""
    parse_report(told.report)
    if told.request:
        parse_report(told.request)
    exported = bool(told.paper)
    if exported is not bool(told.language) or (told.request and not exported):
        raise InvalidInput("language and request are an export's")
    if exported and told.language not in LANGUAGES:
        raise InvalidInput(f"a report is set in: {', '.join(LANGUAGES)}")
    digests = (told.root, told.bundle, told.figures, told.paper if exported else told.full)
    if exported and told.full:
        raise InvalidInput("an export has one set of figures")
    for text in digests:
        if len(unb64u(text)) != _HASH_BYTES:
            raise InvalidInput("a digest has 32 bytes")
    if not 0 <= told.since < told.until <= told.issued or told.size < 1:
        raise InvalidInput("a report is about a time that is over, and about some leaves")
    if not 0 < len(told.actor) <= _MAX_ACTOR or visible(told.actor) != told.actor:
        raise InvalidInput("a report names who made it")


def peek_report(token: str) -> ReportStatement:
    """Return a statement WITHOUT checking its signature; raise VerificationFailed."""
    try:
        found = decode_record(jws.unverified_payload(token.strip(), typ=TYP), ReportStatement)
        check_report(found)
    except InvalidInput as error:
        raise VerificationFailed("not a statement about a report") from error
    return found


def verify_report(token: str, keys: KeyList) -> ReportStatement:
    """Return a statement; raise VerificationFailed unless a listed key of the site signed it."""
    key = keys.key(jws.key_id(token.strip(), typ=TYP), KeyUse.CHECKPOINT)
    jws.verify(token.strip(), typ=TYP, key=key)
    found = peek_report(token)
    if found.iss != keys.iss:
        raise VerificationFailed("the statement is another site's")
    return found

"""One ceremony: how far it is, whether its transcript holds, what was done."""

from starlette.responses import Response

from kms.ceremonies.verification.verdict import SENTENCES, Check
from kms.i18n import Language, language
from kms.web.ceremonies import printed, read_ceremony, transcript_of
from kms.web.files import attachment
from kms.web.roles import PEOPLE
from kms.web.visit import Kind, Page, Visit


def sentence(check: Check) -> str:
    """Return what a check of the verifier says, in the present language."""
    said = SENTENCES[check]
    return said.zh if language() is Language.ZH else said.en


async def _ceremony(visit: Visit) -> Response:
    found = await read_ceremony(visit, visit.path("ceremony"))
    blocks = (
        [(type(one).__name__.lower(), one) for one in found.paper.blocks] if found.paper else []
    )
    return visit.show(
        "ceremony.html", found=found, held=found.held, sentence=sentence, blocks=blocks
    )


async def _transcript(visit: Visit) -> Response:
    data = await transcript_of(visit, visit.path("ceremony"))
    return attachment(data, "transcript.json", "application/json")


async def _print(visit: Visit) -> Response:
    data = await printed(visit, visit.path("ceremony"))
    return attachment(data, "transcript.pdf", "application/pdf")


_PATH = "/people/ceremonies/{ceremony}"
PAGES = (
    Page("ceremony", _PATH, PEOPLE, _ceremony),
    Page("ceremony-transcript", _PATH + "/transcript.json", PEOPLE, _transcript, Kind.FILE),
    Page("ceremony-print", _PATH + "/transcript.pdf", PEOPLE, _print, Kind.FILE),
)

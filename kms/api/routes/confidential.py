"""A meeting's media cipher and its score."""

from starlette.responses import Response

from kms.api import views
from kms.api.context import Context
from kms.api.endpoints import Endpoint, json_reply
from kms.domain.score import LABEL_EN, LABEL_ZH, Reason
from kms.usecases.scores import report_media, score_of
from kms.wire.confidential import EvidenceOut, ReasonOut, ReportMedia, ScoreOut
from kms.wire.replies import MeetingSummary


def endpoints() -> tuple[Endpoint, ...]:
    """Return the endpoints."""
    return (
        Endpoint("media.report", _report, MeetingSummary, ReportMedia),
        Endpoint("score.read", _score, ScoreOut),
    )


async def _report(context: Context) -> Response:
    context.query()
    place, cipher = (context.space, context.meeting), context.message(ReportMedia).cipher
    record = await report_media(context.services, context.call, *place, cipher)
    return json_reply(views.summary(record))


async def _score(context: Context) -> Response:
    context.query()
    epoch, found = await score_of(context.services, context.call, context.space, context.meeting)
    return json_reply(
        ScoreOut(
            space=context.space,
            meeting=context.meeting,
            epoch=epoch,
            label_en=LABEL_EN,
            label_zh=LABEL_ZH,
            d=found.d,
            a=found.a,
            k=found.k,
            vector=found.vector,
            number=f"{found.number:g}",
            ra=f"{found.ra:g}",
            rk=f"{found.rk:g}",
            reasons=tuple(map(_reason, found.reasons)),
        )
    )


def _reason(one: Reason) -> ReasonOut:
    evidence = tuple(EvidenceOut(kind=entry.kind, value=entry.value) for entry in one.evidence)
    return ReasonOut(part=one.part, holds=one.holds, en=one.en, zh=one.zh, evidence=evidence)

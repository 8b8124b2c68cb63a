"""Envelopes: the hot path. One encoder, no models on the way out."""

import msgspec
from starlette.responses import Response

from kms.api.context import Context
from kms.api.endpoints import Endpoint
from kms.api.problem import problem
from kms.domain.ids import MeetingId, RecipientId, SpaceName
from kms.errors import ConclaveError
from kms.policy.authorizer import Target
from kms.usecases.envelopes import FetchedEnvelope, Wanted, fetch_batch, fetch_envelope
from kms.usecases.services import authorize
from kms.wire.replies import BatchOut, EnvelopeOut
from kms.wire.requests import ASSERTION, FetchBatch, WantedEnvelope

_JSON = "application/json"
_ENCODER = msgspec.json.Encoder()
"""Encodes FetchedEnvelope as an EnvelopeOut: the same names, the blob in base64."""

_Entry = dict[str, FetchedEnvelope | dict[str, str]]


def endpoints() -> tuple[Endpoint, ...]:
    """Return the endpoints of envelopes."""
    return (
        Endpoint("envelope.fetch", _fetch, EnvelopeOut),
        Endpoint("envelope.batch", _batch, BatchOut, FetchBatch),
    )


async def _fetch(context: Context) -> Response:
    context.query()
    place = (context.space, context.meeting, context.epoch, context.recipient)
    wanted = Wanted(*place, _asserted(context))
    fetched = await fetch_envelope(context.services, context.call, wanted)
    return Response(_ENCODER.encode(fetched), media_type=_JSON)


def _asserted(context: Context) -> str:
    """Return who is said to be at the device; not even looked for where nobody can say so."""
    if context.services.assertions is None:
        return ""
    return context.header(ASSERTION) or ""


async def _batch(context: Context) -> Response:
    context.query()
    message = context.message(FetchBatch)
    await authorize(context.services, context.call, Target(), "envelopes")
    wanted = [_wanted(entry) for entry in message.envelopes]
    answers = await fetch_batch(context.services, context.call, wanted)
    items = [_entry(answer) for answer in answers]
    return Response(_ENCODER.encode({"items": items}), media_type=_JSON)


def _wanted(entry: WantedEnvelope) -> Wanted:
    return Wanted(
        SpaceName(entry.space),
        MeetingId(entry.meeting),
        entry.epoch,
        RecipientId(entry.recipient),
        entry.assertion or "",
    )


def _entry(answer: FetchedEnvelope | ConclaveError) -> _Entry:
    if isinstance(answer, FetchedEnvelope):
        return {"envelope": answer}
    said = msgspec.json.decode(problem(answer)[1])
    return {"error": {"code": said["code"], "detail": said["detail"]}}

"""Puts the API together: what answers each operation of the table, and what stands before it."""

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from kms.api.dispatch import Dispatch
from kms.api.endpoints import Endpoint, Entry
from kms.api.hosts import Hosts
from kms.api.idempotency import Idempotency
from kms.api.identity import Identification, Identities
from kms.api.limits import Limits
from kms.api.metrics import Metrics
from kms.api.openapi import document
from kms.api.problem import problem_response
from kms.api.routes import (
    alerts,
    approvals,
    audit,
    confidential,
    disks,
    envelopes,
    epochs,
    lifecycle,
    meetings,
    passkeys,
    policies,
    reports,
    rosters,
    seals,
    status,
    vaults,
)
from kms.api.routes.appliance import MOST_SECONDS, Polls
from kms.api.routes.events import Streams
from kms.api.routes.reports import REPORT_SECONDS
from kms.errors import ConclaveError, InvalidInput, MethodNotAllowed, NotFound
from kms.operations import OPERATIONS
from kms.usecases.services import Services
from kms.web import app as board
from kms.web.app import Board
from kms.web.live import STREAM
from kms.web.views.audit import EVIDENCE

OPENAPI = "/v1/openapi.json"
_STREAMS_SHARE = 4
_FORM_BYTES = 64 << 10
"""Most bytes of a form of the board: it is read on the one event loop, for whoever asks."""
_NOT_FOUND, _METHOD = 404, 405
_NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "auto_configure": False,
}
"""Environment variables must not be able to send anything anywhere."""


@dataclass(frozen=True, slots=True)
class Api:
    """The ASGI applications to serve: callers', and browsers' if there is a board. ``streams``,
    ``polls`` and ``pages`` are told when the service stops.
    """

    asgi: ASGIApp
    board: ASGIApp | None
    app: FastAPI
    streams: Streams
    polls: Polls
    pages: Board | None

    def stop(self) -> None:
        """End what would go on for ever, or for long."""
        self.streams.stop()
        self.polls.stop()
        if self.pages:
            self.pages.stop()


def create_app(services: Services) -> FastAPI:
    """Return the FastAPI application alone, without identity, hosts and limits before it."""
    return build(services).app


def build(services: Services) -> Api:
    """Return the application with everything that stands before it."""
    identities = Identities(services)
    limits = services.settings.api
    streams = Streams(identities, max(1, limits.max_connections // _STREAMS_SHARE))
    polls = Polls()
    app, routes = _fastapi(services, streams, polls)
    known = Identification(Dispatch(app, routes), identities)
    longer = {
        OPERATIONS["event.follow"].path: None,
        OPERATIONS["disk-order.take"].path: MOST_SECONDS + limits.request_seconds,
        OPERATIONS["report.make"].path: REPORT_SECONDS,
    }
    pages = board.build(services, services.settings.board) if services.settings.board else None
    unhurried = {STREAM: None, EVIDENCE: REPORT_SECONDS}
    forms = msgspec.structs.replace(limits, max_body=min(limits.max_body, _FORM_BYTES))
    browsers = Limits(pages.asgi, forms, unhurried) if pages else None
    asgi = Limits(Hosts(known, limits), limits, longer)
    return Api(asgi, browsers, app, streams, polls, pages)


def _fastapi(services: Services, streams: Streams, polls: Polls) -> tuple[FastAPI, list[Route]]:
    """Return the application, and the operations' routes in it."""
    metrics, idempotency = Metrics(), Idempotency()
    services.watched.served = metrics.served
    endpoints: tuple[Endpoint, ...] = (
        *envelopes.endpoints(),
        *meetings.endpoints(idempotency),
        *rosters.endpoints(),
        *epochs.endpoints(idempotency),
        *lifecycle.endpoints(idempotency),
        *approvals.endpoints(idempotency),
        *passkeys.endpoints(),
        *policies.endpoints(),
        *streams.endpoints(),
        *status.endpoints(metrics),
        *alerts.endpoints(),
        *audit.endpoints(),
        *reports.endpoints(),
        *seals.endpoints(),
        *vaults.endpoints(),
        *confidential.endpoints(),
        *disks.endpoints(idempotency),
        *polls.endpoints(),
    )
    app = FastAPI(
        title="Conclave",
        description="Keys of confidential meetings, kept in an HSM.",
        version=version("conclave"),
        docs_url=None,
        redoc_url=None,
        openapi_url=OPENAPI,
        redirect_slashes=False,
        telemetry=_NO_TELEMETRY,
        exception_handlers={HTTPException: _not_routed, Exception: _failed},
    )
    routes = [_route(endpoint, Entry(services, metrics, endpoint)) for endpoint in endpoints]
    app.router.routes[:0] = routes
    described: dict[str, Any] = document(app, endpoints)
    app.openapi = lambda: described  # type: ignore[method-assign] # FastAPI's own way
    return app, routes


def _route(endpoint: Endpoint, entry: Entry) -> Route:
    """Return a plain route: parsing is the endpoints' own, so no dependency machinery runs."""
    operation = OPERATIONS[endpoint.operation]
    route = Route(operation.path, entry.__call__, methods=[operation.method], name=operation.id)
    if route.methods:
        route.methods.discard("HEAD")  # it would release a key into nothing
    return route


async def _not_routed(_request: Request, error: Exception) -> Response:
    """Answer what no route takes, in the one error shape."""
    answer: ConclaveError = InvalidInput("the request cannot be read")
    if isinstance(error, HTTPException) and error.status_code == _NOT_FOUND:
        answer = NotFound("no such path")
    elif isinstance(error, HTTPException) and error.status_code == _METHOD:
        answer = MethodNotAllowed("the path has no such method")
    response = problem_response(answer)
    if isinstance(error, HTTPException) and error.headers:
        response.headers.update(error.headers)
    return response


async def _failed(_request: Request, error: Exception) -> Response:
    return problem_response(error)

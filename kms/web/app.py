"""Puts the board together: from a browser's request to a page of the table, and back.

Before a page's handler runs, its visitor is known and may see it; an act besides carries the
session's CSRF token, and a risky one a fresh proof of who asks.
"""

import asyncio
import hmac
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from kms.errors import (
    ConclaveError,
    ConfirmationRequired,
    Forbidden,
    IntegrityFailure,
    InvalidInput,
    NotFound,
    Unauthenticated,
)
from kms.i18n import speak
from kms.settings import Board as Settings
from kms.site_time import keep_time
from kms.statements.canonical import digest
from kms.usecases.passkeys.signing_in import present
from kms.usecases.services import Services, log_integrity_failure
from kms.web.cookies import SESSION, keep, read_cookie, read_language
from kms.web.live import SHARE, Places
from kms.web.names import keep_names
from kms.web.pages import PAGES, navigation
from kms.web.render import HERE, environment
from kms.web.security import Guarded
from kms.web.sessions import Session, Sessions
from kms.web.static import Static
from kms.web.visit import Kind, Page, Visit
from kms.web.words import said
from kms.wire.statuses import STATUS

_LOG = logging.getLogger(__name__)
_PEER = "conclave.peer"
_SERVER_ERROR = 500
_MINUTE = 60
_CSRF = re.compile(rb"(?:^|&)csrf=([A-Za-z0-9_-]*)(?=&|$)")


@dataclass(frozen=True, slots=True)
class Board:
    """The board's ASGI application; ``stopping`` ends what would go on for ever."""

    asgi: ASGIApp
    sessions: Sessions
    stopping: asyncio.Event

    def stop(self) -> None:
        """Let streams end."""
        self.stopping.set()


def build(services: Services, settings: Settings) -> Board:
    """Return the board."""
    environment()
    sessions, stopping = Sessions(settings), asyncio.Event()
    entry = _Entry(services, settings, sessions)
    app = Starlette(
        routes=[
            *(Route(one.path, entry.of(one), methods=[one.method]) for one in PAGES),
            Mount("/static", Static(directory=HERE / "static")),
        ],
        exception_handlers={HTTPException: entry.lost},
    )
    app.router.redirect_slashes = False
    app.state.stopping = stopping
    app.state.places = Places(max(1, settings.max_connections // SHARE))
    return Board(Guarded(app, settings.origin), sessions, stopping)


class _Entry:
    """What every page goes through."""

    def __init__(self, services: Services, board: Settings, sessions: Sessions) -> None:
        self._services, self._board, self._sessions = services, board, sessions

    def of(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        """Return the endpoint of a page."""

        async def endpoint(request: Request) -> Response:
            return await self._answer(page, request)

        return endpoint

    async def lost(self, request: Request, _error: Exception) -> Response:
        """Answer what no page takes."""
        page = Page("lost", request.url.path, frozenset(), _lost)
        return await self._answer(page, request)

    async def _answer(self, page: Page, request: Request) -> Response:
        """Answer; no error leaves here."""
        speak(read_language(request))
        keep_time(self._services.settings.site.utc_offset_minutes)
        keep_names(self._services, None)
        visit = self._visit(page, request)
        if _lost_its_cookie(visit):
            return visit.show("again.html", where=_address_of(visit))
        try:
            await self._admit(visit)
            response = await page.handle(visit)
        except ConclaveError as error:
            response = await self._refuse(visit, error)
        except ClientDisconnect:
            response = await self._refuse(visit, InvalidInput("the request was cut off"))
        except Exception:  # noqa: BLE001 -- a visitor learns nothing of it
            _LOG.exception("the page %s failed unexpectedly", page.id)
            response = await self._refuse(visit, ConclaveError("the service failed"))
        if visit.fresh:
            keep(response, SESSION, visit.session.id)
        return response

    def _visit(self, page: Page, request: Request) -> Visit:
        peer = request.scope.get("extensions", {}).get(_PEER)
        spki = peer.spki if peer and peer.expires > self._services.clock.now() else ""
        bound = digest(request.headers.get("user-agent", "").encode())
        by_itself = page.kind in {Kind.FRAGMENT, Kind.STREAM}
        token = read_cookie(request, SESSION)
        found = self._sessions.find(token, bound, spki, by_itself=by_itself)
        session = found or Session("", "", bound, 0.0, 0.0)
        address = request.client.host if request.client else ""
        return Visit(
            self._services, self._board, self._sessions, request, page, session, address, spki,
            navigation,
        )  # fmt: skip

    async def _admit(self, visit: Visit) -> None:
        """Raise unless the visitor may ask for this."""
        page = visit.page
        if page.kind is Kind.ACT:
            await self._check_token(visit)
        if not visit.session.id and page.begins:
            visit.leave()
        if visit.session.principal is not None:
            await self._check_person(visit)
        if not page.roles:
            return
        if not visit.principal.roles & page.roles:
            raise Forbidden(
                "only these roles may use this page: {roles}",
                hint="ask somebody who has the role: the register of people gives it",
                about={"roles": tuple(sorted(page.roles))},
            )
        if page.risky and not self._sessions.is_confirmed(visit.session):
            raise ConfirmationRequired("confirm who you are first")

    async def _check_person(self, visit: Visit) -> None:
        """Know the person anew: who was removed or lost the passkey is signed out at once."""
        try:
            known = await present(self._services, visit.principal)
            visit.session.principal = replace(known, age=self._age(visit))
        except Unauthenticated:
            self._sessions.end(visit.session)
            visit.session = Session("", "", visit.session.bound, 0.0, 0.0)
            raise
        keep_names(self._services, visit.session.principal)

    def _age(self, visit: Visit) -> int:
        """Return how old the person's proof is, in whole minutes, where a policy asks for it."""
        if not self._services.authorizer.asks_age:
            return 0
        return int(self._sessions.proof_age(visit.session)) // _MINUTE * _MINUTE

    @staticmethod
    async def _check_token(visit: Visit) -> None:
        """Raise unless the act comes from the session's own form, which is not parsed before."""
        given = b""
        if visit.session.id:
            visit.body = await visit.request.body()
            found = _CSRF.findall(visit.body)
            told = visit.request.headers.get("x-csrf-token", "").encode()
            given = told or (found[0] if len(found) == 1 else b"")
        if not visit.session.id or not hmac.compare_digest(given, visit.session.csrf.encode()):
            raise Forbidden("the form is not from this session", hint="load the page again")

    async def _refuse(self, visit: Visit, error: ConclaveError) -> Response:
        if isinstance(error, IntegrityFailure) and visit.session.principal:
            call = visit.call(visit.page.id)
            try:
                await log_integrity_failure(self._services, call, "", visit.page.id, error)
            except ConclaveError as unlogged:
                error = unlogged
        status = STATUS.get(error.code, _SERVER_ERROR)
        if status >= _SERVER_ERROR:
            _LOG.error("the page %s failed: %s", visit.page.id, error.code)
        by_page = "hx-request" in visit.request.headers
        if isinstance(error, Unauthenticated) and visit.page.roles:
            if visit.page.kind is Kind.PAGE:
                return visit.go("/sign-in", next=visit.request.url.path)
            if by_page and visit.page.kind is Kind.FRAGMENT:
                return visit.go("/sign-in", next=_referer(visit))
        if isinstance(error, ConfirmationRequired):
            again = {"again": "1"} if visit.page.kind is Kind.ACT else {}
            return visit.go("/confirm", next=_shown_before(visit), **again)
        part = visit.page.kind is Kind.FRAGMENT or by_page
        template = "part-error.html" if part else "error.html"
        return visit.show(template, status, error=error, said=said(error))


def _shown_before(visit: Visit) -> str:
    """Return the path of the page that somebody was at who is to confirm first."""
    return visit.request.url.path if visit.page.kind is not Kind.ACT else _referer(visit)


def _referer(visit: Visit) -> str:
    """Return the path of the board's page that asked for this."""
    try:
        return urlsplit(visit.request.headers.get("referer", "")).path
    except ValueError:
        return ""


def _lost_its_cookie(visit: Visit) -> bool:
    """Whether a link of another site led here: a browser then keeps a strict cookie back, and a
    new one would sign its person out. Asked by the board's own page, it sends the cookie.
    """
    headers = visit.request.headers
    away = headers.get("sec-fetch-site") == "cross-site"
    return away and visit.page.kind is not Kind.ACT and "cookie" not in headers


def _address_of(visit: Visit) -> str:
    """Return the whole address that was asked for: it begins with the board's origin."""
    scope = visit.request.scope
    query = scope["query_string"].decode("latin-1")
    path = visit.board.origin + scope["raw_path"].decode("latin-1")
    return f"{path}?{query}" if query else path


async def _lost(_visit: Visit) -> Response:
    raise NotFound("there is no such page")

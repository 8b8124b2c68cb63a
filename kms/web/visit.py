"""One request of a browser: who, in which language, which fields; and its answers."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from kms.domain.models import Principal, Role
from kms.errors import InvalidInput, Unauthenticated
from kms.i18n import Language, language
from kms.settings import Board
from kms.statements.canonical import digest
from kms.usecases.passkeys.signing_in import sign_out
from kms.usecases.services import Call, Services
from kms.web.render import render
from kms.web.sessions import Session, Sessions

_MAX_FIELDS = 24
_MAX_NAME = 64
_NUMBER = re.compile(r"0|[1-9][0-9]{0,14}", re.ASCII)
PAGE_ROWS = 50
"""Rows on a page of a table."""


class Kind(StrEnum):
    """What a page is: a whole page, a part of one that htmx asks for, an act (POST), a file, a
    stream of events.
    """

    PAGE = "page"
    FRAGMENT = "fragment"
    ACT = "act"
    FILE = "file"
    STREAM = "stream"


@dataclass(frozen=True, slots=True)
class Page:
    """One path of the board. ``roles``: any of them may; empty: everybody, signed in or not.
    ``risky``: it wants fresh proof of who asks. ``begins``: whoever has no session gets one of
    nobody's here, which a form needs.
    """

    id: str
    path: str
    roles: frozenset[Role]
    handle: "Handler"
    kind: Kind = Kind.PAGE
    risky: bool = False
    begins: bool = False

    @property
    def method(self) -> str:
        """The one method that it answers."""
        return "POST" if self.kind is Kind.ACT else "GET"


@dataclass(slots=True)
class Visit:
    """A request to one page, by the session's person if there is one."""

    services: Services
    board: Board
    sessions: Sessions
    request: Request
    page: Page
    session: Session
    address: str
    spki: str
    navigation: Callable[[frozenset[Role]], Any]
    body: bytes = b""
    fresh: bool = field(default=False)
    """Whether the cookie must be set."""
    _form: "Fields | None" = None

    @property
    def principal(self) -> Principal:
        """Who it is; raise Unauthenticated."""
        if self.session.principal is None:
            raise Unauthenticated("nobody is signed in", hint="sign in")
        return self.session.principal

    def call(self, operation: str) -> Call:
        """Return who asks for what, as use cases want to know it."""
        line = f"{self.request.method} {self.request.url.path}?{self.request.url.query}\n"
        return Call(self.principal, operation, digest(line.encode() + self.body))

    def path(self, name: str) -> str:
        """Return a part of the path."""
        found: str = self.request.path_params[name]
        return found

    def query(self, name: str, default: str = "") -> str:
        """Return a field of the query; raise InvalidInput if it comes twice."""
        return _one(_fields(self.request.scope["query_string"]), name, default)

    def number(self, name: str, default: int) -> int:
        """Return a field of the query that is a number from 0; raise InvalidInput."""
        text = self.query(name)
        if text and not _NUMBER.fullmatch(text):
            raise InvalidInput("{field} is a number from 0", about={"field": name})
        return int(text) if text else default

    def form(self, name: str, default: str = "") -> str:
        """Return a field of the form; raise InvalidInput if it comes twice."""
        if self._form is None:
            self._form = _fields(self.body)
        return _one(self._form, name, default)

    def show(self, template: str, code: int = 200, /, **values: Any) -> Response:
        """Return a page or a part of one."""
        return HTMLResponse(render(template, {**self._values(), **values}), code)

    def go(self, path: str, **query: str) -> Response:
        """Send the browser on, after an act."""
        where = f"{path}?{urlencode(query)}" if query else path
        if self.request.headers.get("hx-request"):
            return Response(status_code=204, headers={"hx-redirect": where})
        return RedirectResponse(where, 303)

    async def begin(self, principal: Principal, spki: str = "") -> None:
        """Sign a person in, under a session of its own; the log has which sessions that ends."""
        before = self.session
        self.sessions.end(before)
        self.session, ended = self.sessions.enter(before.bound, principal, spki)
        self.fresh = True
        await self._tell_ended([before], "another sign-in took its place")
        await self._tell_ended(ended, "one session too many")

    def leave(self) -> None:
        """Go on as nobody, once the session has ended."""
        self.session = self.sessions.begin(self.session.bound, self.address)
        self.fresh = True

    def confirm(self) -> None:
        """Remember that the person proved who it is."""
        self.session = self.sessions.confirm(self.session)
        self.fresh = True

    def tell(self, text: str, tone: str = "good") -> None:
        """Say something on the next page that is shown."""
        self.session.notice = (text, tone)

    async def _tell_ended(self, sessions: list[Session], why: str) -> None:
        for one in sessions:
            if one.principal is not None:
                await sign_out(self.services, one.principal, why)

    def _values(self) -> dict[str, Any]:
        notice, self.session.notice = self.session.notice, None
        principal, query = self.session.principal, self.request.url.query
        return {
            "page": self.page,
            "person": principal,
            "roles": principal.roles if principal else frozenset(),
            "navigation": self.navigation,
            "csrf": self.session.csrf,
            "language": language().value,
            "other": (Language.EN if language() is Language.ZH else Language.ZH).value,
            "banner": self.services.settings.site.banner,
            "site": self.services.settings.site.id,
            "notice": notice,
            "now": self.services.seconds(),
            "here": self.request.url.path,
            "query": query,
            "filled": "&".join(one for one in query.split("&") if one.partition("=")[2]),
            "confirmed": principal is not None and self.sessions.is_confirmed(self.session),
        }


Handler = Callable[[Visit], Awaitable[Response]]
Fields = list[tuple[str, str]]


def _fields(raw: bytes) -> Fields:
    if not raw:
        return []
    try:
        found = parse_qsl(
            raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS
        )
    except ValueError as error:
        raise InvalidInput("the form cannot be read") from error
    if any(len(name) > _MAX_NAME for name, _value in found):
        raise InvalidInput("the form cannot be read")
    return found


def _one(fields: Fields, name: str, default: str) -> str:
    values = [value for key, value in fields if key == name]
    if len(values) > 1:
        raise InvalidInput("{field} is given twice", about={"field": name})
    return values[0] if values else default

"""Limits of one request: head, body (chunked too), time. Pure ASGI, before anything is parsed."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kms.api.problem import problem_response
from kms.errors import (
    ConclaveError,
    HeaderTooLarge,
    InvalidInput,
    RequestTimeout,
    TooLarge,
    Unavailable,
)
from kms.settings import Api

_BODILESS = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
_PER_HEADER = 4  # ": " and the line's end
_MAX_LENGTH_DIGITS = 12


class Limits:
    """Refuses what is too large; ends what takes too long: until an answer begins, and between two
    pieces of it. ``longer``: paths that may take other than the configured seconds; None: for ever,
    as a stream of events.
    """

    def __init__(self, app: ASGIApp, settings: Api, longer: Mapping[str, float | None]) -> None:
        self._app = app
        self._settings = settings
        self._longer = longer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request within its limits."""
        if scope["type"] != "http":
            raise ValueError("only HTTP is served")
        try:
            self._check_head(scope)
        except ConclaveError as error:
            await _close(error, scope, receive, send)
            return
        body = _Body(receive, self._settings.max_body)
        seconds = self._longer.get(scope["path"], self._settings.request_seconds)
        reply = _Reply(send, body, seconds)
        try:
            async with asyncio.timeout(seconds) as reply.deadline:
                await self._app(scope, body, reply)
        except TimeoutError:
            if reply.started:
                raise
            await _close(_late(body), scope, receive, send)

    def _check_head(self, scope: Scope) -> None:
        size = len(scope["raw_path"]) + len(scope["query_string"])
        for name, value in scope["headers"]:
            size += len(name) + len(value) + _PER_HEADER
            if name == b"content-length":
                self._check_length(scope["method"], value)
            elif name == b"transfer-encoding" and scope["method"] in _BODILESS:
                raise InvalidInput("this method takes no body")
        if size > self._settings.max_header:
            raise HeaderTooLarge(f"a request's head has at most {self._settings.max_header} bytes")

    def _check_length(self, method: str, value: bytes) -> None:
        if not value.isdigit() or len(value) > _MAX_LENGTH_DIGITS:
            raise InvalidInput("the content's length is not a number")
        length = int(value)
        if length and method in _BODILESS:
            raise InvalidInput("this method takes no body")
        if length > self._settings.max_body:
            raise _too_large(self._settings.max_body)


class _Body:
    """``receive`` that counts."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive = receive
        self._most = most
        self._left = most
        self.complete = False

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            self.complete = not message.get("more_body", False)
            if self._left < 0:
                raise _too_large(self._most)
        return message


class _Reply:
    """``send`` that closes the connection when the body was not read to its end, and puts off the
    deadline with each piece that was taken.
    """

    def __init__(self, send: Send, body: _Body, seconds: float | None) -> None:
        self._send = send
        self._body = body
        self._seconds = seconds
        self.deadline: asyncio.Timeout | None = None
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            if message["status"] >= HTTPStatus.BAD_REQUEST and not self._body.complete:
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
        await self._send(message)
        if self.deadline and self._seconds is not None and message.get("more_body"):
            self.deadline.reschedule(asyncio.get_running_loop().time() + self._seconds)


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"a body has at most {most} bytes")


def _late(body: _Body) -> ConclaveError:
    if body.complete:
        return Unavailable(
            "the operation took too long; whether it took effect is unknown",
            hint="ask again with the same idempotency key",
        )
    return RequestTimeout("the request did not arrive in time")


async def _close(error: ConclaveError, scope: Scope, receive: Receive, send: Send) -> None:
    response = problem_response(error)
    response.headers["connection"] = "close"
    await response(scope, receive, send)

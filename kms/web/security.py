"""What stands before every page: the one host, the one origin, headers that forbid the rest."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kms.wire.statuses import STATUS

_SAFE = frozenset({"GET", "HEAD"})
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "permissions-policy": (
        "camera=(), geolocation=(), microphone=(), payment=(), usb=(), "
        "publickey-credentials-create=(self), publickey-credentials-get=(self)"
    ),
}
_STRICT_TRANSPORT = "max-age=31536000"


class Guarded:
    """ASGI: refuses other hosts (421) and requests that another site caused (403), and puts the
    board's headers on every answer.
    """

    def __init__(self, app: ASGIApp, origin: str) -> None:
        self._app, self._origin = app, origin
        self._host = urlsplit(origin).netloc
        self._headers = dict(_HEADERS)
        if origin.startswith("https:"):
            self._headers["strict-transport-security"] = _STRICT_TRANSPORT

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        headers = Headers(scope=scope)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                answer.update(self._headers)
                answer.setdefault("cache-control", "no-store")
            await send(message)

        refused = self._refused(scope, headers)
        if refused:
            answer = PlainTextResponse(refused[1], refused[0])
            await answer(scope, receive, guarded)
            return
        await self._app(scope, receive, guarded)

    def _refused(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        """Return status and text of a refusal. A browser says where a request comes from: by
        Sec-Fetch-Site and, of what changes something, by Origin, which then must be there.
        """
        if headers.getlist("host") != [self._host]:
            return STATUS["host_not_allowed"], "this service has another name"
        site = headers.get("sec-fetch-site", "same-origin")
        if scope["method"] in _SAFE:
            navigated = headers.get("sec-fetch-mode") == "navigate"
            if site in {"same-origin", "none"} or (navigated and not _framed(headers)):
                return None
            return STATUS["forbidden"], "another site asked for this"
        if site != "same-origin" or headers.getlist("origin") != [self._origin]:
            return STATUS["forbidden"], "another site asked for this"
        return None


def _framed(headers: Headers) -> bool:
    return headers.get("sec-fetch-dest", "document") != "document"

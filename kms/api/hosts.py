"""Which names this service answers to; a browser tricked by DNS rebinding names another.

Forwarded headers are nowhere read.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from kms.api.problem import problem_response
from kms.errors import HostNotAllowed
from kms.settings import Api

SOCKET_HOSTS = frozenset({"conclave", "localhost"})


class Hosts:
    """Lets requests pass that name an allowed host, one each for socket and TLS."""

    def __init__(self, app: ASGIApp, settings: Api) -> None:
        self._app = app
        tls = settings.tls
        names = {tls.address, f"[{tls.address}]", *tls.hosts} if tls else set()
        self._allowed = {"http": SOCKET_HOSTS, "https": frozenset(map(str.lower, names))}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse (421) a host that is missing, named twice or not allowed."""
        named = [value for name, value in scope["headers"] if name == b"host"]
        if len(named) == 1 and _name(named[0]) in self._allowed[scope["scheme"]]:
            await self._app(scope, receive, send)
            return
        error = HostNotAllowed("the request names a host that this service is not")
        await problem_response(error)(scope, receive, send)


def _name(host: bytes) -> str:
    text = host.decode("latin-1").lower()
    name, colon, port = text.rpartition(":")
    return name if colon and port.isdigit() and port.isascii() else text

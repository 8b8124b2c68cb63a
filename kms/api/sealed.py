"""The API of a sealed box: it says that it is sealed, and nothing else. No store, no workers.

Local callers are those of the configuration; of TLS callers the handshake alone has proved who they
are, since registrations lie in the store, and they learn no more than that the box is sealed.
"""

import time
from dataclasses import dataclass
from typing import Self

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from kms.api.endpoints import json_reply
from kms.api.hosts import Hosts
from kms.api.limits import Limits
from kms.api.peer import EXTENSION, Peer
from kms.api.problem import problem_response
from kms.domain.models import Role
from kms.errors import ConclaveError, Forbidden, Sealed, Unauthenticated
from kms.operations import OPERATIONS
from kms.settings import Settings
from kms.web.sealed import sealed_board
from kms.wire.replies import Health, StatusOut

_SEALED = Sealed(
    "the whole box is sealed",
    hint="people unseal it by the ceremony unseal; then start the service again",
)


@dataclass(frozen=True, slots=True)
class SealedApi:
    """What is served instead of the API."""

    asgi: ASGIApp
    board: ASGIApp | None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return it with the same limits before it as the API has."""
        app = Hosts(_Answers(settings), settings.api)
        board = sealed_board(settings)
        pages = Limits(board, settings.api, {}) if board else None
        return cls(Limits(app, settings.api, {}), pages)

    def stop(self) -> None:
        """Do nothing: every answer is short."""


class _Answers:
    """ASGI: three operations are answered, every other request with 503 ``sealed``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._roles = {caller.uid: frozenset(caller.roles) for caller in settings.caller}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        peer = scope.get("extensions", {}).get(EXTENSION, Peer())
        try:
            response = self._answer(scope, self._known(peer))
        except ConclaveError as error:
            response = problem_response(error)
        await response(scope, receive, send)

    def _known(self, peer: Peer) -> frozenset[Role]:
        if peer.uid is None and peer.spki and peer.expires > time.time():
            return frozenset()
        if peer.uid is None or peer.uid not in self._roles:
            raise Unauthenticated("this user is no caller of the service")
        return self._roles[peer.uid]

    def _answer(self, scope: Scope, roles: frozenset[Role]) -> Response:
        asked = (scope["method"], scope["path"])
        if asked == OPERATIONS["health.live"].key:
            return json_reply(Health(status="live"))
        if asked == OPERATIONS["status.read"].key:
            return json_reply(self._status(roles))
        raise _SEALED

    def _status(self, roles: frozenset[Role]) -> StatusOut:
        if not roles & OPERATIONS["status.read"].roles:
            raise Forbidden("status.read is not permitted")
        site = self._settings.site
        return StatusOut(
            site=site.id,
            banner=site.banner,
            spaces=len(self._settings.space_tokens),
            tree_size=0,
            checkpoint_size=0,
            key_operations=Sealed.code,
            workers={token.label: Sealed.code for token in self._settings.hsm.tokens},
        )

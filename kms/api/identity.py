"""From the other end of a connection to a principal. Who is not named is refused, uid 0 too."""

import logging
import time
from dataclasses import replace

from starlette.types import ASGIApp, Receive, Scope, Send

from kms.api.peer import EXTENSION, Peer
from kms.api.problem import problem_response
from kms.domain.ids import RecipientId, SpaceName
from kms.domain.models import Principal, Recipient, RecipientKind
from kms.domain.rows import Record, SealedRow
from kms.errors import ConclaveError, InvalidInput, NotFound, Unauthenticated
from kms.statements.canonical import read_row
from kms.usecases import callers
from kms.usecases.services import Services

PRINCIPAL = "conclave.principal"
_STEP = 60
"""Policies learn the age of a proof in steps of so many seconds: their answers are remembered."""
_LOG = logging.getLogger(__name__)


class Identities:
    """Recognises callers: local ones by the configuration, servers by their registration."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._local = {caller.uid: callers.local(caller) for caller in services.settings.caller}
        self._registered: dict[str, tuple[SpaceName, RecipientId]] = {}

    async def principal(self, peer: Peer) -> Principal:
        """Return who it is now; raise Unauthenticated, IntegrityFailure, HsmUnavailable."""
        if peer.uid is not None:
            known = self._local.get(peer.uid)
            if known is None:
                raise Unauthenticated(
                    "this user is no caller of the service",
                    hint="name its uid under [[caller]] in the configuration",
                )
            return known
        if not peer.spki or peer.expires <= self._services.clock.now():
            raise Unauthenticated("a valid client certificate is needed")
        return callers.server(await self._recipient(peer.spki), peer.spki)

    def aged(self, principal: Principal, peer: Peer) -> Principal:
        """Return the principal with the age of its proof, where a policy asks for it."""
        if not self._services.authorizer.asks_age:
            return principal
        return replace(principal, age=int(time.monotonic() - peer.since) // _STEP * _STEP)

    async def _recipient(self, spki: str) -> Recipient:
        place = self._registered.get(spki) or self._find(spki)
        if place is not None:
            try:
                recipient = await self._services.cache.recipient(*place)
            except NotFound:
                recipient = None
            if recipient and recipient.tls_spki == spki and recipient.kind is RecipientKind.SERVER:
                self._registered[spki] = place
                return recipient
        self._registered.pop(spki, None)
        raise Unauthenticated(
            "the certificate's key is not registered", hint="a server is registered by ceremony"
        )

    def _find(self, spki: str) -> tuple[SpaceName, RecipientId] | None:
        """Look through the unverified rows; what is found is checked before it counts."""
        store = self._services.store
        for token in self._services.settings.space_tokens:
            for sealed in store.recipients(SpaceName(token.space)):
                record = _readable(sealed)
                if isinstance(record, Recipient) and _names(record, spki):
                    return record.space, record.recipient
        return None


def _names(record: Recipient, spki: str) -> bool:
    # A revoked server may be registered again, with another key of its own.
    return record.tls_spki == spki and not record.revoked


def _readable(sealed: SealedRow) -> Record | None:
    try:
        return read_row(sealed.row)
    except InvalidInput:
        return None


class Identification:
    """ASGI: nothing is answered, not even that a path is unknown, before the caller is known."""

    def __init__(self, app: ASGIApp, identities: Identities) -> None:
        self._app = app
        self._identities = identities

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Put the principal into the scope or refuse."""
        peer = scope.get("extensions", {}).get(EXTENSION, Peer())
        try:
            principal = await self._identities.principal(peer)
        except ConclaveError as error:
            _LOG.warning("caller refused: %s", error.code, extra={"uid": peer.uid})
            await problem_response(error)(scope, receive, send)
            return
        scope[PRINCIPAL] = self._identities.aged(principal, peer)
        await self._app(scope, receive, send)

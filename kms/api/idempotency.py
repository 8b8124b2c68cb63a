"""Creates happen once: a repeated request is answered with the first one's stored reply.

The reply is stored in the same commit as what was created, so there is never one without the
other. Errors are not remembered: the caller may try again. A stored reply is given only to whom the
policies would still permit the request.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.responses import Response

from kms.api.context import Context
from kms.domain.models import Principal, PrincipalKind
from kms.errors import IdempotencyKeyReused, InvalidInput
from kms.policy.authorizer import Target
from kms.ports import PutReply
from kms.usecases.services import Call, Locks, authorize, uninterrupted

HEADER = "idempotency-key"
REPLAYED = "idempotency-replayed"
_KEY = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)
_CREATED = 201
_JSON = "application/json"


class Idempotency:
    """Remembers the replies to creates by caller and Idempotency-Key."""

    def __init__(self) -> None:
        self._locks = Locks()

    async def create(
        self,
        context: Context,
        target: Target,
        make: Callable[[Call], Awaitable[Any]],
        render: Callable[[Any], bytes],
    ) -> Response:
        """Return the reply to a create, made now or remembered; ``target`` is what the policies are
        asked about.

        Raise InvalidInput without a key, IdempotencyKeyReused if the key belongs to another
        request, Forbidden, NotFound, Sealed. The same key in flight twice: the second waits for
        the first.
        """
        key = context.header(HEADER)
        if key is None or not _KEY.fullmatch(key):
            raise InvalidInput(
                "this creates something: give an Idempotency-Key of 1 to 128 visible characters",
                hint="choose a new one for each thing to create, and the same one to repeat",
            )
        return await self._once(context, key, target, make, render)

    @uninterrupted
    async def _once(
        self,
        context: Context,
        key: str,
        target: Target,
        make: Callable[[Call], Awaitable[Any]],
        render: Callable[[Any], bytes],
    ) -> Response:
        owner = owner_of(context.principal)
        async with self._locks.of(f"{owner}\0{key}"):
            known = context.services.store.reply(owner, key)
            if known is not None:
                if known.request != context.digest:
                    raise IdempotencyKeyReused("this key was used with another request")
                resource = f"spaces/{target.space}" if target.space else "site"
                await authorize(context.services, context.call, target, resource)
                return Response(known.body, known.status, {REPLAYED: "true"}, _JSON)
            rendered = _Rendered(context, key, render)
            view = await make(rendered.call(context.call))
            return Response(rendered.body or render(view), _CREATED, media_type=_JSON)


def owner_of(principal: Principal) -> str:
    """Return whose keys these are: servers of two spaces may bear the same name."""
    spaces = sorted(principal.spaces) if principal.kind is PrincipalKind.TLS else ()
    return "/".join((principal.kind, *spaces, principal.name))


class _Rendered:
    """Renders the result once, for the store and for the caller."""

    def __init__(self, context: Context, key: str, render: Callable[[Any], bytes]) -> None:
        self._context = context
        self._key = key
        self._render = render
        self.body = b""

    def call(self, call: Call) -> Call:
        return Call(call.principal, call.operation, call.request, self._remember)

    def _remember(self, view: Any) -> PutReply:
        self.body = self._render(view)
        return PutReply(
            principal=owner_of(self._context.principal),
            key=self._key,
            request=self._context.digest,
            status=_CREATED,
            body=self.body,
            created=self._context.services.seconds(),
        )

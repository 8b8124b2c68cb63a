"""How an operation of the table becomes a route: parse, handle, count, one error shape."""

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from kms.api.context import Context
from kms.api.metrics import Metrics
from kms.api.problem import problem_response
from kms.errors import ConclaveError, IntegrityFailure, InvalidInput
from kms.operations import OPERATIONS, Operation
from kms.usecases.services import Services, log_integrity_failure

_LOG = logging.getLogger(__name__)
_JSON = "application/json"
_SERVER_ERROR = 500

Handler = Callable[[Context], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What answers an operation, and what the documentation says of it.

    ``query``: names and meanings of the query's fields.
    """

    operation: str
    handle: Handler
    reply: type[BaseModel] | str
    body: type[BaseModel] | None = None
    query: tuple[tuple[str, str], ...] = ()
    status: int = 200


def json_reply(
    message: BaseModel, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Return a message as a response."""
    return Response(render(message), status, headers, _JSON)


def tagged(context: Context, tag: str, message: BaseModel) -> Response:
    """Return a message with its ETag, or 304 if the caller has it."""
    if context.not_modified(tag):
        return Response(status_code=304, headers={"etag": tag})
    return json_reply(message, headers={"etag": tag})


def render(message: BaseModel) -> bytes:
    """Return a message's JSON."""
    return message.model_dump_json().encode()


class Entry:
    """The callable behind a route."""

    def __init__(self, services: Services, metrics: Metrics, endpoint: Endpoint) -> None:
        self._services = services
        self._metrics = metrics
        self._handle = endpoint.handle
        self._operation: Operation = OPERATIONS[endpoint.operation]

    async def __call__(self, request: Request) -> Response:
        """Answer; no error leaves here but the end of the connection's task."""
        started = time.perf_counter()
        try:
            context = await Context.read(self._services, request, self._operation)
            response = await self._answer(context)
        except ClientDisconnect:
            response = problem_response(InvalidInput("the request was cut off"))
        except ConclaveError as error:
            response = problem_response(error)
            if response.status_code >= _SERVER_ERROR:
                _LOG.error("%s failed: %s", self._operation.id, error.code)
        except Exception as error:  # noqa: BLE001 -- a caller learns nothing of it
            _LOG.exception("%s failed unexpectedly", self._operation.id)
            response = problem_response(error)
        elapsed = time.perf_counter() - started
        self._metrics.count(self._operation.id, response.status_code, elapsed)
        return response

    async def _answer(self, context: Context) -> Response:
        """Answer; what was found altered stands in the log before the caller hears of it."""
        try:
            return await self._handle(context)
        except IntegrityFailure as error:
            space = context.request.path_params.get("space", "")
            resource = context.request.url.path.removeprefix("/v1/")
            await log_integrity_failure(self._services, context.call, space, resource, error)
            raise

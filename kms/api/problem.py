"""One error shape (RFC 9457); kms/wire/statuses.py maps its codes to HTTP statuses.

A 404 always reads the same, whether the thing is missing or another space's.
"""

from http import HTTPStatus
from typing import Any

import msgspec
from starlette.responses import Response

from kms.errors import ConclaveError
from kms.policy.authorizer import NOT_THERE
from kms.wire.statuses import INTERNAL, STATUS

MEDIA_TYPE = "application/problem+json"


def problem(error: BaseException) -> tuple[int, bytes]:
    """Return status and body; an error that is not ours says nothing about itself."""
    code = error.code if isinstance(error, ConclaveError) else INTERNAL
    if code not in STATUS or not isinstance(error, ConclaveError):
        return _render(INTERNAL, "the service failed; the log says why", "")
    if code == "not_found":
        return _render(code, NOT_THERE, "")
    return _render(code, error.message, error.hint)


def problem_response(error: BaseException) -> Response:
    """Return the response for an error."""
    status, body = problem(error)
    headers = {"retry-after": "1"} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return Response(body, status, headers, MEDIA_TYPE)


def _render(code: str, detail: str, hint: str) -> tuple[int, bytes]:
    status = STATUS[code]
    body: dict[str, Any] = {
        "type": f"urn:conclave:problem:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "code": code,
        "detail": detail,
    }
    if hint:
        body["hint"] = hint
    return status, msgspec.json.encode(body)

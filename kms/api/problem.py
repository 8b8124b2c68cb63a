"""One error shape (RFC 9457) and the one table from error codes to HTTP statuses.

A 404 always reads the same, whether the thing is missing or another space's.
"""

from http import HTTPStatus
from typing import Any

import msgspec
from starlette.responses import Response

from kms.errors import ConclaveError
from kms.policy.authorizer import NOT_THERE

MEDIA_TYPE = "application/problem+json"
_INTERNAL = "internal_error"

STATUS: dict[str, int] = {
    "invalid_input": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "approval_required": 403,
    "quorum_not_met": 403,
    "assertion_required": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "request_timeout": 408,
    "conflict": 409,
    "already_exists": 409,
    "state_not_allowed": 409,
    "on_hold": 409,
    "retained": 409,
    "precondition_failed": 412,
    "too_large": 413,
    "unsupported_media_type": 415,
    "host_not_allowed": 421,
    "idempotency_key_reused": 422,
    "verification_failed": 422,
    "envelope_refused": 422,
    "header_too_large": 431,
    "integrity_failure": 500,
    "configuration_error": 500,
    "profile_error": 500,
    "pin_error": 500,
    _INTERNAL: 500,
    "unavailable": 503,
    "sealed": 503,
    "hsm_unavailable": 503,
    "store_unavailable": 503,
    "audit_unavailable": 503,
}
"""HTTP status by code; a code that is not here is answered as internal_error."""


def problem(error: BaseException) -> tuple[int, bytes]:
    """Return status and body; an error that is not ours says nothing about itself."""
    code = error.code if isinstance(error, ConclaveError) else _INTERNAL
    if code not in STATUS or not isinstance(error, ConclaveError):
        return _render(_INTERNAL, "the service failed; the log says why", "")
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

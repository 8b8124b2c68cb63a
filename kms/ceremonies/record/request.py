"""What a ceremony asks its people to approve: made once, when the ceremony is called."""

import os

from kms.ceremonies.plan import Plan
from kms.ceremonies.room import Brief
from kms.errors import InvalidInput, VerificationFailed
from kms.statements.approval import ApprovalRequest
from kms.statements.canonical import b64u, digest, unb64u

_NONCE_BYTES = 16


def make_request(brief: Brief, now: int) -> ApprovalRequest:
    """Return a new request with a nonce of its own; raise InvalidInput for a plan that expired."""
    file = brief.plan.file
    request = ApprovalRequest(
        site=file.site,
        ceremony=file.id,
        kind=file.ceremony,
        plan=brief.plan.digest,
        register=register_digest(brief.register_token),
        nonce=b64u(os.urandom(_NONCE_BYTES)),
        roster=file.roster,
        issued=now,
        expires=int(file.expires.timestamp()),
    )
    if request.expires <= now:
        raise InvalidInput("the plan has expired", hint="make a plan with a later expiry")
    return request


def register_digest(token: str) -> str:
    """Return how requests name a register's JWS; empty before the first."""
    return digest(token.encode()) if token else ""


def check_request(request: ApprovalRequest, plan: Plan) -> None:
    """Raise VerificationFailed unless the request is for exactly this plan."""
    file = plan.file
    told = (request.site, request.ceremony, request.kind, request.plan)
    if told != (file.site, file.id, file.ceremony, plan.digest):
        raise VerificationFailed("the request for approval is for another plan")
    if request.roster != file.roster or request.expires != int(file.expires.timestamp()):
        raise VerificationFailed("the request for approval has another roster or expiry")
    if not 0 <= request.issued < request.expires:
        raise VerificationFailed("the request for approval expired before it was made")
    try:
        nonce = unb64u(request.nonce)
    except InvalidInput as error:
        raise VerificationFailed("the request's nonce is not base64url") from error
    if len(nonce) != _NONCE_BYTES:
        raise VerificationFailed(f"the request's nonce does not have {_NONCE_BYTES} bytes")

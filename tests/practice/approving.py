"""People of a practice site ask for what needs approval, approve it, and have it carried out."""

import secrets
import time
from typing import Any

from uuid_utils import uuid7

from kms.domain.people import Part
from kms.domain.policies import GroupNeed
from kms.practice.ceremony import practice_credentials
from kms.practice.layout import PEOPLE
from kms.statements.approval import Approval, sign_approval
from kms.statements.canonical import b64u
from kms.statements.request import OperationRequest, sign_request
from kms.wire.approvals import RequestOut
from tests.practice.service import Service

_OPEN_SECONDS = 3600


def ask_for(
    service: Service, operation: str, space: str, parameters: dict[str, Any]
) -> OperationRequest:
    """Hand in a request that as many have to approve as the service says, and return it."""
    requester = next(one.name for one in PEOPLE if one.part is Part.ADMINISTRATOR)
    with service.console() as client:
        rules = client.approval_rules(space)
        rule = next(one for one in rules.items if one.operation == operation)
        now = int(time.time())
        wanted = OperationRequest(
            site=service.site.site_id,
            space=space,
            id=str(uuid7()),
            operation=operation,
            parameters=parameters,
            reason="practice",
            requester=requester,
            register=rules.sha256,
            quorum=tuple(GroupNeed(one.group, one.count, one.space or "") for one in rule.needs),
            nonce=b64u(secrets.token_bytes(16)),
            issued=now,
            expires=now + _OPEN_SECONDS,
        )
        held = practice_credentials(service.site)[requester]
        client.submit_request(sign_request(wanted, held.credential.kid, held.signer))
    return wanted


def approve(service: Service, wanted: OperationRequest) -> None:
    """Let as many officers approve a request as it takes."""
    for need in wanted.quorum:
        for name in [one.name for one in PEOPLE if one.group == need.group][: need.count]:
            approve_by(service, wanted, name)


def approve_by(service: Service, wanted: OperationRequest, name: str) -> None:
    """Let one officer approve a request with the credential of the register."""
    held = practice_credentials(service.site)[name]
    approval = Approval(wanted.digest(), name, int(time.time()))
    with service.console() as client:
        client.sign_request(wanted.id, sign_approval(approval, held.credential.kid, held.signer))


def carry_out(
    service: Service, operation: str, space: str, parameters: dict[str, Any]
) -> RequestOut:
    """Ask, approve and carry out; return the executed request."""
    wanted = ask_for(service, operation, space, parameters)
    approve(service, wanted)
    with service.console() as client:
        return client.execute_request(wanted.id)

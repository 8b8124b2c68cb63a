"""What attacks on approvals are tried on: a closed meeting of a served practice site that nobody
may destroy, everybody's credentials, and how it is told what came of an attempt.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from uuid_utils import uuid7

from kms.client.api import Client
from kms.domain.approvals import Request, RequestState
from kms.domain.ids import MeetingId, SpaceName
from kms.domain.models import Meeting
from kms.domain.states import MeetingState
from kms.errors import ConclaveError
from kms.hsm.client import Workers
from kms.ports import Approved
from kms.statements import archive
from kms.statements.approval import Approval, sign_approval
from kms.statements.canonical import make_row
from kms.statements.card import HeldCredential
from kms.statements.request import OperationRequest, sign_request
from tests.practice.approving import ask_for
from tests.practice.service import Service
from tests.scenarios.rooms import rooms

SPACE, ELSEWHERE = SpaceName("treasury"), SpaceName("investment-banking")
TWICE, BOUND = "sun-security", "zhou-security"
THREE = ("wang-security", "sun-security", "wu-security")
WORKER_LOG = "rows are not sealed"


@dataclass(frozen=True)
class Attempt:
    """What came of an attack: the error's code (empty: it passed), whether log or worker told of
    it, whether the meeting's keys stood afterwards.
    """

    code: str
    told: bool
    stood: bool


@dataclass
class Case:
    """A closed meeting that attackers want destroyed, and everybody's credentials."""

    service: Service
    meeting: str
    held: dict[str, HeldCredential]

    @property
    def target(self) -> dict[str, Any]:
        return {"meeting": self.meeting}

    def asked(self, *names: str) -> OperationRequest:
        """Return a request for the meeting's destruction that these people approved."""
        wanted = ask_for(self.service, "meeting.destroy", SPACE, self.target)
        with self.service.console() as client:
            for name in names:
                client.sign_request(wanted.id, self.approval(wanted, name))
        return wanted

    def approval(self, wanted: OperationRequest, name: str, by: str = "", **changes: Any) -> str:
        key = self.held[by or name]
        word = replace(Approval(wanted.digest(), name, int(time.time())), **changes)
        return sign_approval(word, key.credential.kid, key.signer)

    def signed(self, wanted: OperationRequest, by: str = "") -> str:
        key = self.held[by or wanted.requester]
        return sign_request(wanted, key.credential.kid, key.signer)

    def over_the_api(self, attack: "Attack") -> Attempt:
        with self.service.console() as client:
            before = client.status().tree_size
            code = code_of(lambda: attack(self, client))
            leaves = [json.loads(leaf) for leaf in client.leaves(before)]
        told = any(
            leaf["action"] == "approval.refused" and leaf["details"]["code"] == code
            for leaf in leaves
        )
        return Attempt(code, told, self.stands())

    def at_the_worker(self, forge: "Forge") -> Attempt:
        """Send to the space's worker what the web process never would."""
        before = self.service.log.read_text(errors="replace").count(WORKER_LOG)

        async def attack() -> None:
            workers = Workers(self.service.settings)
            try:
                await forge(self, workers)
            finally:
                await workers.close()

        code = code_of(lambda: asyncio.run(attack()))
        after = self.service.log.read_text(errors="replace").count(WORKER_LOG)
        return Attempt(code, after > before, self.stands())

    def stands(self) -> bool:
        with self.service.console() as client:
            return client.meeting(SPACE, self.meeting).state is MeetingState.CLOSED

    # What a web process gone bad makes of a request.

    def executed(
        self, wanted: OperationRequest, names: Sequence[str], register: str = "", **changes: Any
    ) -> Approved:
        """Return the meeting's destruction by a request that these people approved."""
        signed = changes.get("signed", int(time.time()))
        tokens = tuple(self.approval(wanted, name, signed=signed) for name in names)
        record = Request(
            SPACE, wanted.id, self.signed(wanted), tokens, RequestState.EXECUTED, int(time.time())
        )
        rows = changes.get("rows", (self.gone(),))
        made = tuple(make_row(one, 3) for one in rows)
        return Approved(make_row(record, 9), made, register or self.register())

    def gone(self, **changes: Any) -> Meeting:
        space, meeting = SPACE, MeetingId(self.meeting)
        record = Meeting(space, meeting, MeetingState.DESTROYED, 0, None, 0, 1, 1)
        return replace(record, **changes)

    def register(self, number: int = 0) -> str:
        state = self.service.site.state
        names = [path.name for path in state.iterdir()]
        newest = number or archive.newest(names, archive.REGISTER)
        return (state / archive.REGISTER.format(newest)).read_text("ascii")

    def made(self, **changes: Any) -> OperationRequest:
        """Return a request that was never handed in."""
        wanted = ask_for(self.service, "meeting.destroy", SPACE, self.target)
        with self.service.console() as client:
            client.cancel_request(wanted.id)
        return replace(wanted, **{"id": another_id(), **changes})


Attack = Callable[[Case, Client], object]
Forge = Callable[[Case, Workers], Awaitable[object]]


def code_of(action: Callable[[], object]) -> str:
    try:
        action()
    except ConclaveError as error:
        return error.code
    return ""


def closed_meeting(service: Service) -> str:
    """Return a closed meeting of the space."""
    room = next(one for one in rooms(service) if one.space == SPACE)
    with service.server(room.server) as server:
        ids = {one.name: one.recipient for one in server.recipients().items}
        from kms.wire.requests import RosterWish

        meeting = server.open_meeting(SPACE, RosterWish(recipients=(ids[room.server],))).meeting
        server.close_meeting(SPACE, meeting)
    return meeting


def another_id() -> str:
    """Return a new UUIDv7."""
    return str(uuid7())

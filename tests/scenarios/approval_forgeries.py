"""What a web process gone bad sends to the workers: rows that need approval without it, approved
requests with less behind them, or more in them, than people signed.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import cast

from cryptography.hazmat.primitives.asymmetric import ec

from kms.domain.approvals import Request, RequestState
from kms.domain.grants import Grant, Hold, Share
from kms.domain.ids import MeetingId
from kms.domain.models import Epoch, Role, RotationReason
from kms.domain.policies import (
    GroupNeed,
    Labels,
    RotationRules,
    SitePolicy,
    SpacePolicy,
)
from kms.domain.rows import Record
from kms.domain.states import KeyState
from kms.hsm.client import Workers
from kms.ports import Approved
from kms.statements import jws
from kms.statements.canonical import digest, make_row, read_row
from kms.statements.register import TYP
from tests.scenarios.approval_case import BOUND, ELSEWHERE, SPACE, THREE, Case, Forge, another_id


def _plain(make: Callable[[Case], Record]) -> Forge:
    async def forge(case: Case, workers: Workers) -> object:
        return await workers.space(SPACE).seal_rows([make_row(make(case), 3)])

    return forge


def approved(make: Callable[[Case], Approved]) -> Forge:
    async def forge(case: Case, workers: Workers) -> object:
        return await workers.space(SPACE).seal_approved(make(case))

    return forge


def _weak(case: Case) -> Approved:
    """Let two people be enough; both agree."""
    weak = case.made(quorum=(GroupNeed("security", 1), GroupNeed("legal", 1)))
    return case.executed(weak, ("wang-security", "qian-legal"))


def _own_root(case: Case) -> Approved:
    """Let a register count that the site root never signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    payload = jws.unverified_payload(case.register(), typ=TYP)
    forged = jws.sign(
        payload, typ=TYP, kid=jws.spki_id(key.public_key()), signer=jws.private_signer(key)
    )
    wanted = case.made(register=digest(forged.encode()))
    return case.executed(wanted, THREE, forged)


async def _elsewhere(case: Case, workers: Workers) -> object:
    return await workers.space(ELSEWHERE).seal_approved(case.executed(case.made(), THREE))


def _late(case: Case) -> Approved:
    now = int(time.time())
    wanted = case.made(issued=now - 90, expires=now - 30)
    return case.executed(wanted, THREE, signed=now - 60)


def _swapped(case: Case) -> Approved:
    """Put another request, by the same requester, under what people approved."""
    wanted = case.made()
    whole = case.executed(wanted, THREE)
    other = replace(wanted, parameters={"meeting": another_id()})
    record = cast("Request", read_row(whole.request))
    return replace(whole, request=make_row(replace(record, request=case.signed(other)), 9))


_HOLD = Hold(SPACE, "h", "", "none", "mallory", 1, lifted=2)
POLICY = SpacePolicy(SPACE, Labels(), RotationRules(3600, 86_400), 0)
_GRANT = Grant(SPACE, "g", "mallory", Role.OFFICER, 1, 2**40, "none")
_EPOCH = Epoch(SPACE, MeetingId("m"), 0, KeyState.DESTROYED, RotationReason.OPEN, 1, 2, 1, "")

BY_WEB_PROCESS: dict[str, Forge] = {
    "a destroyed meeting without a request": _plain(Case.gone),
    "a lifted hold without a request": _plain(lambda _: _HOLD),
    "a policy without a request": _plain(lambda _: POLICY),
    "a grant without a request": _plain(lambda _: _GRANT),
    "a share without a request": _plain(
        lambda case: Share(SPACE, MeetingId(case.meeting), ELSEWHERE, "r", 1)
    ),
    "an executed request alone": _plain(
        lambda _: Request(SPACE, "r", "token", state=RequestState.EXECUTED, ended=1)
    ),
    "too few approvals at the worker": approved(lambda case: case.executed(case.made(), THREE[:2])),
    "one person's approval in the worker's list twice": approved(
        lambda case: case.executed(case.made(), (THREE[0], THREE[0], THREE[1]))
    ),
    "another space's officer at the worker": approved(
        lambda case: case.executed(case.made(), (*THREE[:2], BOUND))
    ),
    "a lower quorum at the worker": approved(_weak),
    "a register of another root": approved(_own_root),
    "another meeting than approved": approved(
        lambda case: case.executed(
            case.made(), THREE, rows=(case.gone(meeting=MeetingId(another_id())),)
        )
    ),
    "a row more than approved": approved(
        lambda case: case.executed(case.made(), THREE, rows=(case.gone(), _EPOCH))
    ),
    "a policy by a destruction's approvals": approved(
        lambda case: case.executed(case.made(), THREE, rows=(POLICY,))
    ),
    "parameters changed after approval at the worker": approved(_swapped),
    "an expired request at the worker": approved(_late),
    "an approved request at another space's token": _elsewhere,
}


async def _site_policy(case: Case, workers: Workers) -> object:
    del case
    return await workers.site.seal_rows([make_row(SitePolicy("site", ""), 1)])


BY_WEB_PROCESS["the site's policy without a request"] = _site_policy

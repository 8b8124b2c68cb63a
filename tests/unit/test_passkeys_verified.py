"""What the service takes in about passkeys is what the offline verifier takes: over a FAKE HSM;
authenticators are a test's own.
"""

from dataclasses import replace

import pytest

from kms.errors import VerificationFailed
from kms.statements.approval import TYP as APPROVAL
from kms.statements.approval import Approval
from kms.statements.canonical import encode_record
from kms.usecases.approvals.requests import PASSKEY_SECONDS, sign_request, submit_request
from kms.usecases.approvals.views import read_request
from kms.usecases.passkeys.statements import assemble, signing_options
from kms.usecases.services import Services
from tests.fixtures.api import Clock
from tests.fixtures.approvals import EXAMPLES, NOW
from tests.fixtures.passkeys import OFFICER, PEOPLE, SITE, Desk, call, run_with_board


def test_an_approval_by_passkey_is_signed_just_now() -> None:
    async def work(services: Services) -> None:
        desk, clock = Desk(services, OFFICER), services.clock
        await desk.enrolled()
        who = await desk.signed_in()
        await desk.approving(who)
        wanted = PEOPLE.request("site-policy.change", EXAMPLES["site-policy.change"], "", site=SITE)
        wanted = replace(wanted, parameters={"text": "", "version": 1}, expires=NOW + 7 * 86_400)
        await submit_request(services, call("approval.submit"), PEOPLE.signed(wanted))
        payload = encode_record(Approval(wanted.digest(), OFFICER, NOW))
        challenge = signing_options(services, who, payload)
        signed = assemble(services, who, APPROVAL, payload, desk.device.get(challenge.options))
        assert isinstance(clock, Clock)
        clock.seconds += PASSKEY_SECONDS + 1
        with pytest.raises(VerificationFailed, match="did not sign just now"):
            await sign_request(services, call("approval.sign"), wanted.id, signed)
        clock.seconds -= 1
        view = await sign_request(services, call("approval.sign"), wanted.id, signed)
        assert view.people == (OFFICER,)
        clock.seconds += 86_400  # the admission has ended
        later = await read_request(services, call("approval.read"), wanted.id)
        assert sum(one.count for one in later.missing) == 1 + sum(one.count for one in view.missing)

    run_with_board(work)

"""Confidential and shared meetings on a real site: real tokens, devices, approvals, the offline
verifier. The face and voice service is a key of the test's own, the passkey a software one's.
"""

import base64
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from joserfc import jwt
from joserfc.jwk import ECKey
from uuid_utils import uuid7

from kms.client.keys import EnvelopeOpener
from kms.client.presence import new_presence, presence_token
from kms.client.rosters import make_invitation, new_meeting, signed_roster
from kms.domain.policies import GroupNeed
from kms.domain.score import Cipher
from kms.errors import (
    AssertionRequired,
    InvalidInput,
    NotFound,
    QuorumNotMet,
    VerificationFailed,
)
from kms.practice import PracticeSite
from kms.practice.ceremony import practice_credentials
from kms.practice.layout import PEOPLE
from kms.statements import jws
from kms.statements.approval import Approval, sign_approval
from kms.statements.canonical import b64u
from kms.statements.invitation import host_spki
from kms.statements.presence import challenge_of
from kms.statements.request import OperationRequest, sign_request
from kms.statements.roster import peek_roster
from kms.wire.replies import MeetingOut
from kms.wire.requests import RosterWish, WantedEnvelope
from tests.fixtures.confidential import AT_MEETINGS, PARTY, named, passkey
from tests.fixtures.softhsm import clone_site
from tests.practice.approving import carry_out
from tests.practice.devices import Device, load_authority, make_devices
from tests.practice.service import CONCLAVE, Service, serving
from tests.scenarios import bundles
from tests.scenarios.bundles import Found
from tests.scenarios.site_ceremonies import hold, plan_of

TREASURY, BANKING = "treasury", "investment-banking"
ISSUER = "https://who.bank.example"
SECTION = f"""
[audit]
checkpoint_seconds = 0.2
[assertion]
issuer = "{ISSUER}"
audience = "{{site}}"
key = "{{key}}"
[assertion.webauthn]
rp_id = "{PARTY.id}"
origins = ["{PARTY.origin}"]
"""
WHO = ECKey.generate_key("P-256")
HOST = ec.generate_private_key(ec.SECP256R1())
PASSKEY = passkey()
SIDES = {TREASURY: GroupNeed("security", 2), BANKING: GroupNeed("legal", 2)}
"""Whom the spaces' policies ask before a meeting is shared."""


def partner_plan() -> str:
    text = plan_of("register-recipient").partition("[parameters]")[0]
    return f'{text}[parameters]\nspace = "{TREASURY}"\nkind = "partner"\nname = "{BANKING}"\n'


@pytest.fixture(scope="module")
def service(practice_master: PracticeSite) -> Iterator[Service]:
    with tempfile.TemporaryDirectory(prefix="cv-") as folder:
        site = clone_site(practice_master, Path(folder, "s"))
        hold(site, partner_plan())
        key = Path(folder, "who.jwk")
        key.write_text(json.dumps(WHO.as_dict(private=False)))
        with site.config.open("a") as config:
            config.write(SECTION.format(site=site.site_id, key=key))
        with serving(site) as running:
            yield running


# --- confidential ---------------------------------------------------------------------------------


def asserted(service: Service, meeting: str, who: str, jti: str, **changes: Any) -> str:
    now = int(time.time())
    claims = {
        "iss": ISSUER, "aud": service.site.site_id, "sub": who, "meeting": meeting,
        "amr": ["face", "voice"], "iat": now, "exp": now + 60, "jti": jti, **changes,
    }  # fmt: skip
    return jwt.encode({"alg": "ES256"}, claims, WHO)


def roster(
    service: Service,
    meeting: str,
    devices: list[Device],
    version: int = 1,
    host: ec.EllipticCurvePrivateKey = HOST,
    invited: list[Device] | None = None,
) -> RosterWish:
    """Return the roster that is wished for; the guest's invitation names the passkey."""
    now = int(time.time())
    invitations = [
        make_invitation(
            host, one.certificate, site=service.site.site_id, space=BANKING, meeting=meeting,
            issued=now, expires=now + 3600,
            passkey=named(PASSKEY) if one.name == "guest" else None,
        )
        for one in (devices if invited is None else invited)
    ]  # fmt: skip
    key = load_pem_private_key(service.site.server("ms-1").own_key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    statement = signed_roster(
        key, [one.certificate for one in devices], space=BANKING, meeting=meeting,
        version=version, issued=now, host=host.public_key(), invitations=invitations,
    )  # fmt: skip
    return RosterWish(statement=statement)


def shown(service: Service, meeting: str, device: Device, invited: RosterWish) -> str:
    """Return a statement by the passkey that the device's invitation on the roster names."""
    payload = new_presence(
        site=service.site.site_id, space=BANKING, meeting=meeting, device=device.id,
        issued=int(time.time()),
    )  # fmt: skip
    answer = AT_MEETINGS.answer(PASSKEY, challenge_of(payload))
    token = peek_roster(invited.statement or "").invitations[-1]
    return presence_token(payload, host_spki(HOST.public_key()), token, answer)


def test_a_confidential_meeting_from_invitation_to_score(service: Service, tmp_path: Path) -> None:
    authority = load_authority(service.site.device_ca_key, service.site.device_ca)
    host, guest = make_devices(("host", "guest"), authority)
    meeting, place = str(new_meeting()), {"space": BANKING}
    with service.server("ms-1") as server, service.console() as console:
        wish = roster(service, meeting, [host, guest], invited=[host])
        with pytest.raises(VerificationFailed):
            server.open_meeting(BANKING, wish, meeting=meeting)
        opened = server.open_meeting(BANKING, roster(service, meeting, [host]), meeting=meeting)
        assert opened.host == jws.spki_id(HOST.public_key())
        both = roster(service, meeting, [host, guest], 2)
        joined = server.set_roster(BANKING, meeting, both)
        stranger = ec.generate_private_key(ec.SECP256R1())
        with pytest.raises(InvalidInput, match="host never changes"):
            server.set_roster(BANKING, meeting, roster(service, meeting, [guest], 3, stranger))
        epoch = joined.last_epoch
        with pytest.raises(AssertionRequired):
            server.envelope(BANKING, meeting, guest.id, epoch=epoch)
        _await_assertions(service, meeting, host.id)
        said = asserted(service, meeting, guest.id, "one")
        got = server.envelope(BANKING, meeting, guest.id, epoch=epoch, assertion=said)
        with pytest.raises(AssertionRequired):
            server.envelope(BANKING, meeting, guest.id, epoch=epoch, assertion=said)
        said = shown(service, meeting, guest, both)
        assert server.envelope(BANKING, meeting, guest.id, epoch=epoch, assertion=said) == got
        for who in (guest, host):
            with pytest.raises(AssertionRequired):
                server.envelope(BANKING, meeting, who.id, epoch=epoch, assertion=said)
        opener = EnvelopeOpener(service.trust(), guest.key, "RSA-OAEP")
        blob = base64.b64decode(got.blob)
        opener.open(got.manifest, blob, **place, meeting=meeting, epoch=epoch)
        wanted = [
            WantedEnvelope(**place, meeting=meeting, recipient=one.id, epoch=epoch, assertion=token)
            for one, token in (
                (host, asserted(service, meeting, host.id, "two")),
                (guest, asserted(service, meeting, guest.id, "three", amr=["face"])),
            )
        ]
        items = server.envelopes(wanted).items
        assert items[0].envelope is not None
        assert items[1].error is not None
        assert items[1].error.code == "assertion_required"
        assert console.score(BANKING, meeting).vector == "D0/A0/K1"
        server.report_media(BANKING, meeting, Cipher.AES_256_GCM_SHA512_128)
        found = console.score(BANKING, meeting)
        assert (found.vector, found.number) == ("D1/A0/K1", "0.5"), found.reasons
        (seq,) = [one.value for one in found.reasons[0].evidence]
        (leaf,) = [json.loads(one) for one in console.leaves(int(seq))][:1]
        assert (leaf["action"], leaf["seq"]) == ("media.report", int(seq))
        _check_command(service, meeting, found.number)
        exported = bundles.export(service, tmp_path)
        assert bundles.verify(exported, exported.bundle) == Found(0, frozenset())


def _await_assertions(service: Service, meeting: str, who: str) -> None:
    """Wait until assertions of now are newer than the start of the service, by its own clock."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        said = asserted(service, meeting, who, str(uuid7()))
        with suppress(AssertionRequired), service.server("ms-1") as server:
            server.envelope(BANKING, meeting, who, assertion=said)
            return
        time.sleep(0.2)
    raise AssertionError("no assertion counts")


def _check_command(service: Service, meeting: str, number: str) -> None:
    """Hold that the command shows the same, in the language that is asked for."""
    command = [CONCLAVE, "--config", str(service.site.config)]
    shown = subprocess.run(
        [*command, "--lang", "zh", "meeting", "score", BANKING, meeting],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "SM4" in shown.stdout
    assert "密钥按时轮换" in shown.stdout
    told = subprocess.run(
        [*command, "--json", "meeting", "score", BANKING, meeting],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(told.stdout)["number"] == number
    assert json.loads(told.stdout)["label_zh"] == "自查参考分"


# --- shared ---------------------------------------------------------------------------------------


def asked(service: Service, meeting: str, quorum: tuple[GroupNeed, ...]) -> OperationRequest:
    """Return a request to share a meeting that nobody has handed in."""
    now = int(time.time())
    with service.console() as console:
        sha256 = console.approval_rules(TREASURY, BANKING).sha256
    return OperationRequest(
        service.site.site_id, TREASURY, str(uuid7()), "meeting.share",
        {"meeting": meeting, "partner": BANKING}, "a joint meeting", "chen-admin", sha256, quorum,
        b64u(bytes(16)), now, now + 600,
    )  # fmt: skip


def hand_in(service: Service, wanted: OperationRequest) -> None:
    held = practice_credentials(service.site)["chen-admin"]
    with service.console() as console:
        console.submit_request(sign_request(wanted, held.credential.kid, held.signer))


def approve(service: Service, wanted: OperationRequest, group: str) -> None:
    with service.console() as console:
        for name in [one.name for one in PEOPLE if one.group == group][:2]:
            held = practice_credentials(service.site)[name]
            word = Approval(wanted.digest(), name, int(time.time()))
            console.sign_request(wanted.id, sign_approval(word, held.credential.kid, held.signer))


def set_policies(service: Service) -> None:
    """Have each space's policy ask its own group before a meeting is shared."""
    for space, need in SIDES.items():
        with service.console() as console:
            found = console.policy(space)
        policy = found.policy.model_dump(mode="json")
        needs = [{"group": need.group, "count": need.count, "space": ""}]
        policy["quorums"] = [{"operation": "meeting.share", "needs": needs}]
        parameters = {"policy": policy, "version": found.version + 1}
        carry_out(service, "policy.change", space, parameters)


def opened(service: Service) -> MeetingOut:
    with service.server("ms-a") as server:
        ids = {one.name: one.recipient for one in server.recipients().items}
        return server.open_meeting(TREASURY, RosterWish(recipients=(ids["ms-a"],)))


def _open_as_server(service: Service, meeting: str, epoch: int) -> None:
    opener, place = service.opener("ms-a"), {"space": TREASURY, "meeting": meeting, "epoch": epoch}
    with service.server("ms-a") as server:
        got = server.envelope(TREASURY, meeting, opener.recipient, epoch=epoch)
    key = opener.open(got.manifest, base64.b64decode(got.blob), **place)
    assert (key.sender, key.senders) == (0, {0: opener.recipient})


def partners_of(service: Service, meeting: str) -> list[list[tuple[str, int]]]:
    """Return of each epoch the partners that its verified manifest names, with their senders."""
    trust = service.trust()
    with service.server("ms-a") as server:
        epochs = list(server.epochs(TREASURY, meeting))
    return [
        [
            (one.kind.value, one.sender)
            for one in trust.manifest(epoch.manifest, TREASURY).recipients
            if one.kind == "partner"
        ]
        for epoch in epochs
    ]


def test_a_meeting_is_shared_by_both_sides_and_ended_by_the_other(
    service: Service, tmp_path: Path
) -> None:
    set_policies(service)
    meeting = opened(service).meeting
    own = (SIDES[TREASURY],)
    both = (*own, GroupNeed("legal", 2, BANKING))
    with service.console() as console:
        for quorum in (own, (GroupNeed("security", 2, BANKING), *own)):
            with pytest.raises((InvalidInput, VerificationFailed)):
                hand_in(service, asked(service, meeting, quorum))
        wanted = asked(service, meeting, both)
        hand_in(service, wanted)
        approve(service, wanted, "security")
        with pytest.raises(QuorumNotMet):
            console.execute_request(wanted.id)
        assert partners_of(service, meeting) == [[]]
        with service.server("ms-1") as foreign, pytest.raises(NotFound):
            foreign.close_meeting(TREASURY, meeting)
        approve(service, wanted, "legal")
        console.execute_request(wanted.id)
        assert partners_of(service, meeting) == [[], [("partner", -1)]]
        assert console.meeting(TREASURY, meeting).partner == BANKING
    service.stop()
    service.start()
    with service.console() as console:
        assert partners_of(service, meeting) == [[], [("partner", -1)]]
        assert console.score(TREASURY, meeting).k
        assert not console.escrow().gap_count
        _open_as_server(service, meeting, 1)
        with service.server("ms-a") as server:
            server.rotate(TREASURY, meeting, "suspicion")
            assert partners_of(service, meeting)[-1] == [("partner", -1)]
        with service.server("ms-1") as foreign:
            with pytest.raises(NotFound):
                foreign.meeting(TREASURY, meeting)
            closed = foreign.close_meeting(TREASURY, meeting)
        assert closed.state == "closed"
        exported = bundles.export(service, tmp_path)
        assert bundles.verify(exported, exported.bundle) == Found(0, frozenset())

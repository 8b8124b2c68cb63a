"""What the offline verifier says of releases of confidential meetings' envelopes: AV-21."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from kms.audit.checks import Check, Verdict
from kms.client.presence import new_presence, presence_token
from kms.statements.invitation import Invitation, host_spki, sign_invitation
from kms.statements.presence import challenge_of
from tests.fixtures.authenticator import FLAG
from tests.fixtures.confidential import AT_MEETINGS, host_id, host_key, named, passkey
from tests.fixtures.evidence import START, Site
from tests.fixtures.evidence import named as recipient
from tests.fixtures.told_passkeys import told_passkeys
from tests.fixtures.verdicts import SPACE, failed, find, sealed, seqs, verified

NOW = int(START.timestamp())
MADE, STRANGE = passkey(), passkey()
STRANGER = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def verify(tmp_path):
    return lambda site: verified(sealed(site), tmp_path)


def confidential():
    """Return a site with a confidential meeting of two devices."""
    site = Site()
    site.start()
    site.space(SPACE)
    return site, site.open(SPACE, "ann", "bob", host=host_id())


def presence(site_, room, person="ann", *, made=MADE, by=None, invited=None, wrong=None, **changes):
    """Return a statement of who is at a device of the room at the site's present time."""
    said = {
        "site": site_.site, "space": room.space, "meeting": room.meeting,
        "device": recipient(person), "issued": site_.seconds(), **changes,
    }  # fmt: skip
    payload, key = new_presence(**said), by or host_key()
    place = {one: said[one] for one in ("site", "space", "meeting", "device")}
    fields = {**place, "issued": NOW - 60, "expires": NOW + 9999, **(invited or {})}
    token = sign_invitation(Invitation(**{"passkey": named(MADE), **fields}), key)
    response = AT_MEETINGS.answer(made, challenge_of(payload), **(wrong or {}))
    return presence_token(payload, host_spki(key.public_key()), token, response)


def test_releases_on_presence_and_on_a_services_word_pass(verify):
    site, room = confidential()
    for _ in range(2):
        site.fetch(room, "ann", presence=presence(site, room))
    site.fetch(room, "bob", assertion="one")
    site.rotate(room)
    site.activate(room)
    old = presence(site, room, issued=site.seconds() - 590, invited={"issued": NOW - 900})
    site.fetch(room, "ann", presence=old)
    report = verify(site)
    assert failed(report) == set()
    (result,) = [one for one in report.results if one.check is Check.PRESENCE]
    assert (result.verdict, result.checked) == (Verdict.PASS, 4)


def test_a_replay_is_found_also_for_another_device_or_much_later(verify):
    site, room = confidential()
    token = presence(site, room)
    site.fetch(room, "ann", presence=token)
    site.fetch(room, "ann", presence=token)
    assert failed(verify(site)) == {Check.PRESENCE}


def test_a_services_word_that_is_used_twice_is_found(verify):
    site, room = confidential()
    site.fetch(room, "ann", assertion="one")
    site.fetch(room, "bob", assertion="one")
    assert failed(verify(site)) == {Check.PRESENCE}


def test_a_statement_of_another_meeting_or_device_is_found(verify):
    site, room = confidential()
    other = site.open(SPACE, "ann", host=host_id())
    site.fetch(room, "ann", presence=presence(site, other))
    assert failed(verify(site)) == {Check.PRESENCE}


FORGED = {
    "another's passkey": {"made": STRANGE},
    "a host of one's own": {"by": STRANGER},
    "nobody verified": {"wrong": {"flags": FLAG.UP}},
    "another challenge": {"wrong": {"other": bytes(32)}},
    "another person": {"person": "bob"},
    "another site": {"site": "other.example"},
    "another space": {"space": "treasury"},
    "too old": {"issued": NOW - 700, "invited": {"issued": NOW - 900}},
    "of the future": {"issued": NOW + 900},
    "never invited": {"invited": {"passkey": None}},
    "no longer invited": {"invited": {"expires": NOW - 1}},
    "invited until then": {
        "issued": NOW - 200,
        "invited": {"issued": NOW - 900, "expires": NOW - 199},
    },
    "invited to something else": {"invited": {"meeting": "x"}},
}


@pytest.mark.parametrize("forged", FORGED)
def test_a_forged_statement_is_found(verify, forged):
    site, room = confidential()
    site.fetch(room, "ann", presence=presence(site, room, **FORGED[forged]))
    assert failed(verify(site)) == {Check.PRESENCE}


@pytest.mark.parametrize("told", [{}, {"presence": "a.b.c"}], ids=["nothing", "nonsense"])
def test_a_release_of_a_confidential_meeting_tells_who_was_there(verify, told):
    site, room = confidential()
    site.fetch(room, "ann", **told)
    assert failed(verify(site)) == {Check.PRESENCE}


def test_one_release_rests_on_one_assertion(verify):
    site, room = confidential()
    site.fetch(room, "ann", presence=presence(site, room), assertion="one")
    assert failed(verify(site)) == {Check.PRESENCE}


def test_presence_in_a_meeting_without_a_host_is_found(verify):
    site, _ = confidential()
    room = site.open(SPACE, "ann")
    site.fetch(room, "ann")
    site.fetch(room, "ann", presence=presence(site, room))
    assert failed(verify(site)) == {Check.PRESENCE}


@pytest.mark.parametrize("later", ["stranger", ""])
def test_a_host_that_changes_is_found(verify, later):
    site, room = confidential()
    room.host = later
    site.rotate(room)
    assert failed(verify(site)) == {Check.PRESENCE}


def test_a_passkey_of_the_board_shows_nobody_to_be_there(verify):
    told = told_passkeys()
    site, board = told.site, told.signed_in()
    room = site.open(SPACE, "ann", host=host_id())
    site.fetch(room, "ann", presence=presence(site, room))
    invited = {"passkey": named(board, rp_id=board.party.id)}
    site.fetch(room, "ann", presence=presence(site, room, made=board, invited=invited))
    report = verify(site)
    assert failed(report) == {Check.PRESENCE}
    assert seqs(report, Check.PRESENCE) == [find(site, "envelope.relay", -1)]


def test_a_used_one_is_remembered_as_long_as_it_could_count(verify):
    site, room = confidential()
    token = presence(site, room)
    for step in (200, 200, 190):
        site.wait(step)
        site.fetch(room, "bob", assertion=str(site.seconds()))
    site.fetch(room, "ann", presence=token)
    first = find(site, "envelope.relay", -1)
    for step in (40, 700, 700, 700):
        site.wait(step)
        site.fetch(room, "bob", assertion=str(site.seconds()))
        site.fetch(room, "ann", presence=token)
    again = [
        seq
        for seq in range(first + 1, len(site.drafts))
        if site.drafts[seq].details.get("presence")
    ]
    assert seqs(verify(site), Check.PRESENCE) == again

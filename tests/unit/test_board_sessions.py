"""Sessions of the board: short, bound to one browser, under a new id at each proof of who it is."""

from dataclasses import dataclass, replace

import pytest

from kms.domain.models import EVERY_SPACE, Principal, PrincipalKind, Role, Strength
from kms.settings import Board
from kms.web import crowd
from kms.web import sessions as module
from kms.web.sessions import MOST_OF_PERSON, Sessions

BROWSER = "a browser"
BOARD = Board(
    origin="http://localhost:8000", idle_seconds=900, session_seconds=3600, confirm_seconds=300
)


@dataclass
class Clock:
    """A clock that the test moves."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(clock: Clock) -> Sessions:
    return Sessions(BOARD, clock)


def person(name: str = "zhao-auditor") -> Principal:
    return Principal(
        name=name,
        kind=PrincipalKind.PASSKEY,
        proof="credential",
        roles=frozenset({Role.AUDITOR}),
        spaces=frozenset({EVERY_SPACE}),
        strength=Strength.TWO_FACTORS,
    )


def test_a_session_is_found_by_its_own_browser_alone(sessions):
    session = sessions.enter(BROWSER, person())[0]
    assert sessions.find(session.id, BROWSER, "") is session
    assert sessions.find(session.id, "another browser", "") is None
    assert sessions.find("another id", BROWSER, "") is None


def test_a_session_by_certificate_wants_that_certificate_each_time(sessions):
    session = sessions.enter(BROWSER, person(), "a key")[0]
    assert sessions.find(session.id, BROWSER, "a key") is session
    assert sessions.find(session.id, BROWSER, "") is None
    assert sessions.find(session.id, BROWSER, "another key") is None


def test_a_session_that_rests_too_long_ends(sessions, clock):
    session = sessions.enter(BROWSER, person())[0]
    clock.now += BOARD.idle_seconds - 1
    assert sessions.find(session.id, BROWSER, "") is session
    clock.now += BOARD.idle_seconds
    assert sessions.find(session.id, BROWSER, "") is None
    assert not sessions.is_alive(session)


def test_a_session_that_is_used_ends_all_the_same(sessions, clock):
    session = sessions.enter(BROWSER, person())[0]
    for _ in range(BOARD.session_seconds // 600 - 1):
        clock.now += 600
        assert sessions.find(session.id, BROWSER, "") is session
    clock.now += 600
    assert sessions.find(session.id, BROWSER, "") is None


def test_what_a_page_asks_for_by_itself_does_not_keep_it_alive(sessions, clock):
    session = sessions.enter(BROWSER, person())[0]
    for _ in range(8):
        clock.now += 100
        assert sessions.find(session.id, BROWSER, "", by_itself=True) is session
    clock.now += 100
    assert sessions.find(session.id, BROWSER, "", by_itself=True) is None


def test_looking_whether_it_lives_does_not_keep_it_alive(sessions, clock):
    session = sessions.enter(BROWSER, person())[0]
    for _ in range(9):
        clock.now += 100
        sessions.is_alive(session)
    assert not sessions.is_alive(session)


def test_proof_makes_a_new_id_and_a_new_token(sessions, clock):
    session = sessions.enter(BROWSER, person())[0]
    before, token = session.id, session.csrf
    clock.now += BOARD.confirm_seconds
    assert not sessions.is_confirmed(session)
    sessions.confirm(session)
    assert sessions.is_confirmed(session)
    assert sessions.find(before, BROWSER, "") is None
    assert sessions.find(session.id, BROWSER, "") is session
    assert session.csrf != token


def test_one_session_too_many_of_a_person_ends_the_oldest(sessions, clock):
    other = sessions.enter(BROWSER, person("wang-security"))[0]
    made = []
    for _ in range(MOST_OF_PERSON + 1):
        clock.now += 1
        made.append(sessions.enter(BROWSER, person())[0])
    assert [sessions.is_alive(one) for one in made] == [False] + [True] * MOST_OF_PERSON
    assert sessions.is_alive(other)


def test_a_crowd_of_nobodies_signs_nobody_out(sessions, monkeypatch):
    monkeypatch.setattr(crowd, "MOST", 20)
    monkeypatch.setattr(crowd, "MOST_OF_ADDRESS", 10)
    signed_in = sessions.enter(BROWSER, person())[0]
    elsewhere = sessions.begin(BROWSER, "10.0.0.2")
    many = [sessions.begin(BROWSER, "10.0.0.1") for _ in range(30)]
    assert sessions.is_alive(signed_in)
    assert sessions.is_alive(elsewhere), "an address takes from itself"
    assert [sessions.is_alive(one) for one in many] == [False] * 20 + [True] * 10
    for at in range(9):
        sessions.begin(BROWSER, f"10.0.1.{at}")
    assert sessions.is_alive(elsewhere)
    sessions.begin(BROWSER, "10.0.1.9")
    assert not sessions.is_alive(elsewhere), "in all there are so many"


def test_sessions_of_nobody_that_end_make_room(sessions, monkeypatch):
    monkeypatch.setattr(crowd, "MOST_OF_ADDRESS", 2)
    first = sessions.begin(BROWSER, "10.0.0.1")
    for _ in range(5):
        sessions.end(sessions.begin(BROWSER, "10.0.0.1"))
    assert sessions.is_alive(first)


def test_a_client_certificate_alone_confirms_nothing(sessions, clock):
    one_factor = replace(person(), kind=PrincipalKind.TLS, strength=Strength.CERTIFICATE)
    clock.now = 1.0
    session = sessions.enter(BROWSER, one_factor, "a key")[0]
    assert not sessions.is_confirmed(session)
    clock.now += 60
    assert sessions.proof_age(session) == 60
    sessions.confirm(session)
    assert sessions.is_confirmed(session)
    assert sessions.proof_age(session) == 0


def test_a_challenge_is_taken_once_and_not_for_long(sessions, monkeypatch):
    session = sessions.begin(BROWSER, "10.0.0.1")
    session.keep_draft("sign-in", "a challenge")
    assert session.draft("sign-in") == "a challenge"
    assert session.take_draft("sign-in") == "a challenge"
    assert session.take_draft("sign-in") is None
    session.keep_draft("sign-in", "a challenge")
    later = module.time.monotonic() + 601
    monkeypatch.setattr(module.time, "monotonic", lambda: later)
    assert session.take_draft("sign-in") is None

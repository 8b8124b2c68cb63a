"""Refused attempts to sign in slow down, fill no log, lock nobody out. Over a FAKE HSM."""

import pytest

from kms.domain.addresses import neighbourhood
from kms.errors import TooManyAttempts, Unauthenticated
from kms.usecases.passkeys.attempts import MOST_LOGGED, WAIT_SECONDS, WINDOW_SECONDS, Attempts
from kms.usecases.passkeys.signing_in import confirm, sign_in, sign_in_options
from kms.usecases.services import Services
from tests.fixtures.passkeys import HERE, OFFICER, Desk, leaves, run_with_board


class Pauses:
    """Waits no time, and remembers how long it was to be."""

    def __init__(self, services: Services) -> None:
        self.waited: list[float] = []
        services.attempts.pause = self

    async def __call__(self, seconds: float) -> None:
        self.waited.append(seconds)


def test_after_some_refusals_what_is_refused_waits_and_is_logged_no_more() -> None:
    async def work(services: Services) -> None:
        now, pauses = [0.0], Pauses(services)
        services.attempts.clock = lambda: now[0]
        desk = Desk(services, OFFICER)
        await desk.enrolled()
        for _ in range(5):
            with pytest.raises(Unauthenticated):
                await desk.signed_in(flags=1)
        assert not pauses.waited
        with pytest.raises(TooManyAttempts):
            await desk.signed_in(flags=1)
        assert pauses.waited == [WAIT_SECONDS]
        assert [one.details["closed"] for one in leaves(services, "session.refused")] == [
            *[False] * 4, True,
        ]  # fmt: skip
        now[0] += WINDOW_SECONDS
        with pytest.raises(Unauthenticated):
            await desk.signed_in(flags=1)

    run_with_board(work)


def test_a_right_answer_gets_in_whatever_others_were_refused() -> None:
    """Nobody keeps others out: neither behind the same address, nor by naming their passkeys."""

    async def work(services: Services) -> None:
        Pauses(services)
        desk, other = Desk(services, OFFICER), Desk(services, "sun-security")
        for one in (desk, other):
            await one.enrolled()
        who = await desk.signed_in()
        for _ in range(12):
            with pytest.raises((Unauthenticated, TooManyAttempts)):
                await desk.signed_in(flags=1)
        assert (await other.signed_in()).name == "sun-security"
        for _ in range(12):
            with pytest.raises((Unauthenticated, TooManyAttempts)):
                await desk.signed_in(flags=1)
        challenge = sign_in_options(services)
        await confirm(services, HERE, who, challenge, desk.device.get(challenge.options))
        assert (await desk.signed_in()).name == OFFICER

    run_with_board(work)


def test_only_a_sessions_own_refusals_count_as_a_persons() -> None:
    async def work(services: Services) -> None:
        pauses, desk = Pauses(services), Desk(services, OFFICER)
        await desk.enrolled()
        who = await desk.signed_in()

        async def wrong(address: str, *, session: bool) -> None:
            challenge = sign_in_options(services)
            answer = desk.device.get(challenge.options, flags=1)
            trying = (
                confirm(services, address, who, challenge, answer)
                if session
                else sign_in(services, address, challenge, answer)
            )
            with pytest.raises((Unauthenticated, TooManyAttempts)):
                await trying

        for at in range(12):
            await wrong(f"10.0.0.{at}", session=False)
        await wrong("10.0.1.0", session=True)
        assert not pauses.waited
        for at in range(5):
            await wrong(f"10.0.2.{at}", session=True)
        assert pauses.waited == [WAIT_SECONDS]

    run_with_board(work)


def test_refusals_far_apart_close_nothing_and_success_forgets() -> None:
    now = [0.0]
    attempts = Attempts(clock=lambda: now[0])
    for _ in range(20):
        assert not attempts.refuse(2, "a")
        now[0] += WINDOW_SECONDS
        assert not attempts.is_closed("a")
    assert not attempts.refuse(2, "b")
    attempts.forget("b")
    assert not attempts.refuse(2, "b")
    assert attempts.refuse(2, "b")
    assert attempts.is_closed("a", "b")


def test_the_log_takes_so_many_refusals_in_a_quarter_of_an_hour_and_no_more() -> None:
    now = [0.0]
    attempts = Attempts(clock=lambda: now[0])
    assert all(attempts.may_log() for _ in range(MOST_LOGGED))
    assert not attempts.may_log()
    now[0] += WINDOW_SECONDS
    assert attempts.may_log()


@pytest.mark.parametrize(
    ("address", "shared"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("fd00:0:0:1:aa::1", "fd00:0:0:1::/64"),
        ("fd00:0:0:1:bb::1%eth0", "fd00:0:0:1::/64"),
        ("", ""),
    ],
)
def test_a_machine_with_many_addresses_counts_as_one(address: str, shared: str) -> None:
    assert neighbourhood(address) == shared

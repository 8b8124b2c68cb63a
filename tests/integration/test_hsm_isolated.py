"""PKCS#11 work in a process of its own: what it is told, what comes back."""

import os
import signal
from pathlib import Path

import pytest

from kms.errors import AlreadyExists, HsmUnavailable, PinError
from kms.hardening import leaves_core
from kms.hsm.init_token import _loaded, init_token
from kms.hsm.isolated import run_isolated
from kms.hsm.profile import load_profile
from kms.practice.site import PROFILE
from tests.fixtures.pins import KnownPins
from tests.fixtures.softhsm import SoftHsm

SECRET = "a-pin-that-nobody-sees"


def look_around(secret: str) -> tuple[str, str, int]:
    environment = "\n".join(f"{name}={value}" for name, value in os.environ.items())
    return Path("/proc/self/cmdline").read_text(), environment, len(secret)


def refuse(secret: str) -> None:
    raise PinError("refused", hint=str(len(secret)))


def die(secret: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def core_with_pins() -> bool:
    with _loaded(load_profile(PROFILE)):
        return leaves_core()


def test_the_process_that_gets_an_officers_pin_keeps_its_memory_to_itself(softhsm: SoftHsm):
    assert run_isolated(softhsm.site.environment, core_with_pins) is False


def test_arguments_reach_the_process_by_a_pipe_alone():
    command, environment, length = run_isolated({"TOLD": "yes"}, look_around, SECRET)
    assert length == len(SECRET)
    assert "TOLD=yes" in environment
    assert SECRET not in command + environment


def test_an_error_comes_back_as_itself():
    with pytest.raises(PinError, match="refused") as caught:
        run_isolated({}, refuse, SECRET)
    assert caught.value.hint == str(len(SECRET))


def test_a_process_that_dies_is_an_hsm_that_is_not_there():
    with pytest.raises(HsmUnavailable, match="died"):
        run_isolated({}, die, SECRET)


def test_a_new_token_takes_both_its_pins(softhsm: SoftHsm):
    environment = softhsm.site.environment
    run_isolated(environment, init_token, softhsm.profile, "fresh", "so-" + SECRET, SECRET)
    with pytest.raises(AlreadyExists):
        run_isolated(environment, init_token, softhsm.profile, "fresh", "so-pin", "user-pin")
    labels = run_isolated(environment, _log_in, softhsm.profile.name)
    assert labels == ()


def _log_in(profile_name: str) -> tuple[str, ...]:
    from kms.hsm.officer import OfficerToken

    profile = load_profile(PROFILE)
    assert profile.name == profile_name
    pins = KnownPins({"fresh": "so-" + SECRET}, {"fresh": SECRET})
    officer = OfficerToken(profile, "fresh", pins)
    with pytest.raises(Exception, match="trusts nothing"):
        officer.revoke("server/none")
    return officer.labels()


@pytest.mark.parametrize("pin", ["", "123", "x" * 256])
def test_a_pin_of_wrong_length_is_refused_before_the_token_sees_it(pin: str):
    with pytest.raises(PinError, match="length"):
        init_token(load_profile(PROFILE), "any", "long-enough", pin)

"""The fault module between a real SoftHSM and python-pkcs11, each case in a process of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import build
from tests.faults.plan import DIE, FOR_EVER, Fault, FaultPlan, Hang, Place, Return, Signal, When
from tests.faults.softhsm import SoftToken, init_token

DEVICE_ERROR = 0x30
PRELUDE = """
import os, signal, pkcs11
from pkcs11 import Attribute, KeyType, Mechanism
token = pkcs11.lib(os.environ["MODULE"]).get_token(token_label="faults")
session = token.open(rw=True, user_pin=os.environ["THROWAWAY_PIN"])
template = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: True}
def generate(store=False):
    return session.generate_key(KeyType.AES, 256, label="k", store=store, template=template)
"""
WRAP_FIVE_TIMES = """
kek, key = generate(), generate()
for turn in range(1, 6):
    try:
        kek.wrap_key(key, mechanism=Mechanism.AES_KEY_WRAP)
        print(turn, "wrapped")
    except pkcs11.PKCS11Error as error:
        print(turn, type(error).__name__)
"""


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> SoftToken:
    return init_token(tmp_path_factory.mktemp("softhsm"), "faults")


@pytest.fixture
def plan(tmp_path: Path) -> FaultPlan:
    return FaultPlan(tmp_path)


Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def start(token: SoftToken, plan: FaultPlan) -> Start:
    module = build.shim("faulthsm")
    environment = os.environ | token.environment() | plan.environment()
    environment |= {"MODULE": str(module), "THROWAWAY_PIN": token.pin}

    def start(script: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", PRELUDE + script]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    return start


def finish(process: "subprocess.Popen[str]") -> tuple[int, list[str]]:
    output, _ = process.communicate(timeout=30)
    return process.returncode, output.splitlines()


def test_without_a_plan_every_call_reaches_the_real_module(start: Start) -> None:
    assert finish(start(WRAP_FIVE_TIMES)) == (0, [f"{n} wrapped" for n in range(1, 6)])


def test_a_code_is_returned_at_the_nth_call_only(start: Start, plan: FaultPlan) -> None:
    # python-pkcs11 calls C_WrapKey twice for a wrap: for the length, then for the bytes.
    plan.write(Fault("C_WrapKey", Return(DEVICE_ERROR), nth=4))
    _, lines = finish(start(WRAP_FIVE_TIMES))
    assert lines == ["1 wrapped", "2 DeviceError", "3 wrapped", "4 wrapped", "5 wrapped"]


def test_a_fault_for_ever_hits_all_later_calls(start: Start, plan: FaultPlan) -> None:
    plan.write(Fault("C_WrapKey", Return(DEVICE_ERROR), nth=5, times=FOR_EVER))
    _, lines = finish(start(WRAP_FIVE_TIMES))
    assert lines == ["1 wrapped", "2 wrapped", "3 DeviceError", "4 DeviceError", "5 DeviceError"]


def test_a_star_hits_every_function(start: Start, plan: FaultPlan) -> None:
    plan.write(Fault("*", Return(DEVICE_ERROR)))
    code, _ = finish(start(""))
    assert code == 1


def test_a_code_after_the_work_leaves_the_work_done(start: Start, plan: FaultPlan) -> None:
    plan.write(Fault("C_GenerateKey", Return(DEVICE_ERROR), When.AFTER))
    script = """
before = len(list(session.get_objects({Attribute.LABEL: "k"})))
try:
    generate(store=True)
except pkcs11.DeviceError:
    print(len(list(session.get_objects({Attribute.LABEL: "k"}))) - before, "made")
"""
    assert finish(start(script)) == (0, ["1 made"])


def test_a_code_before_the_work_leaves_nothing_done(start: Start, plan: FaultPlan) -> None:
    plan.write(Fault("C_GenerateKey", Return(DEVICE_ERROR)))
    script = """
before = len(list(session.get_objects({Attribute.LABEL: "k"})))
try:
    generate(store=True)
except pkcs11.DeviceError:
    print(len(list(session.get_objects({Attribute.LABEL: "k"}))) - before, "made")
"""
    assert finish(start(script)) == (0, ["0 made"])


def test_the_process_dies_after_generating_a_key(start: Start, plan: FaultPlan) -> None:
    plan.write(Fault("C_GenerateKey", DIE, When.AFTER))
    code, lines = finish(start("generate(); print('survived')"))
    assert (code, lines) == (-signal.SIGKILL, [])
    assert [call.outcome for call in plan.calls() if call.function == "C_GenerateKey"] == ["signal"]


def test_a_hung_call_is_ended_by_an_alarm(start: Start, plan: FaultPlan) -> None:
    plan.write(Fault("C_GenerateKey", Hang()))
    script = "signal.setitimer(signal.ITIMER_REAL, 0.2); generate(); print('answered')"
    assert finish(start(script)) == (-signal.SIGALRM, [])


def test_a_short_hang_answers_late(start: Start, plan: FaultPlan) -> None:
    plan.write(Fault("C_GenerateKey", Hang(milliseconds=300)))
    script = """
import time
began = time.monotonic(); generate(); print(time.monotonic() - began >= 0.3)
"""
    assert finish(start(script)) == (0, ["True"])


def test_calls_count_from_the_first_call_of_another_function(start: Start, plan: FaultPlan) -> None:
    plan.write(Fault("C_GenerateKey", Return(DEVICE_ERROR), nth=2, since="C_WrapKey"))
    script = """
for _ in range(5):
    kek = generate()
kek.wrap_key(generate(), mechanism=Mechanism.AES_KEY_WRAP)
generate()
try:
    generate()
except pkcs11.DeviceError:
    print("the second")
"""
    assert finish(start(script)) == (0, ["the second"])


def test_a_file_is_put_in_its_place_at_a_call(
    start: Start, plan: FaultPlan, tmp_path: Path
) -> None:
    trigger = tmp_path / "trigger"
    trigger.with_name("trigger.later").write_text("now")
    plan.write(Fault("C_GenerateKey", Place(trigger), When.AFTER, nth=2))
    script = f"""
for _ in range(2):
    generate()
    print(os.path.exists({str(trigger)!r}))
"""
    assert finish(start(script)) == (0, ["False", "True"])
    assert trigger.read_text() == "now"


def test_once_spares_the_process_that_comes_after(start: Start, plan: FaultPlan) -> None:
    plan.write(Fault("C_GenerateKey", DIE, once=True))
    assert not plan.happened(0)
    assert finish(start("generate()"))[0] == -signal.SIGKILL
    assert plan.happened(0)
    assert finish(start("generate(); print('spared')")) == (0, ["spared"])


def test_another_process_is_killed_and_the_call_goes_on(
    start: Start, plan: FaultPlan, tmp_path: Path
) -> None:
    with subprocess.Popen(["sleep", "60"]) as bystander:
        pid_file = tmp_path / "web.pid"
        pid_file.write_text(f"{bystander.pid}\n")
        plan.write(Fault("C_GenerateKey", Signal(signal.SIGKILL, pid_file), When.AFTER))
        assert finish(start("generate(); print('made')")) == (0, ["made"])
        assert bystander.wait(timeout=10) == -signal.SIGKILL


def test_a_plan_written_later_reaches_a_running_process(start: Start, plan: FaultPlan) -> None:
    process = start(
        "generate(); print('made', flush=True)\nwhile True:\n    generate().destroy()\n"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "made\n"
    plan.write(Fault("C_GenerateKey", DIE))
    assert process.wait(timeout=30) == -signal.SIGKILL
    process.stdout.close()


def test_an_emptied_plan_lets_everything_work_again(start: Start, plan: FaultPlan) -> None:
    plan.write(Fault("C_WrapKey", Return(DEVICE_ERROR), times=FOR_EVER))
    assert finish(start(WRAP_FIVE_TIMES))[1][0] == "1 DeviceError"
    plan.write()
    assert finish(start(WRAP_FIVE_TIMES))[1][0] == "1 wrapped"


def test_calls_are_logged_with_process_and_outcome(start: Start, plan: FaultPlan) -> None:
    plan.write(Fault("C_DestroyObject", Return(DEVICE_ERROR)))
    process = start("key = generate()\ntry: key.destroy()\nexcept pkcs11.DeviceError: pass")
    assert finish(process)[0] == 0
    met = {call.function: call.outcome for call in plan.calls() if call.pid == process.pid}
    assert met["C_GenerateKey"] == "pass"
    assert met["C_DestroyObject"] == "return"


def test_an_unreadable_plan_ends_the_process(start: Start, plan: FaultPlan) -> None:
    plan.path.write_text("C_WrapKey explode\n")
    assert finish(start(""))[0] == -signal.SIGABRT

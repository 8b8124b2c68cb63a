"""The one place that starts programs: bounds, secrets, output, cancelling. All is run for real."""

import logging
import os
import time
from pathlib import Path
from threading import Event, Timer

import pytest

from appliance.run import (
    Limits,
    ProgramCancelled,
    ProgramFailed,
    Programs,
    ProgramTooSlow,
    Secret,
    find_program,
)
from kms.errors import ConfigurationError
from tests.fixtures.luks import need


@pytest.fixture
def programs() -> Programs:
    need("sh", "prlimit")
    return Programs()


def test_a_program_says_what_it_says(programs: Programs) -> None:
    result = programs.run(["sh", "-c", "echo out; echo err >&2; exit 3"], ok=(0, 3))
    assert (result.code, result.out, result.err) == (3, b"out\n", b"err\n")


def test_another_exit_code_is_an_error_that_quotes_it(programs: Programs) -> None:
    with pytest.raises(
        ProgramFailed, match="sh ended with 4: it; does\\?\\[31m not work"
    ) as failed:
        programs.run(["sh", "-c", "printf 'it\ndoes\\033[31m not work' >&2; exit 4"])
    assert failed.value.status == 4


def test_its_environment_is_empty_and_its_folder_the_root(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_PRELOAD_NOT", "x")
    found = programs.run(["env"]).out.split()
    assert found == [b"LC_ALL=C", b"PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
    assert programs.run(["pwd"]).out == b"/\n"
    assert b"DM_DISABLE_UDEV=1" in Programs(dm_udev=False).run(["env"]).out


def test_secrets_come_by_pipes_and_stay_out_of_arguments_and_log(
    programs: Programs, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    script = 'cat "$1" "$2" -; tr "\\0" " " < /proc/$$/cmdline >&2; ls -l "$1" >&2'
    argv = ["sh", "-c", script, "sh", Secret(1), Secret(0)]
    result = programs.run(argv, secrets=(b"first", b"second"), stdin=b"third")
    assert result.out == b"secondfirstthird"
    assert b"second" not in result.err
    assert b"pipe:" in result.err
    assert "<secret 1>" in caplog.text
    assert not any(secret in caplog.text.replace("<secret", "") for secret in ("second", "third"))


def test_no_other_descriptor_is_inherited(programs: Programs, tmp_path: Path) -> None:
    with (tmp_path / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        found = programs.run(["ls", "/proc/self/fd"]).out.split()
    assert len(found) == 4, "three, and the folder itself"


def test_a_slow_program_is_killed_with_its_children(programs: Programs, tmp_path: Path) -> None:
    began = time.monotonic()
    script = (
        f"trap '' TERM; (sleep 30; touch {tmp_path}/late) & echo $! > {tmp_path}/child; sleep 30"
    )
    with pytest.raises(ProgramTooSlow):
        programs.run(["sh", "-c", script], limits=Limits(seconds=0.3))
    assert time.monotonic() - began < 3
    child = int((tmp_path / "child").read_text())
    for _ in range(50):
        if not Path(f"/proc/{child}").exists() or "Z" in state(child):
            break
        time.sleep(0.02)
    else:
        pytest.fail("a child goes on")


def state(process: int) -> str:
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2]
    except FileNotFoundError:
        return "Z"


def test_a_child_that_stays_behind_delays_nothing(programs: Programs) -> None:
    began = time.monotonic()
    assert programs.run(["sh", "-c", "sleep 20 & echo done"]).out == b"done\n"
    assert time.monotonic() - began < 3


def test_a_cancelled_program_may_end_in_order(tmp_path: Path) -> None:
    need("sh", "prlimit")
    cancel = Event()
    Timer(0.2, cancel.set).start()
    script = f"trap 'touch {tmp_path}/ordered; exit 0' TERM; while :; do sleep 0.05; done"
    with pytest.raises(ProgramCancelled):
        Programs(cancel).run(["sh", "-c", script], limits=Limits(seconds=None))
    assert (tmp_path / "ordered").exists()
    with pytest.raises(ProgramCancelled, match="not started"):
        Programs(cancel).run(["touch", str(tmp_path / "never")])
    assert not (tmp_path / "never").exists()


def test_a_cancelled_program_that_does_not_listen_is_killed() -> None:
    need("sh", "prlimit")
    cancel = Event()
    Timer(0.1, cancel.set).start()
    began = time.monotonic()
    with pytest.raises(ProgramCancelled):
        Programs(cancel).run(["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"])
    assert time.monotonic() - began < 5


def test_memory_is_bounded(programs: Programs) -> None:
    script = "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo ${#x}"
    with pytest.raises(ProgramFailed):
        programs.run(["sh", "-c", script], limits=Limits(memory=64 << 20))


def test_output_is_bounded_and_the_program_still_ends(programs: Programs) -> None:
    result = programs.run(["sh", "-c", "yes | head -c 3000000"], limits=Limits(output=1000))
    assert len(result.out) == 1000


def test_lines_are_heard_while_it_runs(programs: Programs) -> None:
    heard: list[tuple[bytes, float]] = []
    script = "echo one; sleep 0.4; printf 'two\\nthree'"
    programs.run(["sh", "-c", script], on_line=lambda line: heard.append((line, time.monotonic())))
    assert [line for line, _ in heard] == [b"one", b"two", b"three"]
    assert heard[1][1] - heard[0][1] > 0.2


@pytest.mark.parametrize("name", ["no-such-program", "./sh", "/bin/sh", "../bin/sh", ""])
def test_programs_are_named_and_found_in_fixed_places(name: str) -> None:
    with pytest.raises(ConfigurationError, match="not installed"):
        find_program(name)


def test_arguments_are_no_shell(programs: Programs) -> None:
    for text in ("; echo x", "$(id)", "`id`", "a\nb", "-n", "*"):
        assert programs.run(["printf", "%s", text]).out == text.encode()

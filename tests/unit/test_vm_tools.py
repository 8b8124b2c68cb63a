"""What happens to tests in a virtual machine where a program is missing."""

from pathlib import Path

import pytest

from tests.vm import tools


@pytest.fixture
def without_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tools, "_PATH", str(tmp_path))
    monkeypatch.setattr(tools, "find", tools.find.__wrapped__)


@pytest.mark.usefixtures("without_programs")
def test_without_a_program_a_test_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install qemu-system-x86"):
        tools.require(("qemu-system-x86_64",))


@pytest.mark.usefixtures("without_programs")
def test_without_a_program_continuous_integration_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(tools.MachineError, match="apt-get install socat"):
        tools.require(("socat",))


def test_a_program_that_fails_says_why() -> None:
    with pytest.raises(tools.MachineError, match="nowhere"):
        tools.run("ls", "/nowhere")

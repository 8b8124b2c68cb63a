"""What the practice site tells people to copy comes in one piece."""

import pytest

from tests.practice.account import Account


def test_a_command_is_not_broken_at_the_width_of_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    command = "conclave passkey invite " + "--word value " * 20 + "end"
    Account().say(command)
    assert capsys.readouterr().out == f"   {command}\n"

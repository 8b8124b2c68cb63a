"""What serve takes its PINs from: a descriptor that nobody opened is refused in a sentence."""

import os
from pathlib import Path

import pytest

from kms.cli.exits import Exit, exit_of
from kms.cli.serving import take_pins_of
from kms.errors import PinError
from tests.fixtures.api import make_settings


def test_a_descriptor_that_is_not_open_is_said_to_be(tmp_path: Path) -> None:
    descriptor = os.dup(0)
    os.close(descriptor)
    with pytest.raises(PinError, match="the descriptor of --pin-fd is not open") as refused:
        take_pins_of(make_settings(tmp_path), descriptor, None)
    assert exit_of(refused.value) == Exit.CONFIGURATION

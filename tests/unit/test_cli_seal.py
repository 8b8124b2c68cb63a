"""``conclave seal`` asks before it seals; ``conclave serve`` takes no PIN of what is sealed."""

import json
import os
import tempfile
from pathlib import Path

import pytest

from kms.bootstrap.pin_cells import PinCell
from kms.bootstrap.seal_marks import SealMarks
from kms.cli.exits import Exit
from kms.cli.serving import take_pins_of
from kms.errors import PinError
from kms.statements.sealing import BOX, Mark
from tests.fixtures.api import TREASURY, make_settings
from tests.fixtures.cli import Cli

PINS = {"site": "1234-site", "t": "1234-treasury", "b": "1234-banking"}


@pytest.mark.parametrize("names", [(), ("treasury", "--site")])
def test_either_a_space_or_the_box_is_named(cli: Cli, names: tuple[str, ...]):
    ended = cli("seal", *names, "--reason", "why", "--yes")
    assert ended.code == Exit.INVALID
    assert "invalid_input" in ended.err


def test_without_a_terminal_it_wants_yes(cli: Cli):
    ended = cli("seal", "treasury", "--reason", "why")
    assert ended.code == Exit.INVALID
    assert "--yes" in ended.err


def taken(folder: Path, document: dict[str, str]) -> dict[str, PinCell]:
    with tempfile.TemporaryFile() as file:
        file.write(json.dumps(document).encode())
        file.seek(0)
        return take_pins_of(make_settings(folder), os.dup(file.fileno()), None)


def asked(folder: Path) -> list[str]:
    """Return which tokens' PINs a terminal is asked for."""
    read_end, write_end = os.pipe()

    def prompt(token: str) -> str:
        os.write(write_end, f"{token} ".encode())
        return PINS[token]

    take_pins_of(make_settings(folder), None, prompt)
    os.close(write_end)
    with os.fdopen(read_end) as told:
        return told.read().split()


def seal(folder: Path, space: str) -> None:
    SealMarks(make_settings(folder).paths).place(space, Mark("officer", 1, "why"))


def test_every_tokens_pin_is_taken_in(tmp_path: Path):
    assert set(taken(tmp_path, PINS)) == set(PINS) == set(asked(tmp_path))


def test_the_pin_of_a_sealed_space_is_neither_asked_for_nor_kept(tmp_path: Path):
    seal(tmp_path, TREASURY)
    assert set(taken(tmp_path, PINS)) == {"site", "b"} == set(asked(tmp_path))
    left_out = {name: pin for name, pin in PINS.items() if name != "t"}
    assert set(taken(tmp_path, left_out)) == {"site", "b"}
    with pytest.raises(PinError, match="exactly the configured tokens"):
        taken(tmp_path, {"site": PINS["site"]})


def test_of_a_sealed_box_no_pin_is_even_read(tmp_path: Path):
    seal(tmp_path, BOX)
    assert taken(tmp_path, {}) == {}
    assert asked(tmp_path) == []

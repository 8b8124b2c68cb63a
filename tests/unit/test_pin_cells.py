"""PINs in pages that can be wiped, filled by another process."""

import os

import pytest

from kms.bootstrap.pin_cells import PinCell, take_pins
from kms.errors import ConfigurationError, PinError


def poured(cell: PinCell) -> bytes:
    read_end, write_end = os.pipe()
    try:
        cell.pour(write_end)
        return os.read(read_end, 4096)
    finally:
        os.close(read_end)
        os.close(write_end)


def test_a_pin_comes_from_another_process_and_is_poured_as_often_as_it_is_wanted():
    mine = os.getpid()

    def read() -> dict[str, str]:
        return {"site": f"other process: {os.getpid() != mine}", "more": "unwanted"}

    cells = take_pins(["site"], read)
    assert list(cells) == ["site"]
    assert [poured(cells["site"]) for _ in range(2)] == [b"other process: True"] * 2


def test_a_wiped_pin_is_gone():
    cell = PinCell()
    cell.fill("1234")
    cell.wipe()
    with pytest.raises(PinError, match="not in memory any more"):
        poured(cell)


@pytest.mark.parametrize("pin", ["", "x" * 5000])
def test_a_pin_that_does_not_fit_is_refused(pin: str):
    with pytest.raises(PinError):
        PinCell().fill(pin)


def test_what_the_reader_refuses_is_raised_here():
    def read() -> dict[str, str]:
        raise PinError("no PIN was given", hint="use --pin-fd")

    with pytest.raises(PinError, match="no PIN was given") as caught:
        take_pins(["site"], read)
    assert caught.value.hint == "use --pin-fd"


def test_a_reader_that_dies_gives_no_pins():
    with pytest.raises(PinError, match="could not be taken in"):
        take_pins(["site"], lambda: os._exit(3))


def test_nothing_of_a_pin_is_shown():
    cell = PinCell()
    cell.fill("1234")
    assert "1234" not in repr(cell)
    assert issubclass(PinError, ConfigurationError)

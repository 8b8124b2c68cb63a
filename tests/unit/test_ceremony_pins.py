"""PINs of a ceremony: derived, drawn, handed over, forgotten."""

import hashlib
import hmac

import pytest

from kms.bootstrap.pins import MemoryPins, derive_so_pin
from kms.errors import PinError

SECRET = bytes(range(16))


def test_an_so_pin_is_hkdf_of_the_officers_secret() -> None:
    pseudo_random_key = hmac.digest(bytes(32), SECRET, "sha256")
    info = b'conclave so-pin v1\n{"generation":2,"site":"hq.example","token":"site"}'
    expected = hmac.digest(pseudo_random_key, info + b"\x01", "sha256")[:16].hex()
    assert derive_so_pin(SECRET, "hq.example", "site", 2) == expected


def test_site_token_and_generation_each_give_another_so_pin() -> None:
    pins = {
        derive_so_pin(SECRET, site, token, generation)
        for site in ("hq.example", "branch.example")
        for token in ("site", "space-treasury")
        for generation in (1, 2)
    }
    assert len(pins) == 8


def test_so_pins_are_known_only_while_the_secret_is_here() -> None:
    pins = MemoryPins("hq.example", {}, dict)
    with pytest.raises(PinError):
        pins.so_pin("site")
    pins.set_so_secret(SECRET, 1)
    assert pins.so_pin("site") == derive_so_pin(SECRET, "hq.example", "site", 1)
    pins.forget()
    with pytest.raises(PinError):
        pins.so_pin("site")


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_the_officers_secret_has_one_length(size: int) -> None:
    with pytest.raises(PinError):
        MemoryPins("hq.example", {}, dict).set_so_secret(bytes(size), 1)


def test_a_new_token_s_pin_is_drawn_once_and_handed_over() -> None:
    delivered: dict[str, str] = {}
    pins = MemoryPins("hq.example", {"site": "known"}, delivered.update)
    pins.draw_user_pin("site")
    for _ in range(2):
        pins.draw_user_pin("space-treasury")
    drawn = pins.user_pin("space-treasury")
    assert len(bytes.fromhex(drawn)) == 16
    pins.deliver_user_pins(["space-treasury"])
    assert delivered == {"space-treasury": drawn}
    assert pins.user_pin("site") == "known"
    with pytest.raises(PinError):
        pins.user_pin("space-banking")


def test_no_secret_is_shown() -> None:
    pins = MemoryPins("hq.example", {"site": hashlib.sha256(b"pin").hexdigest()}, dict)
    pins.set_so_secret(SECRET, 1)
    shown = repr(pins)
    assert shown == "MemoryPins(['site'])"

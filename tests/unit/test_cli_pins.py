"""Taking in PINs: where from, in which order, and that nothing of them is ever repeated."""

import json
import os
import tempfile
from pathlib import Path

import pytest

from kms.cli.pins import read_pins
from kms.errors import PinError

TOKENS = ("site", "space-treasury")
PINS = {"site": "1234-secret", "space-treasury": "5678-secret"}


def descriptor_of(document: bytes) -> int:
    with tempfile.TemporaryFile() as file:
        file.write(document)
        file.seek(0)
        return os.dup(file.fileno())


def from_descriptor(document: bytes) -> dict[str, str]:
    return read_pins(TOKENS, descriptor=descriptor_of(document), environment={}, prompt=None)


def test_a_descriptor_gives_the_pin_of_every_token_and_is_closed_afterwards() -> None:
    descriptor = descriptor_of(json.dumps(PINS).encode())
    assert read_pins(TOKENS, descriptor=descriptor, environment={}, prompt=None) == PINS
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_systemd_credential_is_read_before_anybody_is_asked(tmp_path: Path) -> None:
    (tmp_path / "conclave-pins").write_text(json.dumps(PINS))
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    asked: list[str] = []

    def prompt(token: str) -> str:
        asked.append(token)
        return "x"

    assert read_pins(TOKENS, descriptor=None, environment=environment, prompt=prompt) == PINS
    assert not asked


def test_the_descriptor_wins_over_the_credential(tmp_path: Path) -> None:
    (tmp_path / "conclave-pins").write_text("{}")
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    descriptor = descriptor_of(json.dumps(PINS).encode())
    assert read_pins(TOKENS, descriptor=descriptor, environment=environment, prompt=None) == PINS


def test_each_token_is_asked_for_when_nothing_else_is_there(tmp_path: Path) -> None:
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    pins = read_pins(TOKENS, descriptor=None, environment=environment, prompt=PINS.__getitem__)
    assert pins == PINS


def test_a_pin_in_the_environment_is_not_looked_at() -> None:
    environment = {"CONCLAVE_PIN": "1234", "PIN": "1234", "CONCLAVE_PINS": json.dumps(PINS)}
    with pytest.raises(PinError, match="no terminal"):
        read_pins(TOKENS, descriptor=None, environment=environment, prompt=None)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"1234-secret",
        b'["1234-secret"]',
        b'{"site": 1234}',
        b'{"site": "1234-secret"}',
        json.dumps({**PINS, "other": "1234-secret"}).encode(),
        json.dumps({**PINS, "site": ""}).encode(),
        json.dumps({**PINS, "site": "1234-secret" * 30}).encode(),
        json.dumps({**PINS, "site": "1234-secret\0"}).encode(),
        b'{"site": "1234-secret\xff", "space-treasury": "x"}',
        b"\xff\xfe1234-secret",
        b" " * (1 << 17) + b"1234-secret",
    ],
)
def test_any_other_document_is_refused_without_repeating_a_word_of_it(document: bytes) -> None:
    with pytest.raises(PinError) as caught:
        from_descriptor(document)
    told = f"{caught.value} {caught.value.hint} {caught.value.__cause__!r}"
    assert "1234" not in told
    assert "secret" not in told


@pytest.mark.parametrize("descriptor", [-1, 987])
def test_a_descriptor_that_is_not_there_is_an_error_of_the_pin(descriptor: int) -> None:
    with pytest.raises(PinError, match="descriptor cannot be read"):
        read_pins(TOKENS, descriptor=descriptor, environment={}, prompt=None)

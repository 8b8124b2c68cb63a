"""Takes in the PINs of the tokens: from a file descriptor, a systemd credential or a prompt.

Never from arguments or environment, which other processes can read. No error repeats any of it.
"""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import msgspec

from kms.errors import PinError

CREDENTIAL = "conclave-pins"
"""Name of the systemd credential (systemd.exec(5), LoadCredential=)."""

_MAX_BYTES = 64 << 10
_MAX_PIN = 255

Prompt = Callable[[str], str]
"""Takes a token's label, returns what was typed, unseen."""


def read_pins(
    tokens: Sequence[str],
    *,
    descriptor: int | None,
    environment: Mapping[str, str],
    prompt: Prompt | None,
    sealed: Collection[str] = (),
) -> dict[str, str]:
    """Return the PIN of each token that is not ``sealed``; raise PinError.

    The document of descriptor and credential is a JSON object {token: PIN} of exactly the
    configured tokens; it may leave sealed ones out. ``prompt`` is None where nobody can be asked.
    """
    if descriptor is not None:
        return _parse(_read_descriptor(descriptor), tokens, sealed)
    folder = environment.get("CREDENTIALS_DIRECTORY")
    credential = Path(folder, CREDENTIAL) if folder else None
    if credential is not None and credential.exists():
        return _parse(_read_file(credential), tokens, sealed)
    if prompt is None:
        raise PinError(
            "no PIN was given and there is no terminal to ask on",
            hint="use --pin-fd or the systemd credential conclave-pins",
        )
    return {token: _checked(prompt(token)) for token in tokens if token not in sealed}


def _read_descriptor(descriptor: int) -> bytes:
    try:
        with os.fdopen(descriptor, "rb") as file:
            return file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise PinError("the PIN descriptor cannot be read") from error


def _read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise PinError("the credential conclave-pins cannot be read") from error


def read_pin_descriptor(descriptor: int, tokens: Sequence[str]) -> dict[str, str]:
    """Return the PINs of a document that names some of the configured tokens; raise PinError."""
    return read_pin_document(_read_descriptor(descriptor), tokens)


def read_pin_document(document: bytes, tokens: Sequence[str]) -> dict[str, str]:
    """Return the PINs of a document that names some of the configured tokens; raise PinError."""
    pins = _decode(document, 'a JSON object {"token": "PIN"} of configured tokens')
    if not set(pins) <= set(tokens):
        raise PinError("the PIN document names tokens that are not configured")
    return {token: _checked(pin) for token, pin in pins.items()}


def _parse(document: bytes, tokens: Sequence[str], sealed: Collection[str]) -> dict[str, str]:
    hint = 'a JSON object {"token": "PIN"} with every configured token'
    pins = _decode(document, hint)
    if not set(tokens) - set(sealed) <= set(pins) <= set(tokens):
        raise PinError("the PIN document does not name exactly the configured tokens", hint=hint)
    return {token: _checked(pins[token]) for token in tokens if token not in sealed}


def _decode(document: bytes, hint: str) -> dict[str, str]:
    if len(document) > _MAX_BYTES:
        raise PinError("the PIN document is too large", hint=hint)
    try:
        return msgspec.json.decode(document, type=dict[str, str])
    except (msgspec.MsgspecError, ValueError):
        # What was decoded so far stays out of any message and of the chain of causes.
        raise PinError("the PIN document cannot be read", hint=hint) from None


def _checked(pin: str) -> str:
    if not 1 <= len(pin.encode()) <= _MAX_PIN or "\0" in pin:
        raise PinError("a PIN is empty or too long")
    return pin

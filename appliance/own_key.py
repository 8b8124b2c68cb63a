"""The daemon's own X25519 key: disk keys are sealed to it. It lies in one file of root's, or comes
as a systemd credential.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from appliance.systemd import credential
from kms.errors import AlreadyExists, ConfigurationError, InvalidInput
from kms.statements.canonical import b64u, unb64u

CREDENTIAL = "conclave-appliance-key"
_KEY_BYTES = 32
_OTHERS = 0o077


def make_key(path: Path) -> X25519PrivateKey:
    """Return a new key, written to a new file (base64url, 0600); raise AlreadyExists, OSError."""
    key = X25519PrivateKey.generate()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError as error:
        raise AlreadyExists(
            f"{path} exists", hint="a new key would open no disk any more"
        ) from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(b64u(key.private_bytes_raw()).encode() + b"\n")
        file.flush()
        os.fsync(descriptor)
    return key


def load_key(path: Path, environment: Mapping[str, str] = os.environ) -> X25519PrivateKey:
    """Return the key of systemd's credential, else of the file; raise ConfigurationError."""
    try:
        text = credential(CREDENTIAL, environment) or _private_bytes(path)
        raw = unb64u(text.decode("ascii").strip())
    except FileNotFoundError as error:
        raise ConfigurationError(f"{path} is missing", hint="conclave-appliance key") from error
    except (OSError, UnicodeDecodeError, InvalidInput) as error:
        raise ConfigurationError(f"the appliance's key cannot be read: {error}") from error
    if len(raw) != _KEY_BYTES:
        raise ConfigurationError("the appliance's key is not the base64url of 32 bytes (X25519)")
    return X25519PrivateKey.from_private_bytes(raw)


def public_text(key: X25519PrivateKey) -> str:
    """Return what stands as ``[disks] appliance_key`` in conclave.toml (base64url)."""
    return b64u(key.public_key().public_bytes_raw())


def _private_bytes(path: Path) -> bytes:
    if path.stat().st_mode & _OTHERS:
        raise ConfigurationError(f"others may read {path}", hint=f"chmod 0600 {path}")
    return path.read_bytes()

"""Configuration files: TOML in exactly the shape of a type. What is unknown or wrong is refused."""

from pathlib import Path
from typing import TypeVar

import msgspec

from kms.errors import ConfigurationError

_T = TypeVar("_T")


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file; unknown keys are refused."""


def read_toml(path: Path, kind: type[_T]) -> _T:
    """Return a file's content; raise ConfigurationError with the name of what is wrong."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=kind, dec_hook=_decode_path)
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path}: {error.strerror}", hint="name the file with --config"
        ) from error
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from error


def _decode_path(kind: type, value: object) -> object:
    if kind is not Path or not isinstance(value, str):
        raise ValueError(f"expected {kind.__name__}")
    return Path(value)

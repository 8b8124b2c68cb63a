"""PINs of a ceremony: those of tokens in use come in like the service's own, those of new tokens go
to a new private file or an inherited descriptor. SO PINs never come or go: shares give them.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from kms.bootstrap.pins import MemoryPins
from kms.ceremonies.record.durable import write_new
from kms.cli.pins import Prompt, read_pin_document
from kms.errors import AlreadyExists, InvalidInput, PinError
from kms.settings import Settings
from kms.statements.canonical import canonical

NEW_TOKENS = ("initialise-site", "create-space", "restore-site")
"""Kinds that initialise tokens, whose PINs have to go somewhere."""


class CeremonyPins(MemoryPins):
    """Asks for a PIN when it is first wanted; ``prompt`` is None where nobody can be asked."""

    def __init__(
        self, site: str, known: Mapping[str, str], new: "NewPins | None", prompt: Prompt | None
    ) -> None:
        super().__init__(site, known, new.take if new else _nowhere)
        self._prompt = prompt

    def user_pin(self, token: str) -> str:
        """Return a token's user PIN, asked for once; raise PinError."""
        if token not in self._user and self._prompt:
            self._user[token] = self._prompt(token)
        return super().user_pin(token)


class NewPins:
    """Where the PINs of new tokens go: the JSON object that ``conclave serve --pin-fd`` takes.

    A file that an interrupted run wrote is gone on with; any other is left as it is.
    """

    def __init__(self, place: str) -> None:
        self._descriptor = int(place) if place.isdecimal() else None
        self._path = Path(place).absolute()
        self._pins: dict[str, str] = {}

    def resume(self, settings: Settings) -> dict[str, str]:
        """Return what an interrupted run of this ceremony wrote; raise PinError."""
        if self._descriptor is None and self._path.exists():
            self._pins = read_pin_document(self._path.read_bytes(), labels(settings))
        return dict(self._pins)

    def check_new(self) -> None:
        """Raise AlreadyExists for a file that is there."""
        if self._descriptor is None and (self._path.exists() or self._path.is_symlink()):
            raise AlreadyExists(
                f"{self._path} is there already", hint="choose a new name for the PINs"
            )

    def take(self, pins: Mapping[str, str]) -> None:
        """Write the PINs of new tokens, those taken before included; raise OSError."""
        before, self._pins = self._pins, {**self._pins, **pins}
        if self._descriptor is not None:
            os.write(self._descriptor, canonical(dict(pins)) + b"\n")
        elif self._pins != before or not self._path.exists():
            draft = self._path.with_name(f".{self._path.name}.{os.getpid()}.new")
            write_new(draft, canonical(self._pins))
            draft.replace(self._path)


def _nowhere(_pins: Mapping[str, str]) -> None:
    raise PinError("there is nowhere to put the PINs of new tokens", hint="name it with --new-pins")


def labels(settings: Settings) -> list[str]:
    """Return the labels of the configured tokens."""
    return [token.label for token in settings.hsm.tokens]


def check_new_pins(kind: str, place: "NewPins | None", *, resumed: bool) -> None:
    """Raise InvalidInput if a ceremony makes tokens and nobody said where their PINs go."""
    if kind in NEW_TOKENS and place is None:
        raise InvalidInput(
            "this ceremony makes tokens, whose PINs have to go somewhere",
            hint="--new-pins FILE writes them to a new file, which the service's operator keeps",
        )
    if place and not resumed:
        place.check_new()

"""Takes in the PINs of what is not sealed, into memory that can be wiped."""

import os
from collections.abc import Mapping
from contextlib import suppress

from kms.bootstrap.pin_cells import PinCell, take_pins
from kms.bootstrap.seal_marks import SealMarks
from kms.cli.pins import Prompt, read_pins
from kms.errors import PinError, StoreUnavailable
from kms.settings import Settings
from kms.statements.sealing import BOX


def take_pins_of(
    settings: Settings, descriptor: int | None, prompt: Prompt | None
) -> dict[str, PinCell]:
    """Return the PIN of each token that is not sealed; of a sealed box none is even read. Raise
    PinError, and StoreUnavailable if nobody can tell what is sealed.
    """
    if descriptor is not None:
        _check_open(descriptor)
    sealed = _sealed_tokens(settings)
    labels = [token.label for token in settings.hsm.tokens]

    def read() -> Mapping[str, str]:
        return read_pins(
            labels, descriptor=descriptor, environment=os.environ, prompt=prompt, sealed=sealed
        )

    try:
        wanted = [label for label in labels if label not in sealed]
        return take_pins(wanted, read) if wanted else {}
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _check_open(descriptor: int) -> None:
    try:
        os.fstat(descriptor)
    except (OSError, OverflowError):
        raise PinError(
            "the descriptor of --pin-fd is not open",
            hint="open it for this command, such as: --pin-fd 3 3< FILE",
        ) from None


def _sealed_tokens(settings: Settings) -> frozenset[str]:
    marks = SealMarks(settings.paths)
    # A marker that cannot be made durable stays where it is, and seals from there.
    with suppress(StoreUnavailable):
        marks.settle()
    sealed = marks.sealed()
    tokens = settings.hsm.tokens
    return frozenset(one.label for one in tokens if BOX in sealed or one.space in sealed)

"""Hands a share card out: to a printer's device, to a folder in memory, or as text on a screen."""

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kms.ceremonies.ports import ShareCard
from kms.cli.host import check_card_folder
from kms.errors import ConfigurationError
from kms.i18n import _

_COLUMNS = 3


class Printer:
    """Where cards are printed to; raise ConfigurationError if that would leave them on a disk."""

    def __init__(self, place: Path, *, accept_swap: bool = False) -> None:
        self._place, self._device = place, _is_device(place)
        if not self._device:
            check_card_folder(place, accept_swap=accept_swap)

    @contextmanager
    def printed(self, card: ShareCard) -> Iterator[str]:
        """Print a card, say where it is, and take it away again; raise ConfigurationError,
        OSError.
        """
        from kms.documents.card import share_card  # noqa: PLC0415 -- loads the typesetter

        document = share_card(card, int(time.time()))
        if self._device:
            self._place.write_bytes(document)
            yield str(self._place)
            return
        path = self._place / card_name(card)
        _write_private(path, document)
        try:
            yield str(path)
        finally:
            _wipe(path, len(document))


def card_name(card: ShareCard) -> str:
    """Return a card's file name, which tells nothing secret."""
    return f"{card.secret}-{card.group.name}-{card.index}.pdf"


def card_text(card: ShareCard) -> str:
    """Return a card as text for a screen; it holds the words."""
    words = card.words.split()
    lines = -(-len(words) // _COLUMNS)
    rows = [
        "  ".join(f"{at + 1:3d} {words[at]:<12}" for at in range(line, len(words), lines)).rstrip()
        for line in range(lines)
    ]
    return "\n".join([*_head(card), "", *rows, "", ""])


def _head(card: ShareCard) -> list[str]:
    group, holder = card.group, f"{card.display} ({card.holder})"
    return [
        _("Share card: {site}, {secret}, generation {generation}, split {split}").format(
            site=card.site, secret=card.secret, generation=card.generation, split=card.split
        ),
        _("Group {group}: share {index} of {count}, {threshold} needed. Holder: {holder}").format(
            group=group.name, index=card.index, count=group.count, threshold=group.threshold,
            holder=holder,
        ),
        _("Fingerprint: {fingerprint}").format(fingerprint=card.fingerprint),
    ]  # fmt: skip


def _is_device(place: Path) -> bool:
    try:
        mode = place.stat().st_mode
    except FileNotFoundError:
        raise ConfigurationError(f"{place} does not exist") from None
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def _write_private(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def _wipe(path: Path, size: int) -> None:
    """Overwrite a card and remove it; its holder may have moved it away."""
    try:
        with path.open("r+b") as file:
            file.write(bytes(size))
            os.fsync(file.fileno())
        path.unlink()
    except FileNotFoundError:
        return

"""Hears from kms what waits for the appliance, in a thread of its own: orders, and seals.

It long-polls; while kms does not answer it asks again, ever more slowly, and says so once.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from kms.errors import ConclaveError, Sealed
from kms.wire.disks import Orders

_LOG = logging.getLogger(__name__)
WAIT_SECONDS = 20
"""How long one question waits for a change."""
_PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class BoxSealed:
    """The whole box is sealed: kms answers nothing else."""


@dataclass(frozen=True, slots=True)
class Unheard:
    """Kms does not answer; ``why`` is its error's code."""

    why: str


News = Orders | BoxSealed | Unheard


class Desk(Protocol):
    """Where orders are taken from: the typed client."""

    def take_orders(self, version: int, wait: int) -> Orders:
        """Return what waits once it is another than ``version``; raise ConclaveError."""
        ...


class OrderWatch:
    """Asks until it is stopped; ``tell`` gets every answer and every change of silence."""

    def __init__(self, desk: Desk, tell: Callable[[News], None]) -> None:
        self._desk, self._tell = desk, tell
        self._stop = threading.Event()
        self._failures = 0
        self._version = 0
        self._thread = threading.Thread(target=self._run, name="orders", daemon=True)

    def start(self) -> None:
        """Begin asking."""
        self._thread.start()

    def alive(self) -> bool:
        """Whether it asks."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Ask no more; a question that waits is left to itself."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            news, pause = self._ask()
            if news is not None and not self._stop.is_set():
                self._tell(news)
            self._stop.wait(pause)

    def _ask(self) -> tuple[News | None, float]:
        """Return what is new, if anything is, and how long to pause."""
        try:
            orders = self._desk.take_orders(self._version, WAIT_SECONDS)
        except Sealed:
            self._version = 0
            return BoxSealed(), _PAUSES[2]
        except ConclaveError as error:
            return self._missed(error)
        again, self._failures = self._failures > 0, 0
        changed, self._version = orders.version != self._version, orders.version
        return (orders if changed or again else None), 0.0

    def _missed(self, error: ConclaveError) -> tuple[News | None, float]:
        self._version = 0
        self._failures += 1
        pause = _PAUSES[min(self._failures, len(_PAUSES)) - 1]
        if self._failures > 1:
            return None, pause
        _LOG.warning("kms does not tell what waits: %s %s", error.message, error.hint)
        return Unheard(error.code), pause

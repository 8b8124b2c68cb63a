"""Blocking work of a channel, in a thread of its own: at most one, which keeps no process alive.

Whoever waits may give up. A thread that hangs then goes on, and until it ends nothing else begins.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from kms.usecases.watch.channel import DeliveryError

_T = TypeVar("_T")


class OneThread:
    """Runs one piece of work at a time."""

    def __init__(self) -> None:
        self._busy = threading.Lock()

    async def run(self, work: Callable[[], _T]) -> _T:
        """Return what the work returns, raise what it raises; DeliveryError while another one
        hangs.
        """
        if not self._busy.acquire(blocking=False):
            raise DeliveryError("the try before this one still hangs")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[_T] = loop.create_future()

        def settle(result: _T | None, error: BaseException | None) -> None:
            if done.cancelled():
                return
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(result)  # type: ignore[arg-type] # without an error it is there

        def body() -> None:
            result, failure = None, None
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 -- raised where it is awaited
                failure = error
            self._busy.release()
            with suppress(RuntimeError):  # nobody waits any more: the loop is closed
                loop.call_soon_threadsafe(settle, result, failure)

        try:
            threading.Thread(target=body, daemon=True).start()
        except RuntimeError as error:
            self._busy.release()
            raise DeliveryError("no thread can be started") from error
        return await done

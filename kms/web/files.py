"""Files that the board hands out: always to be saved, never shown by the browser."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import BinaryIO

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

_PART = 1 << 20
_PATIENCE_SECONDS, _SLOWEST = 60.0, 1 << 20
"""So long a big file may take on its way, and a second more for so many bytes: then what keeps it
is free again, whoever reads.
"""


def attachment(data: bytes, name: str, media_type: str) -> Response:
    """Return a file to be saved under ``name``, which is plain ASCII without quotes."""
    return Response(data, 200, _to_save(name), media_type)


class BigFile(StreamingResponse):
    """A file to be saved under ``name``, read part by part in a thread; ``kept`` is closed at the
    end, also when nobody reads on.
    """

    def __init__(self, file: BinaryIO, name: str, media_type: str, kept: AsyncExitStack) -> None:
        size = os.fstat(file.fileno()).st_size
        headers = _to_save(name) | {"content-length": str(size)}
        super().__init__(_parts(file), 200, headers, media_type)
        self._kept, self._most = kept, _PATIENCE_SECONDS + size / _SLOWEST

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        async with self._kept, asyncio.timeout(self._most):
            await super().__call__(scope, receive, send)


def _parts(file: BinaryIO) -> Iterator[bytes]:
    while part := file.read(_PART):
        yield part


def _to_save(name: str) -> dict[str, str]:
    return {"content-disposition": f'attachment; filename="{name}"'}

"""Calls that every token's worker answers, over one connection that is made when needed.

What the worker refused comes back as the error it named, all else as HsmUnavailable. Long lists of
rows are cut into several requests.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from kms import errors
from kms.domain.rows import Row, SealedRow
from kms.errors import ConclaveError, HsmUnavailable
from kms.hsm.link import Link, Meter
from kms.hsm.messages import (
    Answer,
    CheckRows,
    Command,
    Describe,
    Described,
    Done,
    Failed,
    RowsSealed,
    SealApproved,
    SealRows,
)
from kms.ports import Approved, Load, ResealItem, TokenInfo

_ROWS_PER_REQUEST = 256
_BYTES_PER_REQUEST = 1 << 20
_A = TypeVar("_A", bound=Answer)
_R = TypeVar("_R", Row, SealedRow, ResealItem)

_ERRORS: dict[str, type[ConclaveError]] = {
    value.code: value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, ConclaveError)
}


class Worker:
    """Calls to one token's worker. Connects when needed; use it from one event loop."""

    def __init__(self, path: Path, deadline: float) -> None:
        self._path = path
        self._deadline = deadline
        self._link: Link | None = None
        self._connecting = asyncio.Lock()
        self._meter = Meter()

    async def seal_rows(self, rows: Sequence[Row]) -> list[SealedRow]:
        """Return the rows with their MACs."""
        sealed: list[SealedRow] = []
        for part in parts(rows):
            sealed.extend((await self._ask(SealRows(part), RowsSealed)).rows)
        return sealed

    async def seal_approved(self, approved: Approved) -> list[SealedRow]:
        """Return the request's row and the rows that it permits, with their MACs."""
        sealed: list[SealedRow] = []
        for part in parts(approved.rows) if approved.rows else ((),):
            command = SealApproved(replace(approved, rows=part))
            answer = await self._ask(command, RowsSealed)
            sealed.extend(answer.rows[1:] if sealed else answer.rows)
        return sealed

    async def check_rows(self, rows: Sequence[SealedRow]) -> None:
        """Raise IntegrityFailure unless every MAC holds; without rows the worker is asked too."""
        for part in parts(rows) if rows else ((),):
            await self._ask(CheckRows(part), Done)

    async def info(self) -> TokenInfo:
        """Describe the token."""
        return (await self._ask(Describe(), Described)).info

    def load(self) -> Load:
        """Return what was asked of the token; call it on the event loop."""
        return self._meter.load(asyncio.get_running_loop().time())

    async def close(self) -> None:
        """Close the connection."""
        if self._link:
            self._link.fail("the connection to the HSM worker was closed")

    async def _ask(self, command: Command, expected: type[_A]) -> _A:
        """Send one request and return its answer; raise what the worker named."""
        link = self._link
        if link is None or not link.usable:
            link = await self._connect()
        answer = await link.send(command)
        if isinstance(answer, Failed):
            raise _ERRORS.get(answer.code, HsmUnavailable)(answer.message, hint=answer.hint)
        if not isinstance(answer, expected):
            link.fail("the HSM worker gave an answer of another kind")
            raise HsmUnavailable("the HSM worker gave an answer of another kind")
        return answer

    async def _connect(self) -> Link:
        async with self._connecting:
            if self._link is not None and self._link.usable:
                return self._link
            loop = asyncio.get_running_loop()
            try:
                async with asyncio.timeout(self._deadline):
                    _, self._link = await loop.create_unix_connection(
                        lambda: Link(self._deadline, self._meter), str(self._path)
                    )
            except (OSError, TimeoutError) as error:
                raise HsmUnavailable(
                    "the HSM worker is not there", hint="it is restarted by itself; try again"
                ) from error
            return self._link


def parts(rows: Iterable[_R]) -> Iterator[tuple[_R, ...]]:
    """Cut rows into requests that neither overflow a frame nor hold up a mint for long."""
    part: list[_R] = []
    size = 0
    for item in rows:
        length = _length(item)
        if part and (len(part) == _ROWS_PER_REQUEST or size + length > _BYTES_PER_REQUEST):
            yield tuple(part)
            part, size = [], 0
        part.append(item)
        size += length
    if part:
        yield tuple(part)


def _length(item: Row | SealedRow | ResealItem) -> int:
    match item:
        case ResealItem():
            return len(item.epoch.row.body) + len(item.blob)
        case SealedRow():
            return len(item.row.body)
        case Row():
            return len(item.body)

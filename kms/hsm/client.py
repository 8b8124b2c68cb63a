"""The web process's side of the channel: typed calls over one pipelined connection per worker.

Every failure of connection, frame or deadline is HsmUnavailable; what the worker refused comes
back as the error it named. Nothing is ever sent twice.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TypeVar, cast

from kms import errors
from kms.domain.ids import SpaceName
from kms.domain.rows import Row, SealedRow
from kms.errors import ConclaveError, HsmUnavailable, InvalidInput, NotFound
from kms.hsm.channel import Frames, encode
from kms.hsm.disk_messages import (
    CertifyErasure,
    DiskReleased,
    DropKeks,
    EraseDisk,
    ReleaseDisk,
    advance,
)
from kms.hsm.messages import (
    Answer,
    Certified,
    Certify,
    CheckpointSigned,
    CheckRows,
    Command,
    Describe,
    Described,
    Done,
    Failed,
    LastCheckpoint,
    Mint,
    MintDone,
    ReportSigned,
    Request,
    Reseal,
    ResealDone,
    Response,
    RetireVault,
    RowsSealed,
    SealApproved,
    SealRows,
    SignCheckpoint,
    SignReport,
    TreeHead,
)
from kms.ports import (
    Approved,
    CertifyErasureOrder,
    CertifyOrder,
    DiskStep,
    EraseOrder,
    Load,
    Minted,
    MintOrder,
    ReportOrder,
    Resealed,
    ResealItem,
    RetireOrder,
    RowKeeper,
    SiteHsm,
    SpaceHsm,
    TokenInfo,
)
from kms.settings import Settings

_ROWS_PER_REQUEST = 256
_BYTES_PER_REQUEST = 1 << 20
_A = TypeVar("_A", bound=Answer)
_R = TypeVar("_R", Row, SealedRow, ResealItem)

_ERRORS: dict[str, type[ConclaveError]] = {
    value.code: value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, ConclaveError)
}


class _Meter:
    """Counts requests, and for how long at least one waits for its answer (loop's seconds)."""

    def __init__(self) -> None:
        self._requests, self._busy = 0, 0.0
        self._since: float | None = None

    def ask(self, now: float) -> None:
        """Count a request."""
        self._requests += 1
        if self._since is None:
            self._since = now

    def rest(self, now: float) -> None:
        """Note that nothing waits any more."""
        if self._since is not None:
            self._busy += now - self._since
            self._since = None

    def load(self, now: float) -> Load:
        """Return what was counted up to now."""
        waiting = now - self._since if self._since is not None else 0.0
        return Load(self._requests, self._busy + waiting)


class _Link(asyncio.Protocol):
    """One connection: answers come in the order of requests.

    When the oldest request has waited for ``deadline`` seconds the worker hangs: the link breaks.
    """

    def __init__(self, deadline: float, meter: "_Meter") -> None:
        self._loop = asyncio.get_running_loop()
        self._meter = meter
        self._deadline = deadline
        self._frames = Frames(Response)
        self._waiting: deque[tuple[int, float, asyncio.Future[Answer]]] = deque()
        self._next_id = 0
        self._transport: asyncio.Transport | None = None
        self._unsent: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._failure = "the connection to the HSM worker was lost"

    @property
    def usable(self) -> bool:
        """Whether requests can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start (asyncio)."""
        # uvloop's transports are not asyncio's, but do what they do.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand answers to those who wait (asyncio)."""
        try:
            for response in self._frames.feed(data):
                self._deliver(response)
        except InvalidInput as error:
            self.fail(f"the HSM worker's answer is unreadable: {error.message}")

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail everything that waits (asyncio)."""
        del exc
        self._transport = None
        self._meter.rest(self._loop.time())
        if self._timer:
            self._timer.cancel()
        while self._waiting:
            _, _, future = self._waiting.popleft()
            if not future.done():
                future.set_exception(HsmUnavailable(self._failure))

    def send(self, command: Command) -> asyncio.Future[Answer]:
        """Send a request; the future fails with HsmUnavailable only."""
        frame = encode(Request(self._next_id, command))
        future: asyncio.Future[Answer] = self._loop.create_future()
        if self._transport is None:
            raise HsmUnavailable(self._failure)
        now = self._loop.time()
        due = now + self._deadline
        self._meter.ask(now)
        self._waiting.append((self._next_id, due, future))
        self._next_id += 1
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._check_deadline)
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(frame)
        return future

    def _flush(self) -> None:
        """Send the requests of one turn of the event loop together: the worker is woken once."""
        if self._transport is not None:
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def fail(self, message: str) -> None:
        """Break the connection; whoever waits gets HsmUnavailable."""
        self._failure = message
        if self._transport:
            self._transport.abort()

    def _deliver(self, response: Response) -> None:
        if not self._waiting or self._waiting[0][0] != response.id:
            raise InvalidInput("it answers nothing that was asked")
        _, _, future = self._waiting.popleft()
        if not self._waiting:
            self._meter.rest(self._loop.time())
        if not future.done():  # the caller may have given up
            future.set_result(response.answer)

    def _check_deadline(self) -> None:
        self._timer = None
        if not self._waiting:
            return
        due = self._waiting[0][1]
        if due <= self._loop.time():
            self.fail("the HSM worker did not answer in time")
        else:
            self._timer = self._loop.call_at(due, self._check_deadline)


class Worker:
    """Calls to one token's worker. Connects when needed; use it from one event loop."""

    def __init__(self, path: Path, deadline: float) -> None:
        self._path = path
        self._deadline = deadline
        self._link: _Link | None = None
        self._connecting = asyncio.Lock()
        self._meter = _Meter()

    async def seal_rows(self, rows: Sequence[Row]) -> list[SealedRow]:
        """Return the rows with their MACs."""
        sealed: list[SealedRow] = []
        for part in _parts(rows):
            sealed.extend((await self._ask(SealRows(part), RowsSealed)).rows)
        return sealed

    async def seal_approved(self, approved: Approved) -> list[SealedRow]:
        """Return the request's row and the rows that it permits, with their MACs."""
        sealed: list[SealedRow] = []
        for part in _parts(approved.rows) if approved.rows else ((),):
            command = SealApproved(replace(approved, rows=part))
            answer = await self._ask(command, RowsSealed)
            sealed.extend(answer.rows[1:] if sealed else answer.rows)
        return sealed

    async def check_rows(self, rows: Sequence[SealedRow]) -> None:
        """Raise IntegrityFailure unless every MAC holds; without rows the worker is asked too."""
        for part in _parts(rows) if rows else ((),):
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

    async def _connect(self) -> _Link:
        async with self._connecting:
            if self._link is not None and self._link.usable:
                return self._link
            loop = asyncio.get_running_loop()
            try:
                async with asyncio.timeout(self._deadline):
                    _, self._link = await loop.create_unix_connection(
                        lambda: _Link(self._deadline, self._meter), str(self._path)
                    )
            except (OSError, TimeoutError) as error:
                raise HsmUnavailable(
                    "the HSM worker is not there", hint="it is restarted by itself; try again"
                ) from error
            return self._link


class SpaceWorker(Worker):
    """A space's token (ports.SpaceHsm)."""

    async def mint(self, order: MintOrder) -> Minted:
        """Mint one epoch; never sent twice."""
        return (await self._ask(Mint(order), MintDone)).minted

    async def reseal(self, items: Sequence[ResealItem], now: int) -> Resealed:
        """Wrap epochs' keys to the newest vault key."""
        done = [(await self._ask(Reseal(one, now), ResealDone)).resealed for one in _parts(items)]
        envelopes = chain.from_iterable(part.envelopes for part in done)
        return Resealed(tuple(envelopes), tuple(chain.from_iterable(part.rows for part in done)))

    async def retire_vault(self, order: RetireOrder) -> None:
        """Destroy an older vault key pair."""
        await self._ask(RetireVault(order), Done)

    async def advance_disk(self, disk: SealedRow, step: DiskStep, now: int) -> SealedRow:
        """Return the disk's next row."""
        (row,) = (await self._ask(advance(disk, step, now), RowsSealed)).rows
        return row

    async def open_disk(self, disk: SealedRow, nonce: bytes) -> str:
        """Return the signed release of the disk's keys."""
        return (await self._ask(ReleaseDisk(disk, nonce), DiskReleased)).release

    async def drop_keks(self, disk: SealedRow) -> None:
        """Destroy the disk's older KEKs."""
        await self._ask(DropKeks(disk), Done)

    async def erase_disk(self, order: EraseOrder) -> None:
        """Destroy every KEK of a disk."""
        await self._ask(EraseDisk(order), Done)

    async def certify_erasure(self, order: CertifyErasureOrder) -> str:
        """Return the signed certificate of erasure."""
        return (await self._ask(CertifyErasure(order), Certified)).certificate

    async def certify(self, order: CertifyOrder) -> str:
        """Return the signed destruction certificate."""
        return (await self._ask(Certify(order), Certified)).certificate


class SiteWorker(Worker):
    """The site's token (ports.SiteHsm)."""

    async def sign_checkpoint(self, size: int, root: bytes, proof: Sequence[bytes]) -> str:
        """Return the signed note of a head that extends the last."""
        command = SignCheckpoint(size, root, tuple(proof))
        return (await self._ask(command, CheckpointSigned)).note

    async def last_checkpoint(self) -> tuple[int, bytes]:
        """Return size and root of the last head signed."""
        head = await self._ask(LastCheckpoint(), TreeHead)
        return head.size, head.root

    async def sign_report(self, order: ReportOrder) -> str:
        """Return the signed statement about a report."""
        return (await self._ask(SignReport(order), ReportSigned)).statement


class Workers:
    """Every worker of a configuration (ports.WorkerDirectory)."""

    def __init__(self, settings: Settings) -> None:
        deadline = settings.hsm.deadline_seconds
        socket = settings.paths.worker_socket
        self._site = SiteWorker(socket(settings.site_token.label), deadline)
        self._spaces = {
            SpaceName(token.space): SpaceWorker(socket(token.label), deadline)
            for token in settings.space_tokens
        }
        labels = [settings.site_token.label, *(token.label for token in settings.space_tokens)]
        self._by_label = dict(zip(labels, (self._site, *self._spaces.values()), strict=True))

    def space(self, space: SpaceName) -> SpaceHsm:
        """Return a space's HSM; raise NotFound."""
        try:
            return self._spaces[space]
        except KeyError:
            raise NotFound("there is no such space") from None

    @property
    def site(self) -> SiteHsm:
        """The site's HSM."""
        return self._site

    def all(self) -> Iterator[RowKeeper]:
        """Return every worker, the site's first."""
        return iter((self._site, *self._spaces.values()))

    def loads(self) -> dict[str, Load]:
        """Return the load of each token by its label; call it on the event loop."""
        return {label: worker.load() for label, worker in self._by_label.items()}

    async def close(self) -> None:
        """Close all connections."""
        for worker in (self._site, *self._spaces.values()):
            await worker.close()


def _parts(rows: Iterable[_R]) -> Iterator[tuple[_R, ...]]:
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

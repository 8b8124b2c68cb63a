"""Making a report: evidence up to a checkpoint into a bundle, figures from the bundle, a statement
by the site's token about both, then the leaf. The heavy part runs in a thread of its own.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from uuid_utils import uuid7

from kms.audit.gathering import gather
from kms.audit.leaf import Outcome, Phase, decode_leaf, seconds
from kms.domain.reports import Period, file_name, period_of
from kms.errors import IntegrityFailure, StateNotAllowed, Unavailable
from kms.policy.authorizer import Target
from kms.ports import ReportOrder, Unit
from kms.reports.content import FORMAT, Content, encode, judge, masked, work_out
from kms.statements.canonical import b64u, digest
from kms.statements.report import ReportStatement
from kms.usecases.reports.folder import (
    BUNDLE,
    FULL,
    MASKED,
    STATEMENT,
    Kept,
    ReportFolder,
    file_digest,
)
from kms.usecases.services import Call, Services, authorize, uninterrupted
from kms.usecases.stored_evidence import StoredEvidence

Progress = Callable[[int], None]
"""Hears how many leaves are gathered, and then how many figures are worked out; in a thread."""

_MAKE = "report.make"
_LOOK_SECONDS = 0.2
_TRIES = 3
"""How often a statement is asked for: a checkpoint that is signed meanwhile makes its proof old."""


def folder_of(services: Services) -> ReportFolder:
    """Return where the site's reports lie."""
    return ReportFolder(services.settings.paths.state, services.key_list)


def period_named(services: Services, name: str) -> Period:
    """Return a period by its name, in the site's own time; raise InvalidInput."""
    offset = services.settings.site.utc_offset_minutes
    return period_of(name, services.seconds(), offset)


def log_began(services: Services) -> int:
    """Return when the log began (whole seconds); now while it has no leaf."""
    first = services.store.leaves(0, 1)
    return seconds(decode_leaf(first[0]).time) if first else services.seconds()


def name_of(services: Services, told: ReportStatement) -> str:
    """Return how a report's files are named (domain.reports.file_name)."""
    offset = services.settings.site.utc_offset_minutes
    return file_name(told.report, Period(told.since, told.until), offset)


async def make_report(
    services: Services, call: Call, period: Period, progress: Progress | None = None
) -> Kept:
    """Return the report of a period, as ``keep_report``, if the caller may; raise Forbidden."""
    await authorize(services, call, Target(), "reports")
    return await keep_report(services, call, period, progress)


@uninterrupted
async def keep_report(
    services: Services, call: Call, period: Period, progress: Progress | None = None
) -> Kept:
    """Return the report of a period: the one that is there, or else a new one.

    Raise StateNotAllowed if the log begins later, Unavailable while its end is not signed,
    StoreUnavailable, HsmUnavailable; then there is none.
    """
    _check_begun(services, period)
    async with services.locks.of("reports"):
        folder = folder_of(services)
        there = await asyncio.to_thread(_find, folder, period)
        if there is not None:
            return there
        await _signed_until(services, period)
        report = str(uuid7())
        path = folder.draft(report)
        try:
            files = await _make(services, call, _Making(report, period, path), progress or _silent)
            kept = await asyncio.to_thread(folder.finish, report, files)
            leaf = call.leaf(
                "", f"reports/{report}", Phase.EVENT, Outcome.SUCCEEDED, action=_MAKE,
                details=_told(kept),
            )  # fmt: skip
            await services.store.commit(Unit(leaves=(leaf,)))
            folder.keep(report)
        finally:
            folder.drop(report)
        return folder.find(report)


@dataclass(frozen=True, slots=True)
class _Making:
    report: str
    period: Period
    path: Path


async def _make(
    services: Services, call: Call, making: _Making, progress: Progress
) -> dict[str, bytes]:
    """Return the files that go with the bundle."""
    maker = call.principal.name
    content = await asyncio.to_thread(_put_together, services, maker, making, progress)
    shown = masked(content)
    order = ReportOrder(
        report=making.report,
        since=making.period.since,
        until=making.period.until,
        size=content.size,
        root=services.store.root(content.size),
        proof=(),
        bundle=content.bundle,
        figures=digest(encode(shown)),
        actor=maker,
        full=digest(encode(content)),
    )
    token = await signed(services, order)
    return {FULL: encode(content), MASKED: encode(shown), STATEMENT: token.encode() + b"\n"}


def _put_together(services: Services, maker: str, making: _Making, progress: Progress) -> Content:
    """Return the report, its bundle written; in a thread of its own."""
    stored, bundle = StoredEvidence(services.settings, services.store), making.path / BUNDLE
    held = gather(stored, stored.space_names(), services.key_list, bundle, progress)
    size = int(held["leaves"])
    offset = services.settings.site.utc_offset_minutes
    found = work_out(bundle, making.period, offset, progress)
    return Content(
        format=FORMAT,
        site=services.settings.site.id,
        report=making.report,
        maker=maker,
        since=making.period.since,
        until=making.period.until,
        made=services.seconds(),
        offset=offset,
        size=size,
        root=b64u(services.store.root(size)),
        bundle=file_digest(bundle),
        masked=False,
        figures=found,
        clauses=judge(found),
    )


async def signed(services: Services, order: ReportOrder) -> str:
    """Return the statement about a report (JWS); ``order`` lacks its proof. Raise HsmUnavailable,
    IntegrityFailure.
    """
    for _ in range(_TRIES - 1):
        with suppress(IntegrityFailure):
            return await _sign(services, order)
    return await _sign(services, order)


async def _sign(services: Services, order: ReportOrder) -> str:
    proof = await _proof(services, order.size)
    return await services.workers.site.sign_report(replace(order, proof=proof))


async def _proof(services: Services, size: int) -> tuple[bytes, ...]:
    """Return the proof that the last head on the token extends the first ``size`` leaves."""
    last, _ = await services.workers.site.last_checkpoint()
    if not size <= last <= services.store.tree_size():
        raise IntegrityFailure("the log is not the one that was last signed")
    return tuple(services.store.consistency_proof(size, last))


def _find(folder: ReportFolder, period: Period) -> Kept | None:
    """Return the report of exactly that period."""
    wanted = (period.since, period.until)
    return next((one for one in folder.all() if (one.told.since, one.told.until) == wanted), None)


def _check_begun(services: Services, period: Period) -> None:
    first = services.store.leaves(0, 1)
    if not first or decode_leaf(first[0]).time >= period.bounds[1]:
        raise StateNotAllowed(
            "the log begins after that period", hint="such as this-month or this-quarter"
        )


async def _signed_until(services: Services, period: Period) -> None:
    """Return once a checkpoint covers every leaf of the period; raise Unavailable if none does in
    time.
    """
    audit = services.settings.audit
    for _ in range(int((audit.checkpoint_seconds + audit.grace_seconds) / _LOOK_SECONDS)):
        found = services.store.last_checkpoint()
        if found is not None:
            behind = services.store.leaves(found[0], 1)
            if not behind or decode_leaf(behind[0]).time >= period.bounds[1]:
                return
        await asyncio.sleep(_LOOK_SECONDS)
    raise Unavailable(
        "the end of the log is not signed yet", hint="see the site HSM's health and try again"
    )


def _told(kept: Kept) -> dict[str, str | int]:
    told = kept.told
    return {
        "report": told.report,
        "since": told.since,
        "until": told.until,
        "size": told.size,
        "bundle": told.bundle,
        "figures": told.figures,
        "full": told.full,
        "statement": digest(kept.token.encode()),
    }


def _silent(_count: int) -> None:
    """Hear nothing."""

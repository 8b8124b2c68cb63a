"""The log and what proves it, in one bundle: what ``conclave audit export`` asks for page by page,
gathered from the store in a thread, and handed out as a file that nobody finds by a name.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, BinaryIO

from kms.audit.gathering import gather
from kms.audit.leaf import Outcome, Phase
from kms.domain.ids import SpaceName
from kms.errors import ConclaveError, StoreUnavailable, Unavailable
from kms.policy.authorizer import Target
from kms.ports import Unit
from kms.usecases.evidence import executed_requests, manifests, registers
from kms.usecases.queries import list_spaces
from kms.usecases.reports.folder import file_digest
from kms.usecases.services import Call, Services, authorize
from kms.usecases.stored_evidence import StoredEvidence

_FOLDER = "evidence-draft"


@asynccontextmanager
async def evidence_of_log(services: Services, call: Call) -> AsyncIterator[BinaryIO]:
    """Yield the evidence up to the newest checkpoint, as an open file that is gone once it is
    closed: every leaf, and the manifests of the spaces that the caller reaches. One at a time; no
    name in it is masked.

    The log tells of it before anything leaves. Raise Forbidden, NotFound before the first
    checkpoint, Unavailable while another is taken, StoreUnavailable.
    """
    spaces = await _permitted(services, call)
    lock = services.locks.of("log evidence")
    if lock.locked():
        raise Unavailable(
            "somebody is taking the evidence bundle now", hint="try again in a moment"
        )
    async with lock:
        file, told = await _in_thread(services, spaces)
        with file:
            leaf = call.leaf(
                "", "audit", Phase.EVENT, Outcome.SUCCEEDED, action="audit.evidence", details=told
            )
            await services.store.commit(Unit(leaves=(leaf,)))
            yield file


async def _permitted(services: Services, call: Call) -> list[SpaceName]:
    """Ask the policies for everything that the bundle has in it; return the spaces."""
    for operation in ("audit.checkpoints", "audit.leaves"):
        await authorize(services, replace(call, operation=operation), Target(), "audit")
    await executed_requests(services, replace(call, operation="audit.requests"), "", 1)
    await registers(services, replace(call, operation="audit.registers"))
    found = await list_spaces(services, replace(call, operation="space.list"))
    for one in found:
        asked = replace(call, operation="audit.manifests")
        await manifests(services, asked, one.space, ("", -1), 1)
    return [one.space for one in found]


async def _in_thread(
    services: Services, spaces: Sequence[SpaceName]
) -> tuple[BinaryIO, dict[str, Any]]:
    """Do as ``_gathered``; whoever gives up waits for the thread, so that none goes on unseen."""
    work = asyncio.ensure_future(asyncio.to_thread(_gathered, services, spaces))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        with suppress(ConclaveError):
            (await work)[0].close()
        raise


def _gathered(services: Services, spaces: Sequence[SpaceName]) -> tuple[BinaryIO, dict[str, Any]]:
    """Write the bundle, and take its name away; return it with what the log is to tell of it. What
    a crash left is removed first.
    """
    stored = StoredEvidence(services.settings, services.store)
    folder = services.settings.paths.state / _FOLDER
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        path = folder / "evidence.db"
        held = gather(stored, spaces, services.key_list, path, lambda _leaves: None)
        told = {"size": int(held["leaves"]), "bundle": file_digest(path)}
        return path.open("rb"), told
    except OSError as error:
        raise StoreUnavailable("the evidence bundle cannot be written") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)

"""What a sealed start leaves in the log: that the box is sealed, if only the marker says so.

Needs neither HSM nor PIN. Until the log has it, deleting one file would unseal the box.
"""

import asyncio
import logging
from contextlib import closing

from kms.bootstrap.clock import SystemClock
from kms.bootstrap.seal_marks import SealMarks
from kms.errors import ConclaveError, StoreUnavailable
from kms.settings import Settings
from kms.statements.sealing import BOX
from kms.store.sqlite import SqliteStore
from kms.usecases.seals import log_marked_site

_LOG = logging.getLogger(__name__)
_RETRY_SECONDS = 5.0


async def log_sealed_site(settings: Settings) -> None:
    """Have the log say that the box is sealed; try until it does or the marker is gone, unless
    the log cannot be believed: then no start succeeds either.
    """
    marks = SealMarks(settings.paths)
    while True:
        try:
            if BOX in marks.sealed():
                await _write(settings, marks)
        except StoreUnavailable as error:
            _LOG.warning("that the box is sealed is not in the log yet: %s", error.message)
        except ConclaveError as error:
            _LOG.critical("the log cannot say that the box is sealed: %s", error.message)
            return
        else:
            return
        await asyncio.sleep(_RETRY_SECONDS)


async def _write(settings: Settings, marks: SealMarks) -> None:
    """Look at marker and log together: the store's lock keeps ceremonies out."""
    if not settings.paths.database.exists():
        raise StoreUnavailable(f"{settings.paths.database} is not there")
    with closing(SqliteStore.open(settings.paths.database, SystemClock())) as store:
        if BOX in marks.sealed():
            await log_marked_site(store, marks.read(BOX))

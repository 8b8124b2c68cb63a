"""The store of a service that does not answer, such as of a sealed box, opened to read evidence
under the lock of its writer.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from kms.bootstrap.clock import SystemClock
from kms.errors import ConfigurationError, StoreUnavailable
from kms.settings import Settings
from kms.store.sqlite import SqliteStore
from kms.usecases.stored_evidence import StoredEvidence


@contextmanager
def stored_evidence(settings: Settings) -> Iterator[StoredEvidence]:
    """Open the store for reading evidence; raise ConfigurationError if there is none,
    StoreUnavailable while a running service writes it, IntegrityFailure.
    """
    path = settings.paths.database
    if not path.exists():
        raise ConfigurationError(f"there is no database in {settings.paths.state}")
    try:
        store = SqliteStore.open(path, SystemClock())
    except StoreUnavailable as error:
        raise StoreUnavailable(
            error.message, hint="while the service runs, export without --offline"
        ) from error
    with closing(store):
        yield StoredEvidence(settings, store)

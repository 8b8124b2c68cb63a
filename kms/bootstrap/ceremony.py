"""The room of a ceremony: tokens, store and state directory of a site, in this one process.

The service stands still meanwhile, since a ceremony holds the writer's lock.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path

from kms.audit.leaf import Outcome
from kms.bootstrap.clock import SystemClock
from kms.bootstrap.files import StateFiles
from kms.bootstrap.own_leaves import OwnLeaves
from kms.bootstrap.records import StoreRecords
from kms.bootstrap.seal_marks import SealMarks
from kms.ceremonies.plan import Plan
from kms.ceremonies.ports import CeremonyToken, Entry, People, PinBox
from kms.ceremonies.record.folder import CEREMONIES
from kms.ceremonies.record.journal import Journal
from kms.ceremonies.room import Brief, Room, SiteBinding
from kms.ceremonies.steps.anchors import check_register, check_statements
from kms.errors import ConclaveError, NotFound, Sealed, StoreUnavailable
from kms.hsm.officer import OfficerToken
from kms.hsm.profile import load_profile
from kms.ports import Unit
from kms.settings import Settings
from kms.statements.sealing import BOX
from kms.store.lock import WriterBusy
from kms.store.sqlite import SqliteStore

IMAGE_MARK = Path("/etc/conclave/ceremony-image")
"""Lies on the offline ceremony image alone."""

_WITHOUT_HEAD = frozenset({"initialise-site", "restore-site"})
"""Ceremonies that begin without the token that remembers the log's head."""
_PERHAPS_WITHOUT = "recover"
"""The ceremony for which that token may be lost."""
_WHILE_SEALED = frozenset(
    {
        *("initialise-site", "unseal"),
        *("recover", "recover-disk", "restore-site"),
        *("revoke-recipient", "replace-officer", "retire-space", "destroy-space"),
    }
)
"""Ceremonies that are held while things are sealed: those that unseal, bring keys back from escrow,
or take trust away from what may be why it was sealed.
"""


def site_binding(settings: Settings) -> SiteBinding:
    """Return what the configuration says of the site."""
    return SiteBinding(
        site=settings.site.id,
        tokens={token.space: token.label for token in settings.hsm.tokens},
        epoch_seconds=settings.rotation.epoch_seconds,
        software_credentials=settings.ceremonies.software_credentials,
        offline_image=IMAGE_MARK.exists(),
        retention_seconds=settings.rotation.retention_seconds,
    )


@contextmanager
def ceremony_room(settings: Settings, brief: Brief, people: People, pins: PinBox) -> Iterator[Room]:
    """Yield the room in which a plan is held.

    Sets the environment of the PKCS#11 module in this process, so the module must not be loaded
    yet. Raise StoreUnavailable while the service runs, ProfileError, Sealed for a ceremony that
    has to wait for the unsealing, and IntegrityFailure if the
    log is not the one that the site's token signed last, or the state directory not the newest.
    """
    os.environ.update(settings.hsm.environment)
    profile = load_profile(settings.hsm.profile)

    @cache
    def token(label: str) -> CeremonyToken:
        return OfficerToken(profile, label, pins)

    with (
        closing(_open_store(settings)) as store,
        closing(StoreRecords(store, token, brief)) as records,
    ):
        room = Room(
            brief=brief,
            tokens=token,
            pins=pins,
            people=people,
            files=StateFiles(settings.paths.state),
            records=records,
            now=lambda: int(time.time()),
        )
        kind = brief.plan.file.ceremony
        lost = kind == _PERHAPS_WITHOUT and not token(brief.site.token()).exists()
        if kind in _WITHOUT_HEAD or lost:
            check_register(room, ahead=True)
        else:
            records.check_head()
            check_statements(room)
        marks = SealMarks(settings.paths)
        marks.settle()  # one in the run directory would outlive its unsealing
        _refuse_sealed(room, marks.sealed(), settings.paths.state)
        yield room


def _begun(folder: Path) -> bool:
    """Whether a ceremony has done anything yet; a dry run has not even been called."""
    try:
        return bool(Journal.open(folder).entries())
    except NotFound:
        return False


def _refuse_sealed(room: Room, marked: frozenset[str], state: Path) -> None:
    """Raise Sealed for a ceremony that would put a sealed box or space to use; one that has begun
    is brought to its end, or undone.
    """
    plan = room.brief.plan.file
    space = getattr(room.brief.parameters, "space", BOX)
    if plan.ceremony in _WHILE_SEALED or _begun(state / CEREMONIES / plan.id):
        return
    hint = "hold the ceremony unseal first"
    if BOX in marked or room.records.site_sealed():
        raise Sealed("the whole box is sealed", hint=hint)
    rows = (one for one in room.records.spaces() if one.space == space)
    if space in marked or any(one.sealed for one in rows):
        raise Sealed(f"the space {space} is sealed", hint=hint)


def log_refused_plan(settings: Settings, plan: Plan, error: ConclaveError) -> None:
    """Write, once, that a plan was refused and why; a site without a store has no log yet.

    Raise StoreUnavailable while the service runs.
    """
    if not settings.paths.database.exists():
        return
    told = {"ceremony": plan.file.id, "code": error.code, "reason": error.message}
    resource = f"{CEREMONIES}/{plan.file.id}"
    entry = Entry("ceremony.refused", "", resource, told, outcome=Outcome.REFUSED)
    with closing(_open_store(settings)) as store:
        own = OwnLeaves(store, plan)
        leaf = own.event(entry, {})
        if own.find(leaf) is None:
            asyncio.run(store.commit(Unit(leaves=(leaf,))))


def _open_store(settings: Settings) -> SqliteStore:
    settings.paths.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        return SqliteStore.open(settings.paths.database, SystemClock())
    except WriterBusy as error:
        raise StoreUnavailable(
            f"another process writes {settings.paths.database}: the service runs, or a ceremony",
            hint="stop the service first, and hold one ceremony at a time",
        ) from error

"""Rehearses a plan: the very same bytes, on a throwaway SoftHSM, at a stand-in of the site that is
made for it and deleted afterwards. The people's names are theirs, credentials and shares are not.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from kms.bootstrap.ceremony import site_binding
from kms.bootstrap.pins import MemoryPins
from kms.bootstrap.seal_marks import SealMarks
from kms.ceremonies.catalogue import read_brief
from kms.ceremonies.people.software import new_software_credential, open_software_credential
from kms.ceremonies.plan import Plan, parse_plan
from kms.ceremonies.room import Brief, SiteBinding
from kms.domain.models import ReleaseClass
from kms.domain.people import Credential, Person, Register
from kms.errors import StateNotAllowed
from kms.hardening import lies_in_memory
from kms.hsm.isolated import run_isolated
from kms.practice.ceremony import brief_of, hold
from kms.practice.files import replace as replace_file
from kms.practice.material import softhsm_config
from kms.practice.people import CardFolder, ScriptedPeople
from kms.practice.stand_in import StandIn
from kms.settings import Ceremonies, Hsm, Paths, Rotation, Settings, Site, Token
from kms.statements.canonical import canonical
from kms.statements.card import HeldCredential, make_card
from kms.statements.sealing import Mark

BANNER = "REHEARSAL / 预演"
_MEMORY = Path("/dev/shm")  # noqa: S108 -- a file system in memory, not a shared folder of ours
_FOUNDING = "initialise-site"
_UNSEALING = "unseal"
_OF_THIS_LOG = ("recover", "recover-disk", "restore-site")


@dataclass(frozen=True, slots=True)
class Original:
    """What is known of the site whose plan is rehearsed: its configuration, its register (None
    before the first), its spaces with their release classes, its escrow generation.
    """

    binding: SiteBinding
    register: Register | None
    spaces: Mapping[str, ReleaseClass]
    generation: int


def rehearse(plan: Plan, original: Original, profile: Path) -> bytes:
    """Return the signed transcript of the rehearsal; raise what the ceremony raises.

    Raise StateNotAllowed for kinds whose plans name what a stand-in does not have: a meeting, a
    disk, or the head of the log.
    """
    if plan.file.ceremony in _OF_THIS_LOG:
        raise StateNotAllowed(
            f"{plan.file.ceremony} cannot be rehearsed: a stand-in has neither this site's "
            "meetings and disks nor its log",
            hint="rehearse a drill of the same officers, and hold it at a practice site",
        )
    folder = Path(tempfile.mkdtemp(prefix="conclave-rehearsal-", dir=_memory()))
    try:
        stage = _Stage(folder, plan.raw, original, profile)
        stage.lay_out()
        return run_isolated(stage.environment, _perform, stage)
    finally:
        shutil.rmtree(folder)


def _memory() -> Path | None:
    usable = _MEMORY.is_dir() and lies_in_memory(_MEMORY)
    return _MEMORY if usable else None


@dataclass(frozen=True, slots=True)
class _Stage:
    """The folder of one rehearsal."""

    folder: Path
    raw: bytes
    original: Original
    profile: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"SOFTHSM2_CONF": str(self.folder / "softhsm2.conf")}

    @property
    def plan(self) -> Plan:
        return parse_plan(self.raw)

    @property
    def settings(self) -> Settings:
        tokens = self.original.binding.tokens
        return Settings(
            site=Site(id=self.original.binding.site, banner=BANNER),
            paths=Paths(state=self.folder / "state", run=self.folder / "run"),
            hsm=Hsm(
                profile=self.profile,
                tokens=tuple(Token(label=label, space=space) for space, label in tokens.items()),
                environment=self.environment,
            ),
            rotation=Rotation(epoch_seconds=self.original.binding.epoch_seconds),
            ceremonies=Ceremonies(software_credentials=True),
        )

    @property
    def people(self) -> ScriptedPeople:
        return ScriptedPeople(CardFolder(self.folder / "cards"))

    def lay_out(self) -> None:
        tokens = self.folder / "tokens"
        tokens.mkdir(mode=0o700)
        (self.folder / "softhsm2.conf").write_text(softhsm_config(BANNER, tokens), "utf-8")

    def credential(self, name: str) -> HeldCredential:
        """Return a person's stand-in credential, made when it is first wanted."""
        path = self.folder / f"{name}.key.pem"
        if path.exists():
            return open_software_credential(path, bytes)
        return new_software_credential(path, b"")

    def pins(self) -> MemoryPins:
        known = json.loads(self._pins.read_bytes()) if self._pins.exists() else {}
        return MemoryPins(self.original.binding.site, known, partial(self._keep, known))

    def _keep(self, known: Mapping[str, str], new: Mapping[str, str]) -> None:
        replace_file(self._pins, canonical({**known, **new}))

    @property
    def _pins(self) -> Path:
        return self.folder / "pins.json"


def _prepare(stage: _Stage) -> None:
    """Make the stand-in site as far as the plan needs it."""
    register = stage.original.register
    if register is None or stage.plan.file.ceremony == _FOUNDING:
        return
    names = [person.name for person in register.people if not person.removed]
    cards = {name: make_card(name, stage.credential(name)) for name in names}
    for text in _plans(stage, StandIn(register, cards, int(time.time()))):
        _hold(stage, brief_of(stage.settings, parse_plan(text.encode())))
    if stage.plan.file.ceremony == _UNSEALING:
        space = str(stage.plan.file.parameters.get("space"))
        SealMarks(stage.settings.paths).place(space, Mark(_UNSEALING, int(time.time()), BANNER))


def _plans(stage: _Stage, stand_in: StandIn) -> Iterator[str]:
    """Yield the plans of the ceremonies that the plan takes for granted."""
    file = stage.plan.file
    yield stand_in.found()
    for space, release_class in stage.original.spaces.items():
        yield stand_in.create(space, release_class)
    match file.ceremony:
        case "revoke-recipient":
            wanted = [str(file.parameters.get(name)) for name in ("space", "kind", "name")]
            yield stand_in.register_recipient(*wanted)
        case "destroy-space":
            yield stand_in.retire(str(file.parameters.get("space")))
        case "drill":
            for generation in range(2, stage.original.generation + 1):
                yield stand_in.renew(generation)


def _perform(stage: _Stage) -> bytes:
    _prepare(stage)
    plan, settings = stage.plan, stage.settings
    if plan.file.ceremony != _FOUNDING:
        return _hold(stage, brief_of(settings, plan)).read_bytes()
    brief = read_brief(plan, None, "", site_binding(settings))
    return _hold(stage, replace(brief, register=_stood_in(stage, brief.register))).read_bytes()


def _stood_in(stage: _Stage, register: Register) -> Register:
    """Return a founded register in which people sign with their stand-ins' credentials."""
    people = tuple(_with_key(person, stage.credential(person.name).credential)
                   for person in register.people)  # fmt: skip
    return replace(register, people=people)


def _with_key(person: Person, credential: Credential) -> Person:
    return replace(person, credentials=(credential,))


def _hold(stage: _Stage, brief: Brief) -> Path:
    credentials = {name: stage.credential(name) for name in brief.plan.file.roster}
    return hold(stage.settings, brief, stage.people, stage.pins(), credentials)

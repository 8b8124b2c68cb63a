"""Holds ceremonies with scripted people: everybody approves, acts and signs at once. The engine,
the room and the tokens are those of real ceremonies.
"""

import json
import time
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

from kms.bootstrap.ceremony import ceremony_room, site_binding
from kms.bootstrap.files import StateFiles
from kms.bootstrap.pins import MemoryPins
from kms.ceremonies.catalogue import ceremony_of, read_brief
from kms.ceremonies.people.software import open_software_credential
from kms.ceremonies.plan import Plan, parse_plan
from kms.ceremonies.ports import People, PinBox
from kms.ceremonies.record.folder import CEREMONIES, Folder
from kms.ceremonies.room import Brief
from kms.ceremonies.sitting import Sitting, sign_into
from kms.ceremonies.steps.state import current_register, register_of
from kms.errors import NotFound
from kms.practice.files import replace
from kms.practice.layout import PEOPLE, PracticeSite
from kms.practice.people import CardFolder, ScriptedPeople
from kms.settings import Settings, load
from kms.statements import archive
from kms.statements.canonical import canonical
from kms.statements.card import HeldCredential


def hold_plans(site: PracticeSite, config: Path) -> None:
    """Hold the ceremonies of all plans of a practice site, in order; the process then has the
    PKCS#11 module loaded. ``config`` is the site's configuration.
    """
    for path in sorted(site.plans.iterdir()):
        hold_plan(site, config, path, ScriptedPeople(CardFolder(site.shares)))


def hold_plan(site: PracticeSite, config: Path, plan: Path, people: People) -> Path:
    """Hold, or go on with, the ceremony of one plan of a practice site; return its transcript."""
    settings, read = load(config), parse_plan(plan.read_bytes())
    pins, credentials = practice_pins(site), practice_credentials(site)
    return hold(settings, brief_of(settings, read), people, pins, credentials)


def hold(
    settings: Settings,
    brief: Brief,
    people: People,
    pins: PinBox,
    credentials: Mapping[str, HeldCredential],
) -> Path:
    """Hold one ceremony from the call to the signed transcript; return its file.

    ``credentials`` are those of everybody on the roster, by name. Raise what the ceremony raises.
    """
    plan = brief.plan
    sitting = Sitting.open(settings.paths.state, ceremony_of(plan), brief, int(time.time()))
    approved = sitting.approvals(int(time.time())).accepted
    _sign(sitting, (one for one in plan.file.roster if one not in approved), credentials)
    with ceremony_room(settings, brief, people, pins) as room:
        sitting.hold(room)
    _sign(sitting, sitting.missing_signatures(), credentials)
    return sitting.finish()


def brief_of(settings: Settings, plan: Plan) -> Brief:
    """Return what a plan says about a site as it is now, or was when the ceremony was called;
    raise InvalidInput, VerificationFailed.
    """
    files, binding = StateFiles(settings.paths.state), site_binding(settings)
    if not archive.newest(files.names(), archive.REGISTER):
        return read_brief(plan, None, "", binding)
    try:
        wanted = Folder(settings.paths.state / CEREMONIES / plan.file.id).request().register
    except NotFound:
        return read_brief(plan, *current_register(files), binding)
    if not wanted:
        return read_brief(plan, None, "", binding)
    return read_brief(plan, *register_of(files, wanted), binding)


def practice_credentials(site: PracticeSite) -> dict[str, HeldCredential]:
    """Return the credentials of a practice site's people."""
    return {
        person.name: open_software_credential(site.person_key(person.name), bytes)
        for person in PEOPLE
    }


def practice_pins(site: PracticeSite) -> MemoryPins:
    """Return the PINs of a practice site; new ones are added to its PIN document."""
    known = json.loads(site.pins.read_bytes()) if site.pins.exists() else {}
    return MemoryPins(site.site_id, known, partial(_add_pins, site))


def _add_pins(site: PracticeSite, pins: Mapping[str, str]) -> None:
    known = json.loads(site.pins.read_bytes()) if site.pins.exists() else {}
    replace(site.pins, canonical({**known, **pins}))


def _sign(
    sitting: Sitting, people: Iterable[str], credentials: Mapping[str, HeldCredential]
) -> None:
    for name in people:
        held = credentials[name]
        sign_into(sitting.folder, name, held.credential.kid, held.signer, int(time.time()))

"""Officers are distrusted: a new generation of all shared secrets on a site with many epochs, held
at terminals by the handbook. What was minted before stays recoverable, by the new shares alone.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pkcs11 import ObjectClass

from kms.ceremonies.record.transcript import read_unverified
from kms.domain.models import ReleaseClass
from kms.errors import ConclaveError
from kms.hsm import templates
from kms.hsm.labels import Kind, numbered
from kms.hsm.profile import load_profile
from kms.hsm.publickeys import load_rsa
from kms.hsm.token import Token
from kms.practice import PracticeSite
from kms.practice.layout import PEOPLE
from kms.practice.site import PROFILE
from kms.statements.canonical import unb64u
from kms.wire.requests import RosterWish
from tests.fixtures.isolated import run_isolated
from tests.practice.service import Service, serving
from tests.scenarios.rooms import rooms
from tests.scenarios.terminals import Attendee, Cards, Hall

SERVERS = 4
SPACE = "treasury"


@dataclass
class Report:
    """What was seen. ``seconds`` is what the transcript says of the rewrapping."""

    epochs: int
    rewrapped: int
    seconds: float
    covered: int
    generations: list[int]
    old_key: dict[str, str]
    verified: str
    minted: str


def run(site: PracticeSite, epochs: int, folder: Path) -> Report:
    """Mint ``epochs`` epochs, distrust generation 1, and see what is left of it."""
    with serving(site) as service:
        mint(service, epochs)
        with service.console() as console:
            before = console.escrow().epochs
    old = json.loads((site.state / "escrow-1.json").read_text())["spki"]
    hall = hall_of(site)
    transcript = hall.hold(distrusting_plan(hall, folder))
    shown = hall.conclave("ceremony", "verify", transcript, "--site-root", site.site_root)
    facts = _rewrapping(transcript)
    with serving(site) as service:
        with service.console() as console:
            found = console.escrow()
        banking, _treasury = rooms(service)
        (wish, *_others) = banking.wishes()
        minted = wish.send().state
    return Report(
        epochs=before,
        rewrapped=sum(one["epochs"] for one in facts),
        seconds=sum(one["milliseconds"] for one in facts) / 1000,
        covered=found.covered,
        generations=[one.generation for one in found.generations if one.destroyed is None],
        old_key=run_isolated(site.environment, _wrap_to_old, site, old),
        verified=shown,
        minted=minted,
    )


def mint(service: Service, epochs: int) -> None:
    """Mint in several meetings at the same time."""
    share = epochs // SERVERS
    counts = [share] * (SERVERS - 1) + [epochs - share * (SERVERS - 1)]
    _banking, treasury = rooms(service)
    recipients = tuple(member.id for member in treasury.pool)

    def one(count: int) -> None:
        with service.server("ms-a") as client:
            view = client.open_meeting(SPACE, RosterWish(recipients=recipients))
            for _ in range(count - 1):
                client.rotate(SPACE, view.meeting, "suspicion")

    with ThreadPoolExecutor(SERVERS) as pool:
        list(pool.map(one, counts))


def hall_of(site: PracticeSite) -> Hall:
    """The people of a practice site at terminals, with the cards that they were given."""
    attendees = {one.name: Attendee(one.name, str(site.person_key(one.name))) for one in PEOPLE}
    words = {}
    for path in site.shares.glob("*.txt"):
        secret, generation, split, *group, index = path.stem.split("-")
        place = f"{'-'.join(group)}/{index}"
        words[secret, place, int(generation), int(split)] = path.read_text().split("\n")[-2]
    return Hall(site.config, attendees, json.loads(site.pins.read_text()), Cards(words))


def distrusting_plan(hall: Hall, folder: Path) -> Path:
    """The plan as ``plan new`` writes it; nobody leaves, the old cards are not trusted."""
    plan = folder / "distrust.toml"
    hall.conclave("ceremony", "plan", "new", "new-generation", "--out", plan)
    head = plan.read_text().partition("[parameters]\n")[0]
    plan.write_text(f'{head}[parameters]\nreason = "distrust"\nremove = []\nadd = []\n')
    return plan


def _rewrapping(transcript: Path) -> list[dict[str, int]]:
    payload = read_unverified(transcript.read_bytes())
    facts = [entry.facts for entry in payload.entries if hasattr(entry, "facts")]
    return [one for one in facts if "milliseconds" in one]


def _wrap_to_old(site: PracticeSite, spki: str) -> dict[str, str]:
    """Try to wrap a new epoch key to the old escrow key, as whoever holds a space's PIN could."""
    pins, told = json.loads(site.pins.read_text()), {}
    label = f"space-{SPACE}"
    with Token(load_profile(PROFILE), label, pins[label], writable=True) as token:
        try:
            token.find(ObjectClass.PUBLIC_KEY, numbered(Kind.ESCROW, 1))
        except ConclaveError as error:
            told["trusted by the token"] = error.message
        key = token.generate_secret(templates.epoch_key(ReleaseClass.TRUSTED))
        public = token.create(templates.device_public(load_rsa(unb64u(spki))))
        try:
            token.wrap(public, key)
        except ConclaveError as error:
            told["wrapped to as any key"] = error.message
    return told

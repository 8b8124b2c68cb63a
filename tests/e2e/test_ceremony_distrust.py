"""Officers are distrusted: a new generation of all shared secrets, held at terminals, on a site
with meetings. What was minted before stays recoverable, by the new shares alone.
"""

import json
from pathlib import Path

import pytest

from kms.practice import PracticeSite
from kms.practice.layout import PEOPLE
from kms.practice.people import read_share
from tests.practice.service import serving
from tests.scenarios.rooms import Room, rooms
from tests.scenarios.site import fresh_site
from tests.scenarios.terminals import Attendee, Cards, Hall

ROTATIONS = 3


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> PracticeSite:
    """A practice site on which some epochs were minted, and whose service was stopped."""
    site = fresh_site(tmp_path_factory.mktemp("distrust"))
    with serving(site) as service:
        for room in rooms(service):
            mint(room, "open")
            for _ in range(ROTATIONS):
                mint(room, "suspicion")
    return site


def mint(room: Room, kind: str) -> None:
    wish = next(one for one in room.wishes() if one.kind == kind)
    room.adopt(wish, wish.send())


@pytest.fixture(scope="module")
def hall(site: PracticeSite) -> Hall:
    attendees = {one.name: Attendee(one.name, str(site.person_key(one.name))) for one in PEOPLE}
    return Hall(site.config, attendees, json.loads(site.pins.read_text()), cards(site))


def cards(site: PracticeSite) -> Cards:
    """The cards that the site's officers were given when it was made."""
    words = {}
    for path in site.shares.glob("*.txt"):
        secret, generation, split, *group, index = path.stem.split("-")
        place = f"{'-'.join(group)}/{index}"
        words[secret, place, int(generation), int(split)] = read_share(path)
    return Cards(words)


def test_nothing_but_the_new_shares_opens_what_is_escrowed(
    site: PracticeSite, hall: Hall, tmp_path: Path
) -> None:
    plan = tmp_path / "distrust.toml"
    hall.conclave("ceremony", "plan", "new", "new-generation", "--out", plan)
    head = plan.read_text().partition("[parameters]\n")[0]
    plan.write_text(f'{head}[parameters]\nreason = "distrust"\nremove = []\nadd = []\n')
    transcript = hall.hold(plan)
    shown = hall.conclave("ceremony", "verify", transcript, "--site-root", site.site_root)
    assert "Conclusion: everything holds." in shown
    with serving(site) as service:
        with service.console() as console:
            found = console.escrow()
        assert found.covered == found.epochs == 2 * (1 + ROTATIONS)
        assert [one.generation for one in found.generations if one.destroyed is None] == [2]
        for room in rooms(service):
            mint(room, "open")

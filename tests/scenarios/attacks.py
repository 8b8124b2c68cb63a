"""Somebody with root and the user PIN attacks the vault envelope of a real meeting.

The attacker is a process of its own on the space's token, beside the worker that serves. The
envelope comes from the database, what it commits to from its manifest.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kms.domain.models import RecipientKind
from kms.hsm.login import Login
from kms.hsm.profile import load_profile
from kms.hsm.token import Token
from kms.statements.canonical import unb64u
from kms.wire.requests import RosterWish
from tests.fixtures.attacks import (
    OFFICERS_ONLY,
    POSSIBLE,
    REFUSED,
    Attack,
    Envelope,
    Target,
    attempt,
    control_target,
    real_target,
)
from tests.fixtures.escrow import so_pins
from tests.fixtures.isolated import run_isolated
from tests.practice.service import Service
from tests.scenarios import stored

SPACE, TOKEN = "treasury", "space-treasury"


@dataclass(frozen=True)
class Outcomes:
    """Which attempts reached their goal, by name: on the real envelope what the token should
    refuse, the same on controls that lack the protection, and what it lets pass."""

    refused: dict[str, bool]
    controls: dict[str, bool]
    possible: dict[str, bool]


def run(service: Service, directory: Path) -> Outcomes:
    """Attack epoch 0 of a meeting that was just opened; the vault is destroyed in the end."""
    envelope = vault_envelope(service, directory)
    profile, site = service.settings.hsm.profile, service.site
    pins = json.loads(site.pins.read_text())[TOKEN], so_pins(site)[TOKEN]
    return run_isolated(site.environment, _attack, profile, *pins, envelope)


def vault_envelope(service: Service, directory: Path) -> Envelope:
    """Open a meeting and take its vault's envelope from the database."""
    with service.server("ms-a") as server:
        ids = {one.name: one.recipient for one in server.recipients().items}
        meeting = server.open_meeting(SPACE, RosterWish(recipients=(ids["ms-a"],))).meeting
        token = server.epoch(SPACE, meeting).manifest
    manifest = service.trust().manifest(token, SPACE)
    (vault,) = (one.id for one in manifest.recipients if one.kind is RecipientKind.VAULT)
    found = stored.read(service.settings.paths.database, directory / "stolen.db")
    blob = found.blobs[SPACE, meeting, 0][vault]
    return Envelope(blob, manifest.commitment_context(), unb64u(manifest.commitment))


def _attack(profile: Path, user_pin: str, so_pin: str, envelope: Envelope) -> Outcomes:
    """Runs in the attacker's process; every attempt has a session of its own."""

    def session(login: Login = Login.USER) -> Token:
        pin = so_pin if login is Login.OFFICER else user_pin
        return Token(load_profile(profile), TOKEN, pin, login=login, writable=True)

    def real(attacks: Iterable[Attack]) -> dict[str, bool]:
        outcomes = {}
        for attack in attacks:
            with session() as token:
                outcomes[attack.name] = attempt(attack, real_target(token, envelope))
        return outcomes

    def control(attack: Attack) -> bool:
        with session() as token:
            target: Target = control_target(token, attack)
            return attempt(attack, target)

    def by_officer(attack: Attack) -> bool:
        with session(Login.OFFICER) as token:
            return attempt(attack, Target(token, None, envelope))

    refused = real((*REFUSED, *OFFICERS_ONLY))
    controls = {attack.name: control(attack) for attack in REFUSED}
    controls |= {attack.name: by_officer(attack) for attack in OFFICERS_ONLY}
    return Outcomes(refused, controls, real(POSSIBLE))

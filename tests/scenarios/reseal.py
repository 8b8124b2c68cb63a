"""A space gets a new vault key while thousands of its keys lie under the old one: they move while
web process and worker are killed again and again, and in the end every envelope opens. People then
have the old key destroyed.
"""

import base64
import json
import os
import random
import select
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from pkcs11 import ObjectClass

from kms.ceremonies.ports import RewrapItem, VaultOpener
from kms.client.keys import SiteTrust
from kms.domain.models import Epoch, RecipientKind
from kms.errors import HsmUnavailable
from kms.hsm import templates
from kms.hsm.direct import DirectCalls, PackedTemplate
from kms.hsm.labels import parse_label
from kms.hsm.officer import OfficerToken
from kms.hsm.profile import load_profile
from kms.hsm.token import Token
from kms.practice import PracticeSite
from kms.practice.ceremony import practice_pins
from kms.settings import load
from kms.statements.canonical import unb64u
from kms.statements.readers import Readers
from kms.wire.requests import RosterWish
from kms.wire.vaults import SpaceVaultsOut
from tests.fixtures.isolated import run_isolated
from tests.practice.approving import carry_out
from tests.practice.service import CONCLAVE, Service, serving
from tests.scenarios import stored
from tests.scenarios.held import SECURITY, hold, write_plan

SPACE, TOKEN, SERVER = "treasury", "space-treasury", "ms-a"
_CALLERS = 8
_PATIENCE = 60.0
_RAW = 200


@dataclass
class Report:
    """What was seen: kills by victim, seconds from the first start to the last key, epochs moved
    in a second by the process that ended it, and by the bare token.
    """

    epochs: int = 0
    minted_per_second: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    per_second: int = 0
    raw_per_second: int = 0
    opened: int = 0
    served: int = 0
    retired: bool = False
    verdict: str = ""

    def figures(self) -> list[str]:
        """The figures in plain words."""
        killed = ", ".join(f"{name} {count}" for name, count in self.kills.items())
        rate = f"{self.per_second} a second, of {self.raw_per_second} that the bare token does"
        return [
            f"{self.epochs} epochs minted, {self.minted_per_second} a second",
            f"killed: {killed or 'nothing'}",
            f"all moved after {self.seconds:.0f} s; {rate}",
            f"{self.opened} envelopes of the new vault key opened, {self.served} of a server",
            f"the old vault key is destroyed: {self.retired}; the log verifies: {self.verdict}",
        ]


def run(site: PracticeSite, *, epochs: int, kills: int, seed: int, per_second: int) -> Report:
    """Do it all on a fresh practice site; ``per_second`` is the rate of the settings."""
    report, chance = Report(), random.Random(seed)
    with site.config.open("a") as config:
        config.write(f"\n[rotation]\nreseal_per_second = {per_second}\n")
    with serving(site) as service:
        begun = time.monotonic()
        _mint(service, epochs)
        report.minted_per_second = int(epochs / (time.monotonic() - begun))
        report.epochs = epochs
    parameters = f'space = "{SPACE}"'
    hold(site, write_plan(site, "rotate-vault", "next-vault", parameters, SECURITY))
    with serving(site) as service:
        begun = time.monotonic()
        _kill_often(service, epochs, kills, chance, report)
        last = _await(service, lambda found: found.left == 0)
        report.seconds, report.per_second = time.monotonic() - begun, last.per_second
        report.retired = _retire(service, last)
        report.served = _serve(service, chance)
        report.verdict = _verify_log(service)
    report.opened, report.raw_per_second = _open_all(site)
    return report


# --- minting --------------------------------------------------------------------------------------


def _mint(service: Service, epochs: int) -> None:
    """Open as many meetings, whose first epochs all stay in use."""
    wish = RosterWish(recipients=(service.opener(SERVER).recipient,))
    shares = [epochs // _CALLERS + (number < epochs % _CALLERS) for number in range(_CALLERS)]

    def open_meetings(count: int) -> None:
        with service.server(SERVER) as client:
            for _ in range(count):
                client.open_meeting(SPACE, wish)

    with ThreadPoolExecutor(_CALLERS) as pool:
        list(pool.map(open_meetings, shares))


# --- moving and killing ---------------------------------------------------------------------------


def _kill_often(
    service: Service, epochs: int, kills: int, chance: random.Random, report: Report
) -> None:
    """Kill at random moments while keys are moved, until everything has come back."""
    for left in sorted((chance.randrange(1, epochs) for _ in range(kills)), reverse=True):
        _await(service, lambda found, left=left: found.left <= left)
        time.sleep(chance.random() / 10)
        victims = chance.choice((("web",), (TOKEN,), ("web", TOKEN)))
        report.kills["+".join(victims)] += 1
        for victim in victims:
            _kill(service.pids().get(victim))
        service.await_ready(_PATIENCE)


def _kill(pid: int | None) -> None:
    """Kill a process, and wait until it is dead."""
    if pid is None:
        return
    with os.fdopen(os.pidfd_open(pid)) as death:
        os.kill(pid, signal.SIGKILL)
        select.select([death], [], [])


def _await(service: Service, reached: Callable[[SpaceVaultsOut], bool]) -> SpaceVaultsOut:
    """Wait until the space's vault keys are as wanted; a process may be coming back meanwhile."""
    since, seen = time.monotonic(), -1
    while time.monotonic() - since < _PATIENCE:
        service.await_ready(_PATIENCE)
        try:
            with service.console() as console:
                found = next(one for one in console.vault_keys().items if one.space == SPACE)
        except HsmUnavailable:
            time.sleep(0.1)
            continue
        if reached(found):
            return found
        if found.left != seen:
            since, seen = time.monotonic(), found.left
        time.sleep(0.2)
    raise AssertionError(f"no key was moved for {_PATIENCE} s:\n{service.tail()}")


def _retire(service: Service, moved: SpaceVaultsOut) -> bool:
    """Have people approve the end of the old vault key; return whether it was there and is gone."""
    old, new = moved.versions
    kept = not old.retired and _on_token(service, "vault/1")
    carry_out(service, "vault.retire", SPACE, {"version": old.version})
    with service.console() as console:
        found = next(one for one in console.vault_keys().items if one.space == SPACE)
    ended = [one.version for one in found.versions if one.retired] == [old.version]
    gone = not _on_token(service, "vault/1") and _on_token(service, f"vault/{new.version}")
    return old.retirable and kept and ended and gone


def _on_token(service: Service, label: str) -> bool:
    with service.console() as console:
        found = next(one for one in console.tokens().items if one.token == TOKEN)
    return any(one["label"].startswith(label) for one in found.objects)


# --- what is left ---------------------------------------------------------------------------------


def _serve(service: Service, chance: random.Random, most: int = 20) -> int:
    """A server still opens its envelopes, whose manifests never changed."""
    opener, done = service.opener(SERVER), 0
    with service.server(SERVER) as client:
        meetings = [one.meeting for one in client.meetings(SPACE)]
        for meeting in chance.sample(meetings, min(most, len(meetings))):
            got = client.envelope(SPACE, meeting, opener.recipient, epoch=0)
            where = {"space": SPACE, "meeting": meeting, "epoch": 0}
            assert opener.open(got.manifest, _bytes(got.blob), **where).base_key
            done += 1
    return done


def _bytes(text: str) -> bytes:

    return base64.b64decode(text)


def _verify_log(service: Service) -> str:
    """Export the evidence and verify it by the command line; return the verdict."""
    with service.console() as console:
        while (status := console.status()).checkpoint_size < status.tree_size:
            time.sleep(0.1)
    bundle, root = service.site.directory / "bundle.db", service.site.site_root
    config = ("--config", str(service.site.config), "--json")
    for words in (("export", bundle), ("verify", bundle, "--site-root", root)):
        command = [CONCLAVE, *config, "audit", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return str(json.loads(done.stdout)["verdict"])


def _open_all(site: PracticeSite) -> tuple[int, int]:
    """Return how many envelopes the new vault key opens to the committed keys: all of them; and
    how many a second the bare token opens and wraps.
    """
    found = stored.read(load(site.config).paths.database, site.directory / "copy.db")
    trust = Service(site).trust()
    items = [_item(epoch, found, trust) for epoch in found.surviving if epoch.space == SPACE]
    return run_isolated(site.environment, _opened, site, items)


def _item(epoch: Epoch, found: stored.Stored, trust: SiteTrust) -> RewrapItem:
    """Return an epoch's one vault envelope, which the verified addendum names."""
    manifest = trust.manifest(epoch.manifest, epoch.space)
    readers = Readers(manifest, trust.readers(epoch.manifest, epoch.addenda, epoch.space))
    blobs = found.blobs[epoch.space, epoch.meeting, epoch.epoch]
    old, new = readers.of_kind(RecipientKind.VAULT)
    assert (old.version, new.version) == (1, 2)
    assert old.id not in blobs
    sound = readers.check_blob(new.id, blobs[new.id])
    return RewrapItem(sound, manifest.commitment_context(), unb64u(manifest.commitment))


def _opened(site: PracticeSite, items: list[RewrapItem]) -> tuple[int, int]:
    settings, pins = load(site.config), practice_pins(site)
    profile = load_profile(settings.hsm.profile)
    token = OfficerToken(profile, TOKEN, pins)
    opened = sum(1 for _ in token.rewrap(VaultOpener(2), (), items))
    with Token(profile, TOKEN, pins.user_pin(TOKEN)) as session:
        return opened, _raw_rate(session, items[:_RAW])


def _raw_rate(token: Token, items: list[RewrapItem]) -> int:
    """Return how many keys a second one thread unwraps and wraps by RSA-3072, and nothing else."""
    calls = DirectCalls(token.cryptoki, token.session.handle, token.profile.oaep_hash)
    private = token.find(ObjectClass.PRIVATE_KEY, parse_label("vault/2")).handle.handle
    public = token.find(ObjectClass.PUBLIC_KEY, parse_label("vault/2/trusted")).handle.handle
    template, begun = PackedTemplate(templates.UNWRAP_EPOCH), time.monotonic()
    for item in items:
        key = calls.unwrap_oaep(private, item.blob, template)
        calls.wrap_oaep(public, key, len(item.blob))
        calls.destroy(key)
    return int(len(items) / (time.monotonic() - begun))

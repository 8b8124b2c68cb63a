"""A new register of people for a practice site, by a short way past the ceremonies: the site's
token signs it, the log names it, the service is started with it.
"""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_public_key

from kms.audit.leaf import LeafDraft, Outcome, Phase
from kms.bootstrap.clock import SystemClock
from kms.ceremonies.ports import SigningUse
from kms.domain.people import Register
from kms.hsm.officer import OfficerToken
from kms.hsm.profile import load_profile
from kms.ports import Unit
from kms.practice.layout import SITE_TOKEN
from kms.statements import archive, jws
from kms.statements.canonical import digest
from kms.statements.register import TYP, encode_register, verify_register
from kms.store.sqlite import SqliteStore
from tests.fixtures.isolated import run_isolated
from tests.fixtures.pins import KnownPins
from tests.practice.service import Service


def issue_register(service: Service, change: Callable[[Register], Register]) -> None:
    """Let the site root sign a changed register as the next one, and start the service with it.

    A short way past the ceremonies: the site's token signs, the log names it.
    """
    service.stop()
    state = service.site.state
    number = archive.newest((path.name for path in state.iterdir()), archive.REGISTER)
    before = (state / archive.REGISTER.format(number)).read_text("ascii")
    root: Any = load_pem_public_key(service.site.site_root.read_bytes())
    old = verify_register(before, root)
    new = replace(
        change(old),
        version=old.version + 1,
        issued=int(time.time()),
        previous=digest(before.encode()),
    )
    pins = json.loads(service.site.pins.read_text())
    token = run_isolated(
        service.site.environment, _signed, service.settings.hsm.profile, pins,
        jws.spki_id(root), encode_register(new),
    )  # fmt: skip
    (state / archive.REGISTER.format(number + 1)).write_text(token)
    asyncio.run(_log_register(service, new.version, digest(token.encode())))
    service.start()


def _signed(profile: Any, pins: dict[str, str], kid: str, payload: bytes) -> str:
    token = OfficerToken(load_profile(profile), SITE_TOKEN, KnownPins({}, pins))
    return jws.sign(
        payload, typ=TYP, kid=kid, signer=lambda value: token.sign(SigningUse.SITE_ROOT, 1, value)
    )


async def _log_register(service: Service, version: int, sha256: str) -> None:
    told = {"ceremony": "scenario", "version": version, "sha256": sha256}
    leaf = LeafDraft(
        "register.change", "ceremony", "scenario", "", f"register/{version}",
        Phase.EVENT, Outcome.SUCCEEDED, details=told,
    )  # fmt: skip
    store = SqliteStore.open(service.settings.paths.database, SystemClock())
    try:
        await store.commit(Unit(leaves=(leaf,)))
    finally:
        store.close()

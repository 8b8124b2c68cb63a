"""Genuine manifests and blobs handed to a client in the wrong place, and edited manifests.

Whoever carries envelopes can do this: a dishonest meeting server, relay or web process.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from kms.client.keys import EnvelopeOpener
from kms.errors import ConclaveError
from kms.statements import jws
from kms.statements.canonical import b64u, canonical, unb64u
from kms.statements.manifest import TYP
from tests.practice.service import Service
from tests.scenarios.rooms import Member, Room, rooms

OPENED = "opened"


@dataclass(frozen=True)
class Handed:
    """What a client is given: its opener, a manifest and a blob, and what it is told they are."""

    opener: EnvelopeOpener
    manifest: str
    blob: bytes
    space: str
    meeting: str
    epoch: int

    def open(self) -> str:
        """Return the error's code and message, or that it opened."""
        where = {"space": self.space, "meeting": self.meeting, "epoch": self.epoch}
        try:
            self.opener.open(self.manifest, self.blob, **where)
        except ConclaveError as error:
            return f"{error.code}: {error.message}"
        return OPENED


@dataclass(frozen=True)
class Genuine:
    """Envelopes as they were served: mine, and others that differ in one thing."""

    mine: Handed
    epoch: Handed
    meeting: Handed
    recipient: Handed
    space: Handed


def run(service: Service) -> dict[str, str]:
    """Return what came of each swap; the genuine envelopes, as controls, have to open."""
    banking, treasury = rooms(service)
    outcomes = {}
    for room, foreign in ((banking, treasury), (treasury, banking)):
        genuine = _genuine(room, foreign)
        for name, swap in SWAPS.items():
            outcomes[f"{room.space}: {name}"] = swap(genuine).open()
        for name in ("mine", "epoch", "meeting", "recipient"):
            outcomes[f"{room.space}: control, {name}"] = getattr(genuine, name).open()
    return outcomes


def _genuine(room: Room, foreign: Room) -> Genuine:
    other = room.again()
    for one in (room, other, foreign):
        if one.last_epoch < 0:
            _grant(one, "open")
    _grant(room, "suspicion")
    me, you = room.members[:2]
    return Genuine(
        mine=_handed(room, me, 0),
        epoch=_handed(room, me, 1),
        meeting=_handed(other, me, 0),
        recipient=_handed(room, you, 0),
        space=_handed(foreign, foreign.members[0], 0),
    )


def _grant(room: Room, kind: str) -> None:
    wish = next(one for one in room.wishes() if one.kind == kind)
    room.adopt(wish, wish.send())


def _handed(room: Room, member: Member, epoch: int) -> Handed:
    with room.service.server(member.server) as client:
        served = client.envelope(room.space, room.meeting, member.id, epoch=epoch)
    blob = base64.b64decode(served.blob)
    return Handed(member.opener, served.manifest, blob, room.space, room.meeting, epoch)


def _edited(change: Callable[[dict[str, Any]], None]) -> Callable[[Genuine], Handed]:
    """Edit the manifest, the signature stays."""

    def swap(it: Genuine) -> Handed:
        header, payload, signature = it.mine.manifest.split(".")
        manifest = json.loads(unb64u(payload))
        change(manifest)
        return replace(it.mine, manifest=f"{header}.{b64u(canonical(manifest))}.{signature}")

    return swap


def _signed_by_another_key(it: Genuine) -> Handed:
    key = ec.generate_private_key(ec.SECP256R1())
    payload = jws.unverified_payload(it.mine.manifest, typ=TYP)
    kid, signer = jws.spki_id(key.public_key()), jws.private_signer(key)
    return replace(it.mine, manifest=jws.sign(payload, typ=TYP, kid=kid, signer=signer))


def _add_reader(manifest: dict[str, Any]) -> None:
    ghost = {"blob_sha256": "A" * 43, "id": "A" * 43, "kind": "server", "sender": 9, "version": 0}
    manifest["recipients"].append(ghost)


def _strict(it: Genuine) -> Handed:
    """A client that accepts a stronger algorithm alone, given what was truly signed."""
    opener = it.mine.opener
    return replace(it.mine, opener=EnvelopeOpener(opener.trust, opener.key, "RSA-OAEP-256"))


def _placed(it: Handed, at: Handed) -> Handed:
    """A whole envelope, passed off as that of another place."""
    return replace(at, manifest=it.manifest, blob=it.blob)


SWAPS: dict[str, Callable[[Genuine], Handed]] = {
    "another epoch's envelope": lambda it: _placed(it.epoch, it.mine),
    "another epoch's manifest": lambda it: replace(it.mine, manifest=it.epoch.manifest),
    "another epoch's blob": lambda it: replace(it.mine, blob=it.epoch.blob),
    "another meeting's envelope": lambda it: _placed(it.meeting, it.mine),
    "another meeting's manifest": lambda it: replace(it.mine, manifest=it.meeting.manifest),
    "another meeting's blob": lambda it: replace(it.mine, blob=it.meeting.blob),
    "another recipient's blob": lambda it: replace(it.mine, blob=it.recipient.blob),
    "opened by another recipient": lambda it: replace(it.mine, opener=it.recipient.opener),
    "another space's envelope": lambda it: _placed(it.space, it.mine),
    "another space's manifest": lambda it: replace(it.mine, manifest=it.space.manifest),
    "another space's blob": lambda it: replace(it.mine, blob=it.space.blob),
    "opened by another space's recipient": lambda it: replace(it.mine, opener=it.space.opener),
    "another space's name": lambda it: replace(it.mine, space=it.space.space),
    "wrap_alg downgraded": _edited(lambda manifest: manifest.update(wrap_alg="RSA1_5")),
    "wrap_alg weaker than the client's": _strict,
    "a reader added": _edited(_add_reader),
    "signed by a key that is not the space's": _signed_by_another_key,
    "a flipped bit": lambda it: replace(
        it.mine, blob=bytes([it.mine.blob[0] ^ 1]) + it.mine.blob[1:]
    ),
}

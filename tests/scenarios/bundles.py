"""Somebody tampers with an exported evidence bundle; the verifier, as a command, is asked about it.

Every tampering keeps the form: leaves are numbered anew, stay canonical, and what would contradict
them is taken out as well. At the strongest the whole log is told anew and signed by the site's own
checkpoint key, as somebody could who has root and the PIN.
"""

import json
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from kms.audit.merkle import MerkleTree, leaf_hash
from kms.audit.note import Checkpoint, sign_checkpoint
from kms.hsm.keyring import SiteKeyring
from kms.hsm.profile import load_profile
from kms.hsm.token import Token
from kms.practice.layout import SITE_TOKEN
from kms.statements import jws, keylist
from kms.statements.canonical import b64u, canonical, decode_record
from kms.statements.keylist import KeyList, KeyUse
from kms.wire.requests import RosterWish
from tests.fixtures.isolated import run_isolated
from tests.practice.service import CONCLAVE, Service

SPACE = "treasury"
_PATIENCE_SECONDS = 60.0

Sign = Callable[[list[Checkpoint]], list[str]]


@dataclass(frozen=True)
class Exported:
    """A bundle of a real log, what pins it, and a checkpoint that the auditor kept from before.

    ``sign`` is what somebody with root and the site's PIN can do: the site's own signature.
    """

    bundle: Path
    root: Path
    earlier: Path
    sign: Sign

    @property
    def earlier_size(self) -> int:
        return int(self.earlier.read_text().split("\n")[1])


@dataclass(frozen=True)
class Found:
    """What the verifier said: its exit code and the checks that did not hold."""

    code: int
    failed: frozenset[str]


def export(service: Service, directory: Path) -> Exported:
    """Let meetings happen under two checkpoints, keep the second, let more happen, export."""
    earlier, bundle = directory / "earlier.checkpoint", directory / "evidence.db"
    _happen(service)
    _next_checkpoint(service)
    _happen(service)
    earlier.write_text(_next_checkpoint(service))
    _happen(service)
    _next_checkpoint(service)
    command = [CONCLAVE, "--config", service.site.config, "audit", "export", bundle]
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
    return Exported(bundle, service.site.site_root, earlier, _site_signer(service))


def run(exported: Exported, directory: Path) -> dict[str, Found]:
    """Return what the verifier says of every tampering, by its name."""
    found = {}
    for name, tamper in TAMPERINGS.items():
        copy = directory / "tampered.db"
        shutil.copy(exported.bundle, copy)
        copy.chmod(0o600)
        with _open(copy) as connection:
            tamper(connection, exported)
        found[name] = verify(exported, copy)
    return found


def verify(exported: Exported, bundle: Path, *, earlier: bool = True) -> Found:
    """Run ``conclave audit verify``, with the auditor's earlier checkpoint or without."""
    kept = ["--checkpoint", exported.earlier] if earlier else []
    words = ["--json", "audit", "verify", bundle, "--site-root", exported.root, *kept]
    done = subprocess.run([CONCLAVE, *map(str, words)], capture_output=True, text=True, check=False)
    checks = json.loads(done.stdout)["checks"]
    failed = frozenset(one["id"] for one in checks if one["verdict"] in {"fail", "not-run"})
    return Found(done.returncode, failed)


def _happen(service: Service) -> None:
    with service.server("ms-a") as server:
        ids = {one.name: one.recipient for one in server.recipients().items}
        wish = RosterWish(recipients=(ids["ms-a"], ids["ms-b"]))
        meeting = server.open_meeting(SPACE, wish).meeting
        server.envelope(SPACE, meeting, ids["ms-a"])
        server.rotate(SPACE, meeting, "suspicion")
        server.envelope(SPACE, meeting, ids["ms-a"])
        server.close_meeting(SPACE, meeting)


def _next_checkpoint(service: Service) -> str:
    """Wait for a checkpoint over everything that has happened."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    with service.console() as console:
        size = console.status().tree_size
        while time.monotonic() < deadline:
            if console.status().checkpoint_size >= size:
                return console.checkpoint().note
            time.sleep(0.1)
    raise AssertionError("no checkpoint was signed")


# --- the site's own signature --------------------------------------------------------------------


def _site_signer(service: Service) -> Sign:
    profile, pins = service.settings.hsm.profile, service.site.pins

    def sign(heads: list[Checkpoint]) -> list[str]:
        environment = service.site.environment
        return run_isolated(environment, _sign_on_the_token, profile, pins, heads)

    return sign


def _sign_on_the_token(profile: Path, pins: Path, heads: list[Checkpoint]) -> list[str]:
    pin = json.loads(pins.read_text())[SITE_TOKEN]
    with Token(load_profile(profile), SITE_TOKEN, pin) as token:
        keys = SiteKeyring(token)
        return [sign_checkpoint(one, keys.checkpoint_key, keys.sign_checkpoint) for one in heads]


# --- the tamperings ------------------------------------------------------------------------------

Tamper = Callable[[sqlite3.Connection, Exported], None]


@contextmanager
def _open(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path)) as connection, connection:
        yield connection


def _leaves(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    rows = connection.execute("SELECT body FROM leaf ORDER BY seq").fetchall()
    return [json.loads(body) for (body,) in rows]


def _write(connection: sqlite3.Connection, leaves: Sequence[dict[str, Any]]) -> None:
    """Write the log, numbered anew; intents are named by their new numbers."""
    moved = {leaf["seq"]: seq for seq, leaf in enumerate(leaves)}
    connection.execute("DELETE FROM leaf")
    for seq, leaf in enumerate(leaves):
        intent = moved.get(leaf["intent"]) if leaf.get("intent") is not None else None
        body = {**leaf, "seq": seq} | ({"intent": intent} if intent is not None else {})
        connection.execute("INSERT INTO leaf VALUES (?, ?)", (seq, canonical(body).decode()))


def _accesses(leaves: Sequence[dict[str, Any]]) -> list[int]:
    return [leaf["seq"] for leaf in leaves if leaf["action"] == "envelope.fetch"]


def _edit(connection: sqlite3.Connection, _: Exported) -> None:
    leaves = _leaves(connection)
    leaf = leaves[_accesses(leaves)[0]]
    assert leaf["actor"] == "server:ms-a"
    leaf["actor"] = "server:ms-b"
    _write(connection, leaves)


def _delete(connection: sqlite3.Connection, _: Exported) -> None:
    seq = _accesses(_leaves(connection))[0]
    assert connection.execute("DELETE FROM leaf WHERE seq = ?", (seq,)).rowcount == 1


def _delete_and_number(connection: sqlite3.Connection, _: Exported) -> None:
    leaves = _leaves(connection)
    del leaves[_accesses(leaves)[0]]
    _write(connection, leaves)


def _swap(connection: sqlite3.Connection, _: Exported) -> None:
    leaves = _leaves(connection)
    one, other = _accesses(leaves)[:2]
    leaves[one], leaves[other] = leaves[other], leaves[one]
    leaves[one]["time"], leaves[other]["time"] = leaves[other]["time"], leaves[one]["time"]
    _write(connection, leaves)


def _cut_last(connection: sqlite3.Connection, _: Exported) -> None:
    connection.execute("DELETE FROM leaf WHERE seq = (SELECT max(seq) FROM leaf)")


def _cut_back(connection: sqlite3.Connection, exported: Exported) -> None:
    """Cut at an older checkpoint, with every checkpoint and manifest of what came after it."""
    (size,) = connection.execute(
        "SELECT max(size) FROM checkpoint WHERE size < ?", (exported.earlier_size,)
    ).fetchone()
    connection.execute("DELETE FROM leaf WHERE seq >= ?", (size,))
    connection.execute("DELETE FROM checkpoint WHERE size > ?", (size,))
    known = {leaf["resource"] for leaf in _leaves(connection) if "manifest" in leaf["details"]}
    query = "SELECT space, meeting, epoch FROM manifest"
    for space, meeting, epoch in connection.execute(query).fetchall():
        if f"spaces/{space}/meetings/{meeting}/epochs/{epoch}" not in known:
            where = "space = ? AND meeting = ? AND epoch = ?"
            connection.execute(f"DELETE FROM manifest WHERE {where}", (space, meeting, epoch))


def _retell(connection: sqlite3.Connection, sign: Sign) -> None:
    """Leave one access out and compute everything anew: numbers, tree and checkpoints."""
    leaves = _leaves(connection)
    gone = _accesses(leaves)[0]
    del leaves[gone]
    _write(connection, leaves)
    tree = MerkleTree(
        leaf_hash(body.encode())
        for (body,) in connection.execute("SELECT body FROM leaf ORDER BY seq")
    )
    notes = connection.execute("SELECT size, note FROM checkpoint ORDER BY size").fetchall()
    site = notes[0][1].split("\n")[0]
    sizes = sorted({size - (size > gone) for size, _ in notes})
    heads = [Checkpoint(site, size, tree.root(size)) for size in sizes]
    connection.execute("DELETE FROM checkpoint")
    rows = zip(sizes, sign(heads), strict=True)
    connection.executemany("INSERT INTO checkpoint VALUES (?, ?)", rows)


def _recompute(connection: sqlite3.Connection, _: Exported) -> None:
    own = ec.generate_private_key(ec.SECP256R1())
    signer = jws.private_signer(own)
    _retell(connection, lambda heads: [sign_checkpoint(h, own.public_key(), signer) for h in heads])
    (token,) = connection.execute("SELECT jws FROM key_list").fetchone()
    known = decode_record(jws.unverified_payload(token, typ=keylist.TYP), KeyList)
    keys = tuple(
        replace(key, kid=jws.spki_id(own.public_key()), spki=b64u(jws.spki_der(own.public_key())))
        if key.use is KeyUse.CHECKPOINT
        else key
        for key in known.keys
    )
    payload = keylist.encode_keylist(replace(known, keys=keys))
    kid = jws.spki_id(own.public_key())
    forged = jws.sign(payload, typ=keylist.TYP, kid=kid, signer=signer)
    connection.execute("UPDATE key_list SET jws = ?", (forged,))


def _recompute_with_the_sites_key(connection: sqlite3.Connection, exported: Exported) -> None:
    _retell(connection, exported.sign)


CUT_BACK = "the log cut back to an older checkpoint"
RETOLD = "everything recomputed, signed by the site's own checkpoint key"
TAMPERINGS: dict[str, Tamper] = {
    "a leaf edited": _edit,
    "a leaf deleted in the middle": _delete,
    "a leaf deleted in the middle, the others numbered anew": _delete_and_number,
    "two leaves swapped": _swap,
    "the last leaf cut off": _cut_last,
    CUT_BACK: _cut_back,
    "everything recomputed, with another checkpoint key and key list": _recompute,
    RETOLD: _recompute_with_the_sites_key,
}
ONLY_BY_THE_EARLIER_CHECKPOINT = (CUT_BACK, RETOLD)
"""Nothing inside these bundles contradicts itself: what an auditor kept outside finds them."""

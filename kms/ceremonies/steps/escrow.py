"""Steps that make an escrow generation: a key for meetings and one for disks, whose private halves
are nowhere, except under a key (SWK) that people share. When they are done the site's token alone
trusts them: what other tokens come to trust is held against that.
"""

import os
from functools import partial

from kms.ceremonies.ports import EscrowPair, SharedSecret
from kms.ceremonies.room import Brief, Facts, Room
from kms.ceremonies.step import Step
from kms.ceremonies.steps.anchors import destroy_escrow_keys, trust_escrow_keys
from kms.ceremonies.steps.distribution import distribute
from kms.ceremonies.steps.generations import (
    BookFinder,
    EscrowBlobs,
    EscrowRecord,
    Numbers,
    own_book,
    read_escrow,
    remove_escrow,
    write_escrow,
)
from kms.ceremonies.steps.holding import SWK, so_shares
from kms.ceremonies.steps.newtoken import dump_token, key_facts
from kms.domain.people import Part, Register
from kms.errors import NotFound
from kms.statements.canonical import b64u, digest

SWK_BYTES = 32
_PAIR, _DISK_PAIR = "escrow-pair", "disk-escrow-pair"


def make_escrow(
    brief: Brief,
    register: Register,
    section: str,
    numbers: Numbers,
    *,
    so_book: BookFinder | None = None,
) -> tuple[Step, ...]:
    """Return steps ``section/swk``, ``section/escrow-key``, ``section/escrow-open``,
    ``section/disk-key``, ``section/disk-open``, those of ``distribute``, ``section/escrow-write``,
    which writes blobs and record of the generation, those of ``so_shares`` (of ``so_book``), and
    ``section/escrow-trust``, for which they are given.
    """
    token = brief.site.token()
    return (
        Step(
            id=f"{section}/swk",
            who=Part.ADMINISTRATOR,
            text="The program draws the share wrapping key: random bytes of the token {token} xor "
            "random bytes of the operating system, so that neither decides it.",
            values={"token": token},
            act=partial(_draw, token),
        ),
        Step(
            id=f"{section}/escrow-key",
            who=Part.ADMINISTRATOR,
            text="The token {token} generates the escrow key. Its private half leaves the token "
            "only under the share wrapping key.",
            values={"token": token},
            act=partial(_generate, token),
        ),
        Step(
            id=f"{section}/escrow-open",
            who=Part.ADMINISTRATOR,
            text="The token {token} opens the escrow key's private half again, and a key that was "
            "wrapped to its public half with it.",
            values={"token": token},
            act=partial(_prove, token),
        ),
        Step(
            id=f"{section}/disk-key",
            who=Part.ADMINISTRATOR,
            text="The token {token} generates the disk escrow key, to which recovery keys of disks "
            "are encrypted. Its private half leaves the token only under the share wrapping key.",
            values={"token": token},
            act=partial(_generate_disk_key, token),
        ),
        Step(
            id=f"{section}/disk-open",
            who=Part.ADMINISTRATOR,
            text="The token {token} opens the disk escrow key's private half again, and decrypts "
            "with it what was encrypted to its public half.",
            values={"token": token},
            act=partial(_prove_disk_key, token),
        ),
        *distribute(brief, register, section, SharedSecret.ESCROW, numbers),
        Step(
            id=f"{section}/escrow-write",
            who=Part.ADMINISTRATOR,
            text="The program writes down both keys under the share wrapping key, and their "
            "public halves.",
            act=_write,
            undo=_take_back,
        ),
        *so_shares(brief, section, book=so_book),
        Step(
            id=f"{section}/escrow-trust",
            who=Part.ADMINISTRATOR,
            text="The officers' session lets the site's token {token} trust the escrow key and the "
            "disk escrow key. What other tokens come to trust is held against that.",
            values={"token": token},
            act=partial(_trust, token),
            undo=partial(_distrust, token),
        ),
        dump_token(section, token),
    )


def _draw(label: str, room: Room) -> Facts:
    ours = os.urandom(SWK_BYTES)
    theirs = room.tokens(label).random(SWK_BYTES)
    room.memory[SWK] = bytes(a ^ b for a, b in zip(theirs, ours, strict=True))
    return {"bytes": SWK_BYTES}


def _generate(label: str, room: Room) -> Facts:
    pair = room.tokens(label).generate_escrow(room.memory[SWK])
    room.memory[_PAIR] = pair
    return {**key_facts(pair.spki), "blob_sha256": digest(pair.blob)}


def _prove(label: str, room: Room) -> Facts:
    room.tokens(label).prove_escrow(room.memory[SWK], room.memory[_PAIR])
    return {"token": label}


def _generate_disk_key(label: str, room: Room) -> Facts:
    pair = room.tokens(label).generate_disk_escrow(room.memory[SWK])
    room.memory[_DISK_PAIR] = pair
    return {**key_facts(pair.spki), "blob_sha256": digest(pair.blob)}


def _prove_disk_key(label: str, room: Room) -> Facts:
    room.tokens(label).prove_disk_escrow(room.memory[SWK], room.memory[_DISK_PAIR])
    return {"token": label}


def _write(room: Room) -> Facts:
    record = _record(room)
    pair, disk_pair = _pairs(room)
    facts = write_escrow(room.files, record, EscrowBlobs(pair.blob, disk_pair.blob))
    read_escrow(room.files, record.generation)
    return {"generation": record.generation, **facts}


def _pairs(room: Room) -> tuple[EscrowPair, EscrowPair]:
    return room.memory[_PAIR], room.memory[_DISK_PAIR]


def _record(room: Room) -> EscrowRecord:
    """Return what becomes public, as the room's memory has it: files can be put in its place."""
    book = own_book(SharedSecret.ESCROW).find(room)
    pair, disk_pair = _pairs(room)
    return EscrowRecord(book.generation, book.check, b64u(pair.spki), b64u(disk_pair.spki))


def _take_back(room: Room) -> None:
    generation = _own_generation(room)
    if generation:
        remove_escrow(room.files, generation)


def _trust(label: str, room: Room) -> Facts:
    return trust_escrow_keys(room.tokens(label), _record(room))


def _distrust(label: str, room: Room) -> None:
    generation = _own_generation(room)
    if generation:
        destroy_escrow_keys(room.tokens(label), generation)


def _own_generation(room: Room) -> int:
    """Return the generation that this ceremony began to make, 0 for none."""
    try:
        return own_book(SharedSecret.ESCROW).find(room).generation
    except NotFound:
        return 0

"""Steps that make an escrow generation: a key whose private half is nowhere, except under a key
(SWK) that people share. Nothing trusts it yet when they are done.
"""

import os
from functools import partial

from kms.ceremonies.ports import EscrowPair, SharedSecret
from kms.ceremonies.room import Brief, Facts, Room
from kms.ceremonies.step import Step
from kms.ceremonies.steps.distribution import distribute
from kms.ceremonies.steps.generations import (
    EscrowRecord,
    Numbers,
    own_book,
    read_escrow,
    remove_escrow,
    write_escrow,
)
from kms.ceremonies.steps.holding import SWK
from kms.ceremonies.steps.newtoken import key_facts
from kms.domain.people import Part, Register
from kms.errors import NotFound
from kms.statements.canonical import b64u, digest

SWK_BYTES = 32
_PAIR = "escrow-pair"


def make_escrow(
    brief: Brief, register: Register, section: str, numbers: Numbers
) -> tuple[Step, ...]:
    """Return steps ``section/swk``, ``section/escrow-key``, ``section/escrow-open``, those of
    ``distribute``, and ``section/escrow-write``, which writes blob and record of the generation.
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
        *distribute(brief, register, section, SharedSecret.ESCROW, numbers),
        Step(
            id=f"{section}/escrow-write",
            who=Part.ADMINISTRATOR,
            text="The program writes down the escrow key under the share wrapping key, and its "
            "public half.",
            act=_write,
            undo=_take_back,
        ),
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


def _write(room: Room) -> Facts:
    pair: EscrowPair = room.memory[_PAIR]
    book = own_book(SharedSecret.ESCROW).find(room)
    record = EscrowRecord(book.generation, book.check, b64u(pair.spki))
    facts = write_escrow(room.files, record, pair.blob)
    read_escrow(room.files, book.generation)
    return {"generation": book.generation, **facts}


def _take_back(room: Room) -> None:
    try:
        generation = own_book(SharedSecret.ESCROW).find(room).generation
    except NotFound:
        return
    remove_escrow(room.files, generation)

"""Steps by which the SO secret is replaced: drawn and shared out, then the SO PINs of all tokens.

Between two tokens some have the new PIN and some the old: the journal says which, and a token is
asked with the old PIN once at most.
"""

import os
from functools import partial

from kms.ceremonies.ports import SharedSecret
from kms.ceremonies.room import Brief, Facts, Room
from kms.ceremonies.step import Section, Step
from kms.ceremonies.steps.distribution import distribute
from kms.ceremonies.steps.generations import BookFinder, Numbers, own_book
from kms.ceremonies.steps.holding import SO_SECRET, so_shares
from kms.domain.people import Part, Register

SO_SECRET_BYTES = 16
_OLD = "so-secret/old"


def draw_so_secret(
    brief: Brief, register: Register, section: str, numbers: Numbers, token: str = ""
) -> tuple[Step, ...]:
    """Return the step ``section/so-secret`` and those of ``distribute``. ``token`` names one whose
    random bytes go in too, if there is one.
    """
    return (
        Step(
            id=f"{section}/so-secret",
            who=Part.ADMINISTRATOR,
            text="The program draws a new SO secret: 128 random bits of the operating system xor "
            "those of the token {token}."
            if token
            else "The program draws the SO secret: 128 random bits of the operating system.",
            values={"token": token} if token else {},
            act=partial(_draw, token),
        ),
        *distribute(brief, register, section, SharedSecret.SO, numbers),
    )


def change_pins(brief: Brief, register: Register, section: str) -> Section:
    """Return the forward section in which every token gets its SO PIN from the new secret.

    The officers give their old shares and then the new ones, which ``register`` says who holds.
    """
    new = own_book(SharedSecret.SO)
    return Section(
        id=section,
        text="Every token gets a new SO PIN, from the new SO secret: the old shares open no token "
        "any more.",
        forward=True,
        steps=(
            *so_shares(brief, f"{section}/old"),
            Step(
                id=f"{section}/keep",
                who=Part.ADMINISTRATOR,
                text="The program keeps the old SO secret in memory until this section ends.",
                act=_keep,
            ),
            *so_shares(brief, f"{section}/new", book=new, register=register),
            *(
                Step(
                    id=f"{section}/change/{label}",
                    who=Part.ADMINISTRATOR,
                    text="The token {token} gets its new SO PIN, and is opened with it once.",
                    values={"token": label},
                    act=partial(_change, f"{section}/change/{label}", label),
                )
                for label in sorted(brief.site.tokens.values())
            ),
        ),
    )


def _draw(token: str, room: Room) -> Facts:
    ours = os.urandom(SO_SECRET_BYTES)
    theirs = room.tokens(token).random(SO_SECRET_BYTES) if token else bytes(SO_SECRET_BYTES)
    room.memory[SO_SECRET] = bytes(a ^ b for a, b in zip(theirs, ours, strict=True))
    return {"bytes": SO_SECRET_BYTES}


def _keep(room: Room) -> Facts:
    book = BookFinder(SharedSecret.SO).find(room)
    room.memory[_OLD] = (room.memory.pop(SO_SECRET), book.generation)
    room.memory.pop(f"given/{SharedSecret.SO}")
    return {"generation": book.generation}


def _change(step: str, label: str, room: Room) -> Facts:
    generation = own_book(SharedSecret.SO).find(room).generation
    facts = {"generation": generation, "token": label}
    if step in room.facts:
        return room.facts[step]
    token = room.tokens(label)
    if not token.exists():
        return {**facts, "generation": 0}
    room.pins.set_so_secret(room.memory[SO_SECRET], generation)
    new = room.pins.so_pin(label)
    room.pins.set_so_secret(*room.memory[_OLD])
    token.change_so_pin(new)
    room.pins.set_so_secret(room.memory[SO_SECRET], generation)
    return facts

"""Steps that give new shares to their holders, one custodian at a time.

A new share counts when its holder has read it back, and its book is written only when every quorum
of what was read back has given the secret again.
"""

from functools import partial
from typing import Any

from kms.ceremonies.ports import ShareCard, SharedSecret
from kms.ceremonies.room import Brief, Facts, Room
from kms.ceremonies.step import ENTER, Ask, Step
from kms.ceremonies.steps.generations import (
    Numbers,
    remove_own_books,
    share_books,
    write_share_book,
)
from kms.ceremonies.steps.holding import MEMORY, TRIES, share_groups, take_words
from kms.ceremonies.steps.shares import (
    ShareBook,
    check_value,
    combine,
    place_of,
    share_digest,
    share_name,
    split,
)
from kms.domain.people import Part, Person, Register
from kms.domain.text import visible
from kms.errors import IntegrityFailure, InvalidInput
from kms.i18n import _

_FINGERPRINT = 8
_LONGEST_BAG = 64


def distribute(
    brief: Brief, register: Register, section: str, secret: SharedSecret, numbers: Numbers
) -> tuple[Step, ...]:
    """Return steps ``section/<secret>-split``, ``section/<secret>-card/person`` for every holder
    of ``register``, and ``section/<secret>-prove``, which writes the share book.

    They split what ``room.memory[MEMORY[secret]]`` has by then.
    """
    so = secret is SharedSecret.SO
    holders = [
        person
        for group in share_groups(register, secret)
        for person in register.holders(group.name)
    ]
    return (
        Step(
            id=f"{section}/{secret}-split",
            who=Part.ADMINISTRATOR,
            text="The program splits the SO secret among the officers of the first group."
            if so
            else "The program splits the share wrapping key among the officers of all groups.",
            act=partial(_split, brief, register, secret, numbers),
        ),
        *(_card_step(brief, register, section, secret, person) for person in holders),
        Step(
            id=f"{section}/{secret}-prove",
            who=Part.ADMINISTRATOR,
            text="The program combines every quorum of the shares read back, compares check "
            "values, and writes down the digests of the shares and who holds them.",
            act=partial(_prove, secret),
            verify=partial(_verify_book, secret),
            undo=partial(_take_back, secret),
        ),
    )


def _card_step(
    brief: Brief, register: Register, section: str, secret: SharedSecret, person: Person
) -> Step:
    values = {"person": person.display, "place": place_of(person.group, person.share)}
    so = secret is SharedSecret.SO
    return Step(
        id=f"{section}/{secret}-card/{person.name}",
        who=person.name,
        text="{person} alone gets the card with share {place} of the SO secret, reads it back, and "
        "seals it in a tamper-evident bag. A card with this place from an earlier attempt is "
        "destroyed."
        if so
        else "{person} alone gets the card with share {place} of the share wrapping key, reads it "
        "back, and seals it in a tamper-evident bag. A card with this place from an earlier "
        "attempt is destroyed.",
        values=values,
        act=partial(_hand_over, brief, register, secret, person),
        asks=(
            Ask(person.name, "once {person} alone sees screen and printer", values, ENTER),
            Ask(person.name, "once {person} has the card with share {place}", values, ENTER),
            Ask(
                person.name,
                "the 20 words of SO share {place}, typed or scanned from the new card"
                if so
                else "the 33 words of escrow share {place}, typed or scanned from the new card",
                values,
            ),
            Ask(person.name, "the number of the bag with share {place}", values),
        ),
    )


def _drawn(room: Room, secret: SharedSecret) -> dict[str, Any]:
    """Return the split under way: its book, words by place, words read back."""
    kept: dict[str, Any] = room.memory.setdefault(f"drawn/{secret}", {})
    return kept


def _split(
    brief: Brief, register: Register, secret: SharedSecret, numbers: Numbers, room: Room
) -> Facts:
    value, groups = room.memory[MEMORY[secret]], share_groups(register, secret)
    shares = {place_of(one.group, one.index): one.words for one in split(value, groups)}
    generation, number = numbers(room)
    book = ShareBook(
        secret=secret,
        generation=generation,
        split=number,
        ceremony=brief.plan.file.id,
        groups=groups,
        check=check_value(value),
        share_sha256={place: share_digest(words) for place, words in shares.items()},
        holders={
            place_of(person.group, person.share): person.name
            for group in groups
            for person in register.holders(group.name)
        },
    )
    _drawn(room, secret).update(book=book, words=shares, read={})
    return {
        "check": book.check,
        "generation": generation,
        "share_sha256": book.share_sha256,
        "split": number,
    }


def _hand_over(
    brief: Brief, register: Register, secret: SharedSecret, person: Person, room: Room
) -> Facts:
    drawn, place = _drawn(room, secret), place_of(person.group, person.share)
    book: ShareBook = drawn["book"]
    words: str = drawn["words"][place]
    group = next(one for one in share_groups(register, secret) if one.name == person.group)
    card = ShareCard(
        site=brief.site.site,
        secret=secret,
        generation=book.generation,
        split=book.split,
        group=group,
        index=person.share,
        holder=person.name,
        display=person.display,
        fingerprint=book.share_sha256[place][:_FINGERPRINT],
        words=words,
    )
    room.people.give_card(card)
    name = share_name(secret, place, book.generation, book.split)
    text = _("Read {share} back from the card:").format(share=name)
    drawn["read"][place], facts = take_words(room, person, book, text)
    return {**facts, "bag": _bag(room, person, place)}


def _bag(room: Room, person: Person, place: str) -> str:
    text = _("Number of the tamper-evident bag that share {place} is sealed in:").format(
        place=place
    )
    for _attempt in range(TRIES):
        number = visible(room.people.ask(person.name, text).strip())
        if 0 < len(number) <= _LONGEST_BAG:
            return number
    raise InvalidInput(f"the bag of share {place} has no number of 1 to {_LONGEST_BAG} characters")


def _prove(secret: SharedSecret, room: Room) -> Facts:
    drawn = _drawn(room, secret)
    book: ShareBook = drawn["book"]
    quorums = book.quorums(drawn["read"])
    for done, chosen in enumerate(quorums, 1):
        combine(chosen, book.check)
        room.people.progress(_("quorums proved"), done, len(quorums))
    return {"quorums": len(quorums), **write_share_book(room.files, book)}


def _verify_book(secret: SharedSecret, room: Room, _facts: Facts) -> None:
    if _drawn(room, secret)["book"] not in share_books(room.files):
        raise IntegrityFailure("the share book does not read as it was written")


def _take_back(secret: SharedSecret, room: Room) -> None:
    remove_own_books(room, secret)

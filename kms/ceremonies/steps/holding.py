"""Steps in which officers give their shares in. A share is taken only from whoever holds it, and
what the shares combine to counts only if its check value holds.
"""

from collections.abc import Sequence
from functools import partial

from kms.ceremonies.ports import SharedSecret, ShareGroup
from kms.ceremonies.room import Brief, Facts, Room
from kms.ceremonies.step import Ask, Step
from kms.ceremonies.steps.generations import BookFinder, share_books
from kms.ceremonies.steps.shares import (
    ShareBook,
    combine,
    identify,
    place_of,
    share_digest,
    share_name,
)
from kms.domain.people import Part, Person, Register
from kms.errors import InvalidInput, ShareRefused, StateNotAllowed
from kms.i18n import _

SWK = "swk"
SO_SECRET = "so-secret"  # noqa: S105 -- a name
MEMORY = {SharedSecret.ESCROW: SWK, SharedSecret.SO: SO_SECRET}
"""Where ``room.memory`` has a secret while its section lasts."""

TRIES = 3

_OWN_CARD = {
    SharedSecret.SO: "the 20 words of SO share {place}, typed or scanned from the card that "
    "{person} brought",
    SharedSecret.ESCROW: "the 33 words of escrow share {place}, typed or scanned from the card "
    "that {person} brought",
}
_NEW_CARD = {
    SharedSecret.SO: "the 20 words of SO share {place}, typed or scanned from the new card",
    SharedSecret.ESCROW: "the 33 words of escrow share {place}, typed or scanned from the new card",
}
"""A new card and an old one of the same place can be in the room together."""


def share_groups(register: Register, secret: SharedSecret) -> tuple[ShareGroup, ...]:
    """Return who shares a secret: the SO secret the first group alone, the SWK all groups."""
    groups = register.groups[:1] if secret is SharedSecret.SO else register.groups
    return tuple(
        ShareGroup(group.name, group.threshold, len(register.holders(group.name)))
        for group in groups
    )


def so_shares(
    brief: Brief, section: str, *, book: BookFinder | None = None, register: Register | None = None
) -> tuple[Step, ...]:
    """Return steps ``section/so-share/person`` and ``section/so-combine``: after them the room's
    pins derive every SO PIN, and ``room.memory[SO_SECRET]`` has the secret.

    ``register`` tells who holds the shares of ``book`` (without: those in force). The first
    ``threshold`` officers of the group in the plan's order give theirs; raise InvalidInput if the
    plan names too few.
    """
    finder = book or BookFinder(SharedSecret.SO)
    people = quorum(brief, register or brief.register, SharedSecret.SO)
    combined = Step(
        id=f"{section}/so-combine",
        who=Part.ADMINISTRATOR,
        text="The program combines the shares to the SO secret and compares its check value. "
        "Until this section ends the tokens can be opened with it.",
        act=partial(_combine_so, finder),
    )
    return (*share_steps(section, SharedSecret.SO, people, finder), combined)


def escrow_shares(
    brief: Brief,
    section: str,
    generation: int | None = None,
    *,
    book: BookFinder | None = None,
    register: Register | None = None,
) -> tuple[Step, ...]:
    """Return steps ``section/escrow-share/person`` and ``section/escrow-combine``: after them
    ``room.memory[SWK]`` has the SWK of the generation (without: that in force). Else as
    ``so_shares``, with every group.
    """
    finder = book or BookFinder(SharedSecret.ESCROW, generation)
    people = quorum(brief, register or brief.register, SharedSecret.ESCROW)
    combined = Step(
        id=f"{section}/escrow-combine",
        who=Part.ADMINISTRATOR,
        text="The program combines the shares to the share wrapping key and compares its check "
        "value. The key is in memory until this section ends.",
        act=partial(_combine_swk, finder),
    )
    return (*share_steps(section, SharedSecret.ESCROW, people, finder), combined)


def quorum(brief: Brief, register: Register, secret: SharedSecret) -> tuple[Person, ...]:
    """Return the officers of the plan who give shares of a secret; raise InvalidInput."""
    officers = [register.person(name) for name in brief.plan.file.officers]
    chosen: list[Person] = []
    for group in share_groups(register, secret):
        members = [person for person in officers if person.group == group.name]
        if len(members) < group.threshold:
            raise InvalidInput(
                f"the plan names too few officers of group {group.name}: "
                f"{group.threshold} are needed"
            )
        chosen += members[: group.threshold]
    return tuple(chosen)


def share_steps(
    section: str, secret: SharedSecret, people: Sequence[Person], book: BookFinder
) -> tuple[Step, ...]:
    """Return a step a person in which they give their share in; see ``given``."""
    return tuple(_share_step(section, secret, person, book) for person in people)


def _share_step(section: str, secret: SharedSecret, person: Person, book: BookFinder) -> Step:
    values = {"person": person.display, "place": place_of(person.group, person.share)}
    so = secret is SharedSecret.SO
    what = _NEW_CARD if book.own else _OWN_CARD
    return Step(
        id=f"{section}/{secret}-share/{person.name}",
        who=person.name,
        text="{person} gives share {place} of the SO secret in, unseen by the others."
        if so
        else "{person} gives share {place} of the share wrapping key in, unseen by the others.",
        values=values,
        check=partial(_check_holder, person, book),
        act=partial(_take_share, person, book),
        asks=(Ask(person.name, what[secret], values),),
    )


def given(room: Room, secret: SharedSecret) -> dict[str, str]:
    """Return the words given in so far in this section, by ``group/index``."""
    words: dict[str, str] = room.memory.setdefault(f"given/{secret}", {})
    return words


def take_words(room: Room, person: Person, book: ShareBook, text: str) -> tuple[str, Facts]:
    """Let a person give exactly their share of the book, in three tries at most; return its words
    and what is public of that. Raise ShareRefused.
    """
    place, retries = place_of(person.group, person.share), list[str]()
    known = share_books(room.files)
    before = {share_digest(words) for words in given(room, book.secret).values()}
    while True:
        typed = room.people.take_words(person.name, text)
        try:
            words = identify(typed, place, book, known, before)
        except ShareRefused as error:
            retries.append(error.fault)
            if len(retries) == TRIES:
                raise
            room.people.say(error.message)
        else:
            return words, {"place": place, "retries": retries, "sha256": share_digest(words)}


def combine_given(room: Room, book: ShareBook) -> Facts:
    """Combine every quorum of the shares given in and keep the secret in ``room.memory``; raise
    InvalidInput for too few, IntegrityFailure.
    """
    words = given(room, book.secret)
    quorums = book.quorums(words)
    if not quorums:
        raise InvalidInput("too few shares were given in")
    for chosen in quorums:
        room.memory[MEMORY[book.secret]] = combine(chosen, book.check)
    return {
        "check": book.check,
        "generation": book.generation,
        "quorums": len(quorums),
        "shares": sorted(words),
        "split": book.split,
    }


def _take_share(person: Person, finder: BookFinder, room: Room) -> Facts:
    book = finder.find(room)
    place = place_of(person.group, person.share)
    text = _("{share}:").format(share=share_name(book.secret, place, book.generation, book.split))
    words, facts = take_words(room, person, book, text)
    given(room, book.secret)[place] = words
    return facts


def _check_holder(person: Person, finder: BookFinder, room: Room) -> None:
    if finder.own:
        return
    book, place = finder.find(room), place_of(person.group, person.share)
    if book.holders.get(place) != person.name:
        raise StateNotAllowed(
            f"{person.name} holds no share of generation {book.generation}, split {book.split}"
        )


def _combine_so(finder: BookFinder, room: Room) -> Facts:
    book = finder.find(room)
    facts = combine_given(room, book)
    room.pins.set_so_secret(room.memory[SO_SECRET], book.generation)
    return facts


def _combine_swk(finder: BookFinder, room: Room) -> Facts:
    return combine_given(room, finder.find(room))

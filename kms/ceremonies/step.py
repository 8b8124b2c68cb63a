"""The one step type. Engine, dry run, transcript and handbook all come from it.

A script is a tuple of sections, a section a tuple of steps. Within a section steps may hand
secrets on in memory; between sections nothing is in memory, everything lasting is durable. A
section that is interrupted is undone, last step first, and done again from its beginning; a
``forward`` section cannot be undone, so its steps bear being repeated.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from kms.ceremonies.room import Facts, Room

ENTER = "[Enter]"
"""What handbooks have for a line in which nothing but Enter is typed."""


def nothing(_room: Room) -> None:
    """Do nothing: the step has nothing to check, or nothing to undo."""


def accept(_room: Room, _facts: Facts) -> None:
    """Accept: the act proves itself."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One thing that a person types: who, and what in words. ``exact`` is what is typed, if the
    handbook can know it.
    """

    who: str
    what: str
    values: Mapping[str, str] = field(default_factory=dict)
    exact: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a ceremony.

    ``id`` is unique in its script. ``who`` is a part or a person's name. ``text`` is an English
    source text of the catalogue with {placeholders} of ``values``. ``check`` runs before anything
    is done (and again before the act): it asks for what must hold in the beginning and changes
    nothing. ``act`` does it and returns the facts. ``verify`` reads back. ``undo`` makes it as if
    it had not been, whatever part of it took place. ``confirm`` is what the administrator types
    before an act that cannot be undone.
    """

    id: str
    who: str
    text: str
    act: Callable[[Room], Facts]
    values: Mapping[str, str] = field(default_factory=dict)
    check: Callable[[Room], None] = nothing
    verify: Callable[[Room, Facts], None] = accept
    undo: Callable[[Room], None] = nothing
    confirm: str = ""
    asks: tuple[Ask, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """Steps that are done together or not at all; ``forward``: once begun it can only be ended."""

    id: str
    text: str
    steps: tuple[Step, ...]
    values: Mapping[str, str] = field(default_factory=dict)
    forward: bool = False


Script: TypeAlias = tuple[Section, ...]

"""A kind of ceremony: its name, whose approval it needs, its parameters, its script."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from kms.ceremonies.plan import Parameters
from kms.ceremonies.room import Brief, Room
from kms.ceremonies.step import Script, nothing


class Needs(StrEnum):
    """Whose quorum a ceremony needs."""

    SECURITY = "security"  # the register's first group
    EVERY_GROUP = "every-group"


@dataclass(frozen=True, slots=True)
class Ceremony:
    """One kind. ``title`` and ``purpose`` are source texts of the catalogue; ``example`` is a
    plan (TOML) for the handbook and for ``conclave ceremony plan new``. ``check`` looks at the
    plan's parameters against register and site, without touching anything, and raises
    InvalidInput; ``precheck`` looks at the site as it is. ``makes_root`` is the step that makes a
    site root, in the kinds that make one: no other step's facts can name one.
    """

    name: str
    title: str
    purpose: str
    needs: Needs
    parameters: type[Parameters]
    script: Callable[[Brief], Script]
    example: str
    check: Callable[[Brief], None]
    precheck: Callable[[Room], None] = nothing
    makes_root: str = ""

"""Links of the board that carry fields, and the fields that several pages read alike."""

from collections.abc import Sequence
from urllib.parse import urlencode

from kms.domain.ids import SpaceName, parse_space
from kms.domain.models import Space
from kms.errors import InvalidInput
from kms.web.visit import Visit


def href(path: str, **fields: object) -> str:
    """Return a link with those of the fields that say something."""
    said = {name: str(value) for name, value in fields.items() if value not in ("", None, False)}
    return f"{path}?{urlencode(said)}" if said else path


def chosen_space(visit: Visit, name: str = "space") -> SpaceName | str:
    """Return the space of a filter, empty if none was chosen; raise InvalidInput."""
    text = visit.query(name)
    return parse_space(text) if text else ""


def first_space(visit: Visit, spaces: Sequence[Space]) -> Space | None:
    """Return the space that a page of one space opens on: with the most open meetings as they were
    counted last, of several the first; None of none.
    """
    keys = visit.services.watched.facts.keys
    return max(
        spaces, key=lambda one: keys[one.space].open if one.space in keys else 0, default=None
    )


def chosen_flag(visit: Visit, name: str) -> bool:
    """Return whether a box was ticked; raise InvalidInput."""
    text = visit.query(name)
    if text not in {"", "1"}:
        raise InvalidInput("{field} is 1 or is left out", about={"field": name})
    return bool(text)

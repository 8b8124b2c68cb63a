"""The marker of an emergency seal: a file in the state directory that a reboot leaves.

Its presence alone seals; what it says is for people.
"""

from dataclasses import dataclass

BOX = ""
"""Stands for the whole box where a space could be named."""
SITE = "sealed/site"
SPACES = "sealed/spaces"


@dataclass(frozen=True, slots=True)
class Mark:
    """What a marker says: who sealed, when (seconds since 1970), and why; ``leaves`` is the size
    that the log had then, so that an unsealing that came later can be told from one before.
    """

    by: str
    when: int
    reason: str
    leaves: int = 0


def marker(space: str) -> str:
    """Return a marker's name below its directory; BOX has the site's."""
    return SITE if space == BOX else f"{SPACES}/{space}"

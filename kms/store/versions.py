"""The versions of rows as the log tells them, counted by kind and space."""

from collections import Counter
from collections.abc import Mapping


class Versions:
    """The last version of each row, by its key: ``<kind>/<space>/<rest>``, or ``<kind>/<rest>`` of
    the site's own.
    """

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._counts: Counter[str] = Counter()

    def learn(self, rows: Mapping[str, int]) -> None:
        """Take in rows with their new versions."""
        for key in rows:
            if key not in self._known:
                self._counts.update(_prefixes(key))
        self._known.update(rows)

    def of(self, key: str) -> int:
        """Return a row's version (0: there is none)."""
        return self._known.get(key, 0)

    def count(self, prefix: str) -> int:
        """Return how many keys begin so: with ``<kind>/``, ``<kind>/<space>/``, or anyhow."""
        return self._counts[prefix] if prefix else len(self._known)

    def spaces(self, kind: str) -> set[str]:
        """Return the spaces of a kind's rows."""
        places = (prefix.split("/") for prefix in self._counts)
        return {space for name, space, *rest in places if name == kind and rest}


def _prefixes(key: str) -> list[str]:
    """Return ``<kind>/`` and, of a key that has one, ``<kind>/<space>/``."""
    kind, *rest = key.split("/", 2)
    return [f"{kind}/", f"{kind}/{rest[0]}/"] if len(rest) > 1 else [f"{kind}/"]

"""What the log says that ceremonies have issued. The head on the site's token keeps the log from
being rolled back; a state directory has nothing that keeps it.
"""

from collections.abc import Iterator

from kms.audit.leaf import Leaf, Outcome, decode_leaf
from kms.ceremonies.ports import Issue, Issued
from kms.ports import Store
from kms.statements.canonical import canonical

_PAGE = 2000
_NUMBERED = {
    Issued.REGISTER: ("version", "sha256"),
    Issued.KEY_LIST: ("version", "sha256"),
    Issued.ESCROW: ("generation", "spki"),
}
"""Which details of a leaf are number and digest; the values of ``Issued`` are actions."""


def newest_issue(store: Store, what: Issued, but: str) -> Issue:
    """Return the highest number that a leaf of another actor than ``but`` tells. Of two leaves with
    one number the first counts: nothing is issued twice.
    """
    newest, names = Issue(0, ""), _NUMBERED[what]
    for leaf in _leaves(store, what):
        number, sha256 = (leaf.details.get(name) for name in names)
        if leaf.actor == but or not isinstance(number, int) or number <= newest.number:
            continue
        newest = Issue(number, str(sha256))
    return newest


def _leaves(store: Store, what: Issued) -> Iterator[Leaf]:
    position, mark = 0, b'"action":' + canonical(what.value)
    while page := store.leaves(position, _PAGE):
        position += len(page)
        found = (decode_leaf(data) for data in page if mark in data)
        yield from (
            leaf for leaf in found if (leaf.action, leaf.outcome) == (what.value, Outcome.SUCCEEDED)
        )

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
    Issued.REGISTER: ("register.change", "version", "sha256"),
    Issued.KEY_LIST: ("key-list.issue", "version", "sha256"),
    Issued.ESCROW: ("escrow.generate", "generation", "spki"),
    Issued.DISK_ESCROW: ("escrow.generate", "generation", "disk_spki"),
}
"""Which action tells of it, and which details of its leaf are number and digest."""


def newest_issue(store: Store, what: Issued, but: str) -> Issue:
    """Return the highest number that a leaf of another actor than ``but`` tells. Of two leaves with
    one number the first counts: nothing is issued twice.
    """
    newest, (action, *names) = Issue(0, ""), _NUMBERED[what]
    for leaf in _leaves(store, action):
        number, sha256 = (leaf.details.get(name) for name in names)
        if leaf.outcome is not Outcome.SUCCEEDED or leaf.actor == but:
            continue
        if isinstance(number, int) and number > newest.number:
            newest = Issue(number, str(sha256))
    return newest


def last_transcript(store: Store, but: str) -> str:
    """Return the digest of the last transcript that a leaf of another actor than ``but`` names."""
    last = ""
    for leaf in _leaves(store, "ceremony.run"):
        if leaf.actor != but:
            last = str(leaf.details.get("transcript", last))
    return last


def _leaves(store: Store, action: str) -> Iterator[Leaf]:
    position, mark = 0, b'"action":' + canonical(action)
    while page := store.leaves(position, _PAGE):
        position += len(page)
        found = (decode_leaf(data) for data in page if mark in data)
        yield from (leaf for leaf in found if leaf.action == action)

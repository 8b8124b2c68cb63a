"""Works on the keys of a disk, as the log tells them: announced, begun, committed, finished, never
after the disk was erased.
"""

from dataclasses import dataclass

from kms.audit.checks import Broken, Check, Tally
from kms.audit.disk_words import Begun, Committed, Finished, KekRotated, disk_place, disk_row
from kms.audit.facts import check_rows
from kms.audit.leaf import Leaf
from kms.audit.words import details
from kms.domain.disks import NEW_RECOVERY, Work

_FIRST = frozenset({Work.FORMAT, Work.ENCRYPT})
_TAKEN_OVER = frozenset({Work.SLOT, Work.RECOVERY, Work.RECOVER})
"""Works that a recovery takes the place of."""


@dataclass(slots=True)
class DiskFacts:
    """A disk as the log tells it. ``begun`` and ``committed``: how far its work is; ``keks``: the
    highest KEK version told of. ``escrow``: the generation that its recovery key is encrypted to,
    ``next_escrow`` that of the key which the work brings; 0: none.
    """

    serial: str
    work: Work
    begun: bool = False
    committed: bool = False
    keks: int = 0
    escrow: int = 0
    next_escrow: int = 0
    erased: bool = False


class Works:
    """Applies works; ``disks`` are the replay's own, by space and id."""

    def __init__(self, disks: dict[tuple[str, str], DiskFacts], tally: Tally) -> None:
        self._disks = disks
        self._tally = tally

    def begin(self, leaf: Leaf) -> None:
        """Apply disk.begin."""
        told, facts = details(leaf, Begun), self._worked(leaf)
        first, recovers = told.work in _FIRST, told.work is Work.RECOVER
        at_rest = facts.work is Work.NONE or (recovers and facts.work in _TAKEN_OVER)
        may = (facts.work is told.work and not facts.begun) if first else at_rest
        least = facts.keks + (first or recovers)
        facts.work, facts.begun, facts.committed = told.work, True, False
        facts.keks, facts.next_escrow = max(facts.keks, told.kek), told.escrow
        if not may or told.work in {Work.NONE, Work.ERASE}:
            raise broken("磁盘工序的次序有误", "a work that could not begin")
        if told.kek < least:
            raise _old_kek()
        if (told.escrow > 0) is not (told.work in NEW_RECOVERY):
            raise broken("恢复密钥的托管代数有误", "a recovery key and its escrow do not agree")

    def commit(self, leaf: Leaf) -> None:
        """Apply disk.commit."""
        told, facts = details(leaf, Committed), self._worked(leaf)
        may = facts.begun and not facts.committed and facts.work is told.work
        facts.committed, facts.escrow = True, facts.next_escrow or facts.escrow
        if not may:
            raise broken("磁盘工序的次序有误", "a commit of no work that had begun")

    def finish(self, leaf: Leaf) -> None:
        """Apply disk.finish."""
        told, facts = details(leaf, Finished), self._worked(leaf)
        may = facts.committed and facts.work is told.work
        facts.work, facts.begun, facts.committed = Work.NONE, False, False
        if not may:
            raise broken("磁盘工序的次序有误", "the end of no work that was committed")

    def rotate_kek(self, leaf: Leaf) -> None:
        """Apply disk.rotate-kek."""
        told, facts = details(leaf, KekRotated), self._worked(leaf)
        before, facts.keks = facts.keks, max(facts.keks, told.kek)
        if facts.work is not Work.NONE:
            raise broken("磁盘工序未完即更换 KEK", "another KEK while a work went on")
        if told.kek <= before:
            raise _old_kek()

    def change(self, leaf: Leaf) -> None:
        """Apply disk.change."""
        if self._worked(leaf).work is not Work.NONE:
            raise broken("磁盘工序未完即变更", "changed while a work went on")

    def living(self, leaf: Leaf) -> DiskFacts:
        """Return a disk that is enrolled and not erased; raise Broken."""
        facts = self._disks.get(disk_place(leaf))
        if facts is None:
            raise broken("磁盘从未登记", "the disk was never enrolled")
        if facts.erased:
            raise broken("磁盘擦除后仍有密钥操作", "a key operation on a disk that was erased")
        return facts

    def _worked(self, leaf: Leaf) -> DiskFacts:
        """Return a living disk whose own row, and no other, the leaf changes."""
        row = disk_row(*disk_place(leaf))
        self._tally.guard(lambda: check_rows(leaf, {row}), leaf.seq)
        return self.living(leaf)


def broken(zh: str, en: str) -> Broken:
    """Return what does not hold about a disk."""
    return Broken(Check.DISKS, zh, en)


def _old_kek() -> Broken:
    return broken("磁盘 KEK 的版本没有递增", "the KEK's version does not follow")

"""The Merkle tree of the audit log (RFC 9162, section 2.1; SHA-256) and the checks of its proofs.

``MerkleTree`` answers for every earlier size, ``CompactRange`` only sums up what it was fed.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from kms.errors import InvalidInput, VerificationFailed

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""Root of the tree without leaves."""


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf's bytes (section 2.1.1)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node (section 2.1.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class MerkleTree:
    """An append-only tree that keeps every perfect subtree's hash: 64 bytes a leaf.

    Appending costs amortised O(1), a root or proof for any size up to ``len`` O(log n). Proofs
    are lists of 32-byte hashes. Sizes and places outside the tree raise InvalidInput.
    """

    def __init__(self, leaf_hashes: Iterable[bytes] = ()) -> None:
        self._levels: list[bytearray] = [bytearray()]
        self._size = 0
        for leaf in leaf_hashes:
            self.append(leaf)

    def __len__(self) -> int:
        return self._size

    def append(self, leaf: bytes) -> int:
        """Add one leaf by its hash; return its place."""
        if len(leaf) != HASH_BYTES:
            raise InvalidInput("a leaf hash has 32 bytes")
        place = rest = self._size
        self._levels[0] += leaf
        level = 0
        while rest & 1:
            pair = bytes(self._levels[level][-2 * HASH_BYTES :])
            node = node_hash(pair[:HASH_BYTES], pair[HASH_BYTES:])
            level += 1
            if level == len(self._levels):
                self._levels.append(bytearray())
            self._levels[level] += node
            rest >>= 1
        self._size += 1
        return place

    def root(self, size: int) -> bytes:
        """Return the root over the first ``size`` leaves."""
        self._check_size(size)
        return self._range(0, size) if size else EMPTY_ROOT

    def inclusion_proof(self, seq: int, size: int) -> list[bytes]:
        """Return the path from leaf ``seq`` to the root over ``size`` leaves (section 2.1.3.1)."""
        self._check_size(size)
        if not 0 <= seq < size:
            raise InvalidInput("the tree of that size has no such leaf")
        path = []
        low, high = 0, size
        while high - low > 1:
            middle = low + _split(high - low)
            if seq < middle:
                path.append(self._range(middle, high))
                high = middle
            else:
                path.append(self._range(low, middle))
                low = middle
        return path[::-1]

    def consistency_proof(self, old: int, new: int) -> list[bytes]:
        """Return the proof that the tree of ``new`` leaves extends that of ``old``.

        It is empty for ``old`` 0 and for equal sizes (section 2.1.4.1).
        """
        self._check_size(new)
        if not 0 <= old <= new:
            raise InvalidInput("the older tree is not larger than the newer")
        if old == 0:
            return []
        path = []
        low, high = 0, new
        while high != old:
            middle = low + _split(high - low)
            if old <= middle:
                path.append(self._range(middle, high))
                high = middle
            else:
                path.append(self._range(low, middle))
                low = middle
        if low:
            path.append(self._range(low, high))
        return path[::-1]

    def _check_size(self, size: int) -> None:
        if not 0 <= size <= self._size:
            raise InvalidInput("the tree never had that size")

    def _range(self, low: int, high: int) -> bytes:
        width = high - low
        if width & (width - 1) == 0:
            level = width.bit_length() - 1
            at = (low >> level) * HASH_BYTES
            return bytes(self._levels[level][at : at + HASH_BYTES])
        middle = low + _split(width)
        return node_hash(self._range(low, middle), self._range(middle, high))


def _split(width: int) -> int:
    """Return the largest power of two smaller than ``width`` (at least 2)."""
    return 1 << ((width - 1).bit_length() - 1)


class CompactRange:
    """The root of a stream of leaves in O(log n) memory."""

    def __init__(self) -> None:
        self._peaks: list[bytes] = []
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def append(self, leaf: bytes) -> None:
        """Add one leaf by its hash."""
        node = leaf
        self._size += 1
        rest = self._size
        while not rest & 1:
            node = node_hash(self._peaks.pop(), node)
            rest >>= 1
        self._peaks.append(node)

    def root(self) -> bytes:
        """Return the root over everything added so far."""
        if not self._peaks:
            return EMPTY_ROOT
        node = self._peaks[-1]
        for peak in self._peaks[-2::-1]:
            node = node_hash(peak, node)
        return node


def inclusion_steps(
    leaf: bytes, seq: int, size: int, proof: Sequence[bytes]
) -> Iterator[tuple[bool, bytes]]:
    """Yield for each hash of an inclusion proof whether it stands to the left of what is known, and
    the node above both; the last one is the root (section 2.1.3.2).

    Raise VerificationFailed for a proof that does not fit ``seq`` and ``size``.
    """
    _check_shape(proof)
    if not 0 <= seq < size:
        raise VerificationFailed("the proof is for a leaf outside the tree")
    place, last, node = seq, size - 1, leaf
    for step in proof:
        if last == 0:
            raise VerificationFailed("the inclusion proof is too long")
        left = bool(place & 1) or place == last
        node = node_hash(step, node) if left else node_hash(node, step)
        if left:
            place, last = _skip_left_edge(place, last)
        yield left, node
        place, last = place >> 1, last >> 1
    if last != 0:
        raise VerificationFailed("the inclusion proof is too short")


def root_from_inclusion(leaf: bytes, seq: int, size: int, proof: Sequence[bytes]) -> bytes:
    """Return the root that an inclusion proof leads to; raise as ``inclusion_steps``."""
    node = leaf
    for _left, above in inclusion_steps(leaf, seq, size, proof):
        node = above
    return node


def verify_inclusion(leaf: bytes, seq: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Raise VerificationFailed unless the leaf with hash ``leaf`` is number ``seq`` of the tree."""
    if root_from_inclusion(leaf, seq, size, proof) != root:
        raise VerificationFailed("the inclusion proof leads to another root")


def verify_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Raise VerificationFailed unless the new tree extends the old (section 2.1.4.2).

    The empty tree (size 0, EMPTY_ROOT) is extended by every tree, with an empty proof.
    """
    _check_shape(proof)
    if not 0 <= old_size <= new_size:
        raise VerificationFailed("the older tree is larger than the newer")
    if old_size == 0 and old_root != EMPTY_ROOT:
        raise VerificationFailed("a tree without leaves has another root")
    if new_size == old_size and new_root != old_root:
        raise VerificationFailed("two trees of one size have different roots")
    if old_size in {0, new_size}:
        if proof:
            raise VerificationFailed("the consistency proof is too long")
        return
    if (old_root, new_root) != _roots_from_consistency(old_size, old_root, new_size, proof):
        raise VerificationFailed("the consistency proof leads to other roots")


def _roots_from_consistency(
    old_size: int, old_root: bytes, new_size: int, proof: Sequence[bytes]
) -> tuple[bytes, bytes]:
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    if not path:
        raise VerificationFailed("the consistency proof is too short")
    place, last = old_size - 1, new_size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old_node = new_node = path[0]
    for step in path[1:]:
        if last == 0:
            raise VerificationFailed("the consistency proof is too long")
        if place & 1 or place == last:
            old_node, new_node = node_hash(step, old_node), node_hash(step, new_node)
            place, last = _skip_left_edge(place, last)
        else:
            new_node = node_hash(new_node, step)
        place, last = place >> 1, last >> 1
    if last != 0:
        raise VerificationFailed("the consistency proof is too short")
    return old_node, new_node


def _skip_left_edge(place: int, last: int) -> tuple[int, int]:
    while place and not place & 1:
        place, last = place >> 1, last >> 1
    return place, last


def _check_shape(proof: Sequence[bytes]) -> None:
    if any(len(step) != HASH_BYTES for step in proof):
        raise VerificationFailed("a proof is made of 32-byte hashes")

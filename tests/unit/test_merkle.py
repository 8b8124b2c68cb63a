"""The tree against published vectors, a naive recursive reading of RFC 9162, and tampering."""

import hashlib
import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kms.audit.merkle import (
    EMPTY_ROOT,
    CompactRange,
    MerkleTree,
    leaf_hash,
    node_hash,
    root_from_inclusion,
    verify_consistency,
    verify_inclusion,
)
from kms.errors import InvalidInput, VerificationFailed

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "merkle.json").read_text())
LEAVES = [bytes.fromhex(leaf) for leaf in VECTORS["leaves"]]


def naive_root(leaves):
    """MTH of RFC 9162, section 2.1.1, word for word."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = largest_power_below(len(leaves))
    return hashlib.sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(m, leaves):
    """PATH of RFC 9162, section 2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = largest_power_below(len(leaves))
    if m < k:
        return [*naive_path(m, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(m - k, leaves[k:]), naive_root(leaves[:k])]


def naive_subproof(m, leaves, whole):
    """SUBPROOF of RFC 9162, section 2.1.4.1."""
    if m == len(leaves):
        return [] if whole else [naive_root(leaves)]
    k = largest_power_below(len(leaves))
    if m <= k:
        return [*naive_subproof(m, leaves[:k], whole), naive_root(leaves[k:])]
    return [*naive_subproof(m - k, leaves[k:], False), naive_root(leaves[:k])]


def largest_power_below(n):
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def data(count):
    return [b"leaf %d" % number for number in range(count)]


def grown(leaves):
    return MerkleTree(leaf_hash(leaf) for leaf in leaves)


@pytest.fixture(scope="module")
def big():
    return grown(data(300))


@st.composite
def sizes(draw, least=1, most=300):
    new = draw(st.integers(least, most))
    return draw(st.integers(0, new)), new


def flipped(value, bit):
    changed = bytearray(value)
    changed[bit // 8 % len(value)] ^= 1 << bit % 8
    return bytes(changed)


def test_roots_are_those_of_the_certificate_transparency_vectors():
    tree = grown(LEAVES)
    assert [tree.root(n).hex() for n in range(len(LEAVES) + 1)] == VECTORS["roots"]


@pytest.mark.parametrize("vector", VECTORS["inclusion"], ids=str)
def test_inclusion_proofs_are_those_of_the_vectors(vector):
    proof = [bytes.fromhex(step) for step in vector["proof"]]
    tree = grown(LEAVES)
    assert tree.inclusion_proof(vector["leaf"], vector["size"]) == proof
    leaf, root = leaf_hash(LEAVES[vector["leaf"]]), tree.root(vector["size"])
    verify_inclusion(leaf, vector["leaf"], vector["size"], proof, root)


@pytest.mark.parametrize("vector", VECTORS["consistency"], ids=str)
def test_consistency_proofs_are_those_of_the_vectors(vector):
    proof = [bytes.fromhex(step) for step in vector["proof"]]
    tree = grown(LEAVES)
    old, new = vector["old"], vector["new"]
    assert tree.consistency_proof(old, new) == proof
    verify_consistency(old, tree.root(old), new, tree.root(new), proof)


@pytest.mark.parametrize("size", range(34))
def test_tree_and_proofs_equal_a_naive_reading_of_the_rfc(size):
    leaves, tree = data(size), grown(data(40))
    assert tree.root(size) == naive_root(leaves)
    for seq in range(size):
        assert tree.inclusion_proof(seq, size) == naive_path(seq, leaves)
    for old in range(1, size + 1):
        assert tree.consistency_proof(old, size) == naive_subproof(old, leaves, True)


@given(sizes())
def test_every_inclusion_proof_verifies(big, pair):
    seq, size = pair[0] % pair[1], pair[1]
    leaf = leaf_hash(data(300)[seq])
    verify_inclusion(leaf, seq, size, big.inclusion_proof(seq, size), big.root(size))


@given(sizes())
def test_every_consistency_proof_verifies(big, pair):
    old, new = pair
    proof = big.consistency_proof(old, new)
    verify_consistency(old, big.root(old), new, big.root(new), proof)


@given(sizes(), st.integers(0, 10_000))
def test_any_changed_bit_breaks_an_inclusion_proof(big, pair, bit):
    seq, size = pair[0] % pair[1], pair[1]
    parts = [leaf_hash(data(300)[seq]), big.root(size), *big.inclusion_proof(seq, size)]
    at = bit // 256 % len(parts)
    parts[at] = flipped(parts[at], bit)
    with pytest.raises(VerificationFailed):
        verify_inclusion(parts[0], seq, size, parts[2:], parts[1])


@given(sizes(), st.integers(0, 10_000))
def test_any_changed_bit_breaks_a_consistency_proof(big, pair, bit):
    old, new = max(pair[0], 1), pair[1]
    parts = [big.root(old), big.root(new), *big.consistency_proof(old, new)]
    at = bit // 256 % len(parts)
    parts[at] = flipped(parts[at], bit)
    with pytest.raises(VerificationFailed):
        verify_consistency(old, parts[0], new, parts[1], parts[2:])


@given(sizes(least=2), st.integers(0, 299))
def test_an_inclusion_proof_holds_for_no_other_place(big, pair, other):
    seq, size = pair[0] % pair[1], pair[1]
    if other == seq:
        other = (seq + 1) % 300
    proof, leaf = big.inclusion_proof(seq, size), leaf_hash(data(300)[seq])
    with pytest.raises(VerificationFailed):
        verify_inclusion(leaf, other, size, proof, big.root(size))


@given(sizes(least=2), st.integers(1, 400))
def test_a_consistency_proof_holds_for_no_other_sizes(big, pair, other):
    old, new = max(pair[0], 1), pair[1]
    proof = big.consistency_proof(old, new)
    assume(old not in {other, new})
    with pytest.raises(VerificationFailed):
        verify_consistency(other, big.root(old), new, big.root(new), proof)


@pytest.mark.parametrize("change", [lambda p: p[:-1], lambda p: [*p, p[0]], lambda p: p[::-1]])
def test_proofs_that_are_cut_lengthened_or_reordered_fail(big, change):
    inclusion, consistency = big.inclusion_proof(77, 201), big.consistency_proof(77, 201)
    with pytest.raises(VerificationFailed):
        verify_inclusion(leaf_hash(data(78)[77]), 77, 201, change(inclusion), big.root(201))
    with pytest.raises(VerificationFailed):
        verify_consistency(77, big.root(77), 201, big.root(201), change(consistency))


def test_a_proof_of_short_hashes_fails(big):
    with pytest.raises(VerificationFailed):
        root_from_inclusion(big.root(1), 0, 2, [b"short"])


@pytest.mark.parametrize(("seq", "size"), [(-1, 4), (4, 4), (0, 0)])
def test_a_proof_for_a_leaf_outside_the_tree_fails(seq, size):
    with pytest.raises(VerificationFailed):
        root_from_inclusion(bytes(32), seq, size, [])


def test_the_empty_tree_is_extended_by_every_tree_with_the_empty_proof_only(big):
    verify_consistency(0, EMPTY_ROOT, 5, big.root(5), [])
    with pytest.raises(VerificationFailed):
        verify_consistency(0, EMPTY_ROOT, 5, big.root(5), [bytes(32)])
    with pytest.raises(VerificationFailed):
        verify_consistency(0, bytes(32), 5, big.root(5), [])


def test_a_smaller_tree_does_not_extend_a_larger(big):
    with pytest.raises(VerificationFailed):
        verify_consistency(5, big.root(5), 4, big.root(4), [])


def test_two_different_trees_of_one_size_are_not_consistent(big):
    with pytest.raises(VerificationFailed):
        verify_consistency(5, big.root(5), 5, big.root(6), [])


@given(st.integers(0, 300))
def test_a_compact_range_has_the_root_of_the_tree(big, size):
    compact = CompactRange()
    for leaf in data(size):
        compact.append(leaf_hash(leaf))
    assert (len(compact), compact.root()) == (size, big.root(size))


def test_old_roots_stay_the_same_while_the_tree_grows():
    tree, seen = MerkleTree(), []
    for place, leaf in enumerate(data(70)):
        assert tree.append(leaf_hash(leaf)) == place
        seen.append(tree.root(place + 1))
    assert [tree.root(size) for size in range(1, 71)] == seen
    assert all(a != b for a, b in pairwise(seen))


def test_proofs_stay_short_in_a_large_tree():
    tree = MerkleTree(node_hash(bytes(31) + b"%c" % (n % 251), bytes(32)) for n in range(100_000))
    assert len(tree.inclusion_proof(12_345, 99_999)) <= 17
    assert len(tree.consistency_proof(12_345, 99_999)) <= 18


@pytest.mark.parametrize(
    "ask",
    [
        lambda tree: tree.root(9),
        lambda tree: tree.root(-1),
        lambda tree: tree.inclusion_proof(8, 8),
        lambda tree: tree.inclusion_proof(-1, 8),
        lambda tree: tree.inclusion_proof(0, 9),
        lambda tree: tree.consistency_proof(5, 4),
        lambda tree: tree.consistency_proof(-1, 4),
        lambda tree: tree.consistency_proof(4, 9),
        lambda tree: tree.append(b"not a hash"),
    ],
)
def test_places_and_sizes_outside_the_tree_are_refused(ask):
    with pytest.raises(InvalidInput):
        ask(grown(data(8)))

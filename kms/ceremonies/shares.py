"""Splits the share wrapping key (SWK) by SLIP-39 and proves the shares. The only user of
shamir-mnemonic, which has no side-channel hardening: ceremonies only, never in the service.

No passphrase is used, since a wrong one gives a wrong secret without a word; the check value
decides whether what was combined is the SWK.
"""

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from itertools import combinations, product

from shamir_mnemonic import (  # type: ignore[import-untyped]
    MnemonicError,
    combine_mnemonics,
    generate_mnemonics,
)

from kms.ceremonies.ports import Custodians, Share, ShareGroup
from kms.errors import IntegrityFailure

_CHECK_LABEL = b"conclave-swk-check-v1"
_CHECK_BYTES = 8


def split(swk: bytes, groups: Sequence[ShareGroup]) -> list[Share]:
    """Return the shares of a 32-byte SWK; every group is needed to combine it."""
    sizes = [(group.threshold, group.count) for group in groups]
    words = generate_mnemonics(len(groups), sizes, swk)
    return [
        Share(group.name, index, text)
        for group, members in zip(groups, words, strict=True)
        for index, text in enumerate(members, start=1)
    ]


def combine(words: Iterable[str], check: str) -> bytes:
    """Return the SWK from exactly the threshold of shares of every group.

    Raise IntegrityFailure if they do not combine or the check value differs.
    """
    try:
        swk: bytes = combine_mnemonics(words)
    except MnemonicError:
        # Its text quotes words of the share.
        raise IntegrityFailure("the shares do not combine") from None
    if not hmac.compare_digest(check_value(swk), check):
        raise IntegrityFailure("the shares combine to another key: a share is wrong")
    return swk


def check_value(swk: bytes) -> str:
    """Return the SWK's check value: 8 bytes of HMAC-SHA256 under it, in hex. It is not secret."""
    return hmac.digest(swk, _CHECK_LABEL, "sha256")[:_CHECK_BYTES].hex()


def share_digest(words: str) -> str:
    """Return SHA-256 (hex) of a share, logged so that a bad one can be named."""
    return hashlib.sha256(words.encode()).hexdigest()


def distribute(
    shares: Sequence[Share], groups: Sequence[ShareGroup], check: str, custodians: Custodians
) -> None:
    """Hand every share to its holder, have each read back, and combine what was read.

    Every set of holders that suffices is tried. Raise IntegrityFailure, naming the share that
    was read differently.
    """
    read: dict[str, list[str]] = {group.name: [] for group in groups}
    for share in shares:
        custodians.hand_over(share)
    for share in shares:
        words = custodians.read_back(share.group, share.index)
        if share_digest(words) != share_digest(share.words):
            raise IntegrityFailure(f"share {share.index} of {share.group} was read differently")
        read[share.group].append(words)
    quorums = [combinations(read[group.name], group.threshold) for group in groups]
    for quorum in product(*quorums):
        combine((words for members in quorum for words in members), check)

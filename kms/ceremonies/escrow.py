"""Escrow: a key generation whose private half is nowhere, except under a key that people share."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from kms.ceremonies.ports import CeremonyToken, Custodians, EscrowPair, ShareGroup
from kms.ceremonies.shares import check_value, distribute, share_digest, split

SWK_BYTES = 32


@dataclass(frozen=True, slots=True)
class EscrowGeneration:
    """What is left of the step, nothing of it secret.

    ``pair`` has the private half wrapped; ``check`` is the SWK's check value; ``share_digests``
    hold the SHA-256 of each share as ``group/index``.
    """

    generation: int
    pair: EscrowPair
    check: str
    share_digests: dict[str, str]


def generate_escrow(
    token: CeremonyToken, generation: int, groups: Sequence[ShareGroup], custodians: Custodians
) -> EscrowGeneration:
    """Make an escrow key, wrap it by a new SWK, split the SWK and prove shares and blob.

    The SWK is HSM random xor OS random, so neither generator decides it. Nothing trusts the key
    yet: that comes last (``CeremonyToken.trust_escrow``), when every share has been read back.
    Raise IntegrityFailure if a share or the blob does not prove.
    """
    swk = _xor(token.random(SWK_BYTES), os.urandom(SWK_BYTES))
    pair = token.generate_escrow(swk)
    token.prove_escrow(swk, pair)
    check, shares = check_value(swk), split(swk, groups)
    distribute(shares, groups, check, custodians)
    digests = {f"{share.group}/{share.index}": share_digest(share.words) for share in shares}
    return EscrowGeneration(generation, pair, check, digests)


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))

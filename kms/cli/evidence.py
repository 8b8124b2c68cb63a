"""Takes evidence away, through the API or from the store, and checks a proof."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kms.audit.gathering import gather, newest_checkpoint
from kms.audit.merkle import leaf_hash, verify_inclusion
from kms.audit.note import unverified_checkpoint
from kms.client.api import Client

if TYPE_CHECKING:
    from kms.usecases.stored_evidence import StoredEvidence


def export_bundle(client: Client, out: Path, progress: Callable[[int], None]) -> dict[str, Any]:
    """Write the bundle and return what it holds; raise AlreadyExists, VerificationFailed."""
    spaces = [one.space for one in client.spaces().items]
    return gather(client, spaces, client.key_list().key_list, out, progress)


def export_stored(
    stored: "StoredEvidence", out: Path, progress: Callable[[int], None]
) -> dict[str, Any]:
    """Write the bundle from the store and return what it holds; raise as ``export_bundle``."""
    return gather(stored, stored.space_names(), stored.key_list(), out, progress)


def checked_proof(client: Client, leaf: int) -> dict[str, Any]:
    """Return a leaf whose proof leads to the newest checkpoint's root.

    Raise VerificationFailed. Whether the checkpoint's signature holds is for the offline verifier,
    which has the site root.
    """
    newest = newest_checkpoint(client)
    proof = client.proof(leaf, newest.size)
    root = unverified_checkpoint(newest.note).root
    hashes = [base64.b64decode(one) for one in proof.hashes]
    verify_inclusion(leaf_hash(proof.body.encode()), leaf, newest.size, hashes, root)
    return proof.model_dump(mode="json")

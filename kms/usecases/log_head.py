"""The head of the audit log, and one entry with its proof, checked again before they are shown.

The bytes are read from the disk, the proof from the tree in memory: where they part, the entry was
altered since the service started.
"""

from dataclasses import dataclass

from kms.audit.leaf import Leaf, decode_exact_leaf, decode_leaf
from kms.audit.merkle import inclusion_steps, leaf_hash
from kms.audit.note import Checkpoint, signers, unverified_checkpoint
from kms.errors import ConclaveError, IntegrityFailure, InvalidInput, NotFound
from kms.policy.authorizer import NOT_THERE, Target
from kms.ports import Store
from kms.statements.canonical import unb64u
from kms.statements.keylist import KeyList, KeyUse, load_ec, verify_keylist
from kms.usecases.approvals.registers import site_root
from kms.usecases.log_walk import CheckpointKeys
from kms.usecases.services import Call, Services, authorize


@dataclass(frozen=True, slots=True)
class Vouched:
    """A signed checkpoint. ``until``: when the last entry under it was written (RFC 3339);
    ``problem``: the code of why its signature does not hold, empty if it does; ``witnesses``: other
    names that it is signed in, not checked.
    """

    checkpoint: Checkpoint
    note: str
    until: str
    problem: str
    witnesses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LogHead:
    """How long the log is, its root, when its last entry was written (RFC 3339; empty: none), and
    its newest checkpoint.
    """

    size: int
    root: bytes
    written: str
    newest: Vouched | None


@dataclass(frozen=True, slots=True)
class Step:
    """A hash of a proof: whether it stands to the left of what is known, and what follows."""

    left: bool
    sibling: bytes
    node: bytes


@dataclass(frozen=True, slots=True)
class Proved:
    """An entry, its bytes, and the way from its hash to the root of the tree of ``size`` entries;
    ``signed``: a checkpoint is about that tree.
    """

    leaf: Leaf
    body: bytes
    hash: bytes
    size: int
    root: bytes
    steps: tuple[Step, ...]
    signed: bool

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """The audit path (RFC 9162, section 2.1.3)."""
        return tuple(step.sibling for step in self.steps)


async def log_head(services: Services, call: Call) -> LogHead:
    """Return the log's head."""
    await authorize(services, call, Target(), "audit")
    store = services.store
    size, found = store.tree_size(), store.last_checkpoint()
    newest = _vouched(services, *found) if found else None
    return LogHead(size, store.root(size), _written(store, size), newest)


async def prove(services: Services, call: Call, seq: int) -> Proved:
    """Return an entry and what proves that it stands in the log: under the newest checkpoint, or,
    while that does not cover it, under the present head.

    Raise NotFound; IntegrityFailure for an entry that is not the one that is proved.
    """
    await authorize(services, call, Target(), "audit")
    store, newest = services.store, services.store.last_checkpoint()
    if seq >= store.tree_size():
        raise NotFound(NOT_THERE)
    signed = newest is not None and seq < newest[0]
    checkpoint = unverified_checkpoint(newest[1]) if newest and signed else None
    size = checkpoint.size if checkpoint else store.tree_size()
    root = checkpoint.root if checkpoint else store.root(size)
    (body,) = store.leaves(seq, 1)
    path = store.inclusion_proof(seq, size)
    above = inclusion_steps(leaf_hash(body), seq, size, path)
    steps = tuple(Step(left, one, node) for one, (left, node) in zip(path, above, strict=True))
    if (steps[-1].node if steps else leaf_hash(body)) != root:
        raise IntegrityFailure(
            "entry {number} of the log is not the one that was signed",
            hint="seal the box, keep its disks, and verify an exported bundle offline",
            about={"number": seq},
        )
    return Proved(_exact(body, seq), body, leaf_hash(body), size, root, steps, signed)


def _exact(body: bytes, seq: int) -> Leaf:
    try:
        return decode_exact_leaf(body)
    except InvalidInput as error:
        raise IntegrityFailure(
            "entry {number} of the log is none", about={"number": seq}
        ) from error


def _written(store: Store, size: int) -> str:
    """Return when the last of so many entries was written."""
    return decode_leaf(store.leaves(size - 1, 1)[0]).time if size else ""


def _vouched(services: Services, size: int, note: str) -> Vouched:
    checkpoint = unverified_checkpoint(note)
    problem = ""
    try:
        checkpoint_keys(services).check(note, size)
    except ConclaveError as error:
        problem = error.code
    others = tuple(one for one in signers(note) if one != checkpoint.origin)
    return Vouched(checkpoint, note, _written(services.store, size), problem, others)


def checkpoint_keys(services: Services) -> CheckpointKeys:
    """Return the keys that sign checkpoints by the site's key list, under the site root that the
    state directory keeps; raise ConfigurationError, VerificationFailed.
    """
    known: KeyList = verify_keylist(services.key_list, site_root(services.settings.paths.state))
    keys = (
        load_ec(unb64u(one.spki), one.kid)
        for one in known.keys
        if one.use is KeyUse.CHECKPOINT and not one.space
    )
    return CheckpointKeys(known.iss, tuple(keys))

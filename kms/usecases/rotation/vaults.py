"""Vault keys: which versions a space has, what depends on each, when the next one is due; how
people pause the move of keys to the newest, and destroy an older one by an approved request.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from kms.audit.leaf import Outcome, Phase
from kms.domain.approvals import VaultTarget
from kms.domain.ids import RecipientId, SpaceName
from kms.domain.models import Recipient, RecipientKind
from kms.domain.rows import RowKind
from kms.errors import IntegrityFailure, InvalidInput, StateNotAllowed
from kms.policy.authorizer import Target
from kms.ports import PutMark, RetireOrder, Store, Unit
from kms.statements.request import CheckedRequest
from kms.usecases.approvals.effect import Effect
from kms.usecases.policies import policy_in_force
from kms.usecases.queries import present_spaces
from kms.usecases.rotation.progress import Counted
from kms.usecases.services import Call, Services, authorize

_PAUSED = "reseal-paused/{}"
_COUNTING = "vault keys are counted"
_REST = 10
"""A count is good for so many times as long as it took."""

Kept = Mapping[RecipientId, Counter[SpaceName]]


@dataclass(frozen=True, slots=True)
class VaultVersion:
    """One vault key. ``kept``: of how many epochs it has an envelope, of other spaces' too;
    ``registered`` and ``retired`` in seconds since 1970 (0: in use); ``retirable``: nothing depends
    on it, so people can have it destroyed.
    """

    recipient: RecipientId
    version: int
    registered: int
    retired: int
    kept: int
    retirable: bool


@dataclass(frozen=True, slots=True)
class SpaceVaults:
    """A space's vault keys, oldest first. ``due`` is when the next one is (0: never), ``left`` how
    many epochs wait to be moved to the newest; ``done`` and ``per_second`` tell of this process,
    ``failed`` are the epochs that it could not move, with the code of what was wrong.
    """

    space: SpaceName
    versions: tuple[VaultVersion, ...]
    due: int
    overdue: bool
    paused: bool
    left: int
    done: int
    per_second: int
    failed: tuple[tuple[str, str], ...]

    @property
    def attention(self) -> bool:
        """Whether people have to do something about it."""
        return self.overdue or bool(self.failed) or any(one.retirable for one in self.versions)


async def vault_status(services: Services, call: Call) -> list[SpaceVaults]:
    """Return the vault keys of the spaces that the caller may know of and that are not sealed."""
    await authorize(services, call, Target(), "vaults")
    spaces = await present_spaces(services, call)
    open_ones = (one.space for one in spaces if not services.seals.holds(one.space))
    return [await _status(services, space) for space in open_ones]


async def set_paused(services: Services, call: Call, space: SpaceName, *, paused: bool) -> None:
    """Pause the move of a space's keys, or go on with it, also with what failed before.

    Holds beyond a restart. Raise NotFound, StoreUnavailable.
    """
    place = f"spaces/{space}/reseal"
    await authorize(services, call, Target(space=space), place)
    await services.cache.space(space)
    leaf = call.leaf(space, place, Phase.EVENT, Outcome.SUCCEEDED)
    await services.store.commit(Unit((PutMark(_PAUSED.format(space), int(paused)),), (leaf,)))
    if not paused:
        services.reseals[space].failed.clear()


def is_paused(store: Store, space: SpaceName) -> bool:
    """Whether people have paused the move of a space's keys."""
    return bool(store.mark(_PAUSED.format(space), 0))


async def vaults_of(services: Services, space: SpaceName) -> list[Recipient]:
    """Return every vault key that a space ever had, oldest first; raise IntegrityFailure."""
    found = [await services.cache.admit(one) for one in services.store.recipients(space)]
    records = [cast("Recipient", one.record) for one in found]
    vaults = (one for one in records if one.kind is RecipientKind.VAULT)
    return sorted(vaults, key=lambda one: (one.version, one.registered))


async def count_kept(services: Services, known: Sequence[Recipient]) -> Kept:
    """Return of how many epochs of each space each vault key has an envelope, for people to see.

    To count looks at every envelope: one count goes on at a time, and is good for a while.
    """
    async with services.locks.of(_COUNTING):
        counted = services.reseals.counted
        for one in known:
            begun = time.monotonic()
            if one.recipient in counted and begun < counted[one.recipient].until:
                continue
            kept, end = await services.store.count_kept(one.recipient), time.monotonic()
            counted[one.recipient] = Counted(kept, end + _REST * (end - begun))
        return {one.recipient: counted[one.recipient].kept for one in known}


def retirable(
    services: Services, space: SpaceName, known: Sequence[Recipient], kept: Kept
) -> list[Recipient]:
    """Return the older ones of a space's vault keys that nothing depends on; none while it is told
    of keys that could not be moved.
    """
    older = [one for one in known if not one.revoked][:-1]
    failed = services.reseals[space].failed
    return [one for one in older if not failed and not kept[one.recipient].total()]


async def vault_due(services: Services, space: SpaceName, newest: Recipient) -> int:
    """Return when a space's next vault key is due by its policy (0: never)."""
    period = (await policy_in_force(services, space))[0].rotation.vault_seconds
    return newest.registered + period if period else 0


async def _status(services: Services, space: SpaceName) -> SpaceVaults:
    progress, vaults = services.reseals[space], await vaults_of(services, space)
    live = [one for one in vaults if not one.revoked]
    kept = await count_kept(services, live)
    done_with = retirable(services, space, vaults, kept)
    versions = tuple(
        VaultVersion(
            one.recipient,
            one.version,
            one.registered,
            one.revoked,
            0 if one.revoked else kept[one.recipient].total(),
            one in done_with,
        )
        for one in vaults
    )
    due = await vault_due(services, space, live[-1]) if live else 0
    return SpaceVaults(
        space,
        versions,
        due,
        overdue=bool(due) and services.seconds() >= due,
        paused=is_paused(services.store, space),
        left=sum(kept[one.recipient][space] for one in live[:-1]),
        done=progress.done,
        per_second=progress.per_second,
        failed=tuple(sorted(progress.failed.items())),
    )


# --- the end of a vault key -----------------------------------------------------------------------


async def prepare_retire(services: Services, call: Call, checked: CheckedRequest) -> Effect:
    """Return the revocation of an older vault key, which is then destroyed. Raise StateNotAllowed
    for the newest, an unknown or a retired one, and while anything depends on it; IntegrityFailure.
    """
    del call
    target, space = checked.parameters, SpaceName(checked.wanted.space)
    if not isinstance(target, VaultTarget):
        raise InvalidInput("the request names no vault key")
    vaults = await vaults_of(services, space)
    old = _older(vaults, target.version)
    kept = await services.store.count_kept(old.recipient)
    if old not in retirable(services, space, [old, vaults[-1]], {old.recipient: kept}):
        raise StateNotAllowed(
            "{kept} keys depend on vault key {version}, and {failed} could not be moved",
            hint="see conclave vault status; conclave vault resume tries those again",
            about={
                "kept": kept.total(),
                "version": old.version,
                "failed": len(services.reseals[space].failed),
            },
        )
    version = services.store.row_version(f"recipient/{space}/{old.recipient}")
    return Effect(
        f"spaces/{space}/recipients/{old.recipient}",
        ((replace(old, revoked=services.seconds()), version + 1),),
        details={"version": old.version},
    )


def _older(vaults: Sequence[Recipient], version: int) -> Recipient:
    """Return the older vault key of a version; raise StateNotAllowed."""
    known = [one for one in vaults if one.version == version]
    live = [one for one in vaults if not one.revoked]
    about = {"version": version}
    if not known:
        raise StateNotAllowed("the space has no vault key {version}", about=about)
    found = [one for one in known if one in live]
    if not found:
        raise StateNotAllowed("vault key {version} is destroyed already", about=about)
    if found[0] == live[-1]:
        raise StateNotAllowed("new keys go to vault key {version}", about=about)
    return found[0]


async def destroy_retired(services: Services, call: Call, checked: CheckedRequest) -> None:
    """Have the token destroy the vault key that a request revoked; nothing if it is gone already.

    Raise IntegrityFailure, HsmUnavailable; then it is to be tried again.
    """
    del call
    wanted, target = checked.wanted, checked.parameters
    space, request = SpaceName(wanted.space), services.store.request(wanted.id)
    if not isinstance(target, VaultTarget) or request is None:
        raise IntegrityFailure("the request that was carried out is gone")
    state = services.settings.paths.state
    register = services.registers.once_in_force(services.store, state, wanted.register).token
    for one in await vaults_of(services, space):
        row = services.store.row(RowKind.RECIPIENT, f"recipient/{space}/{one.recipient}")
        if one.revoked and one.version == target.version and row is not None:
            order = RetireOrder(request, register, row)
            await services.workers.space(space).retire_vault(order)

"""Vault keys: which versions a space has, what depends on each, when the next one is due; and how
people pause the move of keys to the newest.
"""

from dataclasses import dataclass
from typing import cast

from kms.audit.leaf import Outcome, Phase
from kms.domain.ids import RecipientId, SpaceName
from kms.domain.models import Recipient, RecipientKind
from kms.policy.authorizer import Target
from kms.ports import PutMark, Store, Unit
from kms.usecases.policies import policy_in_force
from kms.usecases.queries import present_spaces
from kms.usecases.services import Call, Services, authorize

_PAUSED = "reseal-paused/{}"


@dataclass(frozen=True, slots=True)
class VaultVersion:
    """One vault key. ``kept``: of how many epochs it has an envelope, of other spaces' too;
    ``registered`` and ``retired`` in seconds since 1970 (0: in use).
    """

    recipient: RecipientId
    version: int
    registered: int
    retired: int
    kept: int


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
        return self.overdue or bool(self.failed)


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


def count_kept(store: Store, recipient: RecipientId) -> int:
    """Return of how many epochs, of whichever space, a vault key has an envelope."""
    spaces = (SpaceName(one.row.key.partition("/")[2]) for one in store.spaces())
    return sum(store.count_kept_for(space, recipient) for space in spaces)


async def vault_due(services: Services, space: SpaceName, newest: Recipient) -> int:
    """Return when a space's next vault key is due by its policy (0: never)."""
    period = (await policy_in_force(services, space))[0].rotation.vault_seconds
    return newest.registered + period if period else 0


async def _status(services: Services, space: SpaceName) -> SpaceVaults:
    store, progress = services.store, services.reseals[space]
    vaults = await vaults_of(services, space)
    versions = tuple(
        VaultVersion(
            one.recipient,
            one.version,
            one.registered,
            one.revoked,
            0 if one.revoked else count_kept(store, one.recipient),
        )
        for one in vaults
    )
    live = [one for one in vaults if not one.revoked]
    due = await vault_due(services, space, live[-1]) if live else 0
    return SpaceVaults(
        space,
        versions,
        due,
        overdue=bool(due) and services.seconds() >= due,
        paused=is_paused(store, space),
        left=sum(store.count_kept_for(space, one.recipient) for one in live[:-1]),
        done=progress.done,
        per_second=progress.per_second,
        failed=tuple(sorted(progress.failed.items())),
    )

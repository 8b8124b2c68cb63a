"""Vault keys: what there is, and the pause of moving keys to the newest."""

from collections.abc import Sequence

from starlette.responses import Response

from kms.api.context import Context
from kms.api.endpoints import Endpoint, json_reply
from kms.api.routes.meetings import Nothing
from kms.usecases.queries import unknown_spaces
from kms.usecases.rotation.vaults import SpaceVaults, VaultVersion, set_paused, vault_status
from kms.usecases.veil import is_hidden
from kms.wire.base import rfc3339
from kms.wire.vaults import FailedEpochOut, ResealOut, SpaceVaultsOut, VaultList, VaultVersionOut

_SHOWN = 100


def endpoints() -> tuple[Endpoint, ...]:
    """Return the endpoints."""
    return (
        Endpoint("vault.read", _read, VaultList),
        Endpoint("reseal.pause", _pause, ResealOut, Nothing),
        Endpoint("reseal.resume", _resume, ResealOut, Nothing),
    )


async def _read(context: Context) -> Response:
    context.query()
    found = await vault_status(context.services, context.call)
    items = tuple([await _shown(context, one) for one in found])
    unknown = await unknown_spaces(context.services, context.call)
    return json_reply(VaultList(items=items, unknown=tuple(unknown)))


async def _shown(context: Context, found: SpaceVaults) -> SpaceVaultsOut:
    """Show a space's vault keys; of a confidential meeting's key operators read no name."""
    failed = []
    for key, code in found.failed[:_SHOWN]:
        kind, space, meeting, _epoch = key.split("/")
        hidden = await is_hidden(context.services, context.principal, space, meeting)
        failed.append(FailedEpochOut(epoch=f"{kind}/{space}/-" if hidden else key, code=code))
    return _space(found, failed)


async def _pause(context: Context) -> Response:
    return await _set(context, paused=True)


async def _resume(context: Context) -> Response:
    return await _set(context, paused=False)


async def _set(context: Context, *, paused: bool) -> Response:
    context.query()
    context.message(Nothing)
    await set_paused(context.services, context.call, context.space, paused=paused)
    return json_reply(ResealOut(space=context.space, paused=paused))


def _space(found: SpaceVaults, failed: Sequence[FailedEpochOut]) -> SpaceVaultsOut:
    return SpaceVaultsOut(
        space=found.space,
        attention=found.attention,
        due=rfc3339(found.due) if found.due else None,
        overdue=found.overdue,
        paused=found.paused,
        left=found.left,
        done=found.done,
        per_second=found.per_second,
        failed=tuple(failed),
        versions=tuple(_version(one) for one in found.versions),
    )


def _version(found: VaultVersion) -> VaultVersionOut:
    return VaultVersionOut(
        recipient=found.recipient,
        version=found.version,
        registered=rfc3339(found.registered),
        retired=rfc3339(found.retired) if found.retired else None,
        epochs=found.kept,
        retirable=found.retirable,
    )

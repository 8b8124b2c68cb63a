"""Vault keys: what there is, and the pause of moving keys to the newest."""

from starlette.responses import Response

from kms.api.context import Context
from kms.api.endpoints import Endpoint, json_reply
from kms.api.routes.meetings import Nothing
from kms.usecases.rotation.vaults import SpaceVaults, VaultVersion, set_paused, vault_status
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
    return json_reply(VaultList(items=tuple(_space(one) for one in found)))


async def _pause(context: Context) -> Response:
    return await _set(context, paused=True)


async def _resume(context: Context) -> Response:
    return await _set(context, paused=False)


async def _set(context: Context, *, paused: bool) -> Response:
    context.query()
    context.message(Nothing)
    await set_paused(context.services, context.call, context.space, paused=paused)
    return json_reply(ResealOut(space=context.space, paused=paused))


def _space(found: SpaceVaults) -> SpaceVaultsOut:
    return SpaceVaultsOut(
        space=found.space,
        attention=found.attention,
        due=rfc3339(found.due) if found.due else None,
        overdue=found.overdue,
        paused=found.paused,
        left=found.left,
        done=found.done,
        per_second=found.per_second,
        failed=tuple(FailedEpochOut(epoch=key, code=code) for key, code in found.failed[:_SHOWN]),
        versions=tuple(_version(one) for one in found.versions),
    )


def _version(found: VaultVersion) -> VaultVersionOut:
    return VaultVersionOut(
        recipient=found.recipient,
        version=found.version,
        registered=rfc3339(found.registered),
        retired=rfc3339(found.retired) if found.retired else None,
        epochs=found.kept,
    )

"""Keys and versions: vault keys of each space, the site's signing keys, tokens, who is registered.

Nothing here is secret: names, numbers, times and public keys.
"""

from dataclasses import dataclass
from itertools import chain
from typing import Any

from starlette.responses import Response

from kms.domain.models import RecipientKind
from kms.domain.states import KeyState
from kms.errors import ConfigurationError, HsmUnavailable, Sealed, VerificationFailed
from kms.ports import TokenInfo
from kms.statements.keylist import KeyList
from kms.usecases.queries import (
    describe_tokens,
    list_recipients,
    living_spaces,
    site_status,
    unknown_spaces,
)
from kms.usecases.rotation.vaults import SpaceVaults, VaultVersion, vault_status
from kms.usecases.signing_keys import signing_keys
from kms.web.links import chosen_space
from kms.web.roles import PEOPLE
from kms.web.visit import Kind, Page, Visit


@dataclass(frozen=True, slots=True)
class Version:
    """One vault key of a space; ``state`` is a key's state."""

    space: str
    vault: VaultVersion
    state: str


@dataclass(frozen=True, slots=True)
class SeenToken:
    """A token's state, and what it says of itself (None: it does not answer)."""

    label: str
    state: str
    info: TokenInfo | None


async def _keys(visit: Visit) -> Response:
    space, services = chosen_space(visit), visit.services
    listed = await _signing_keys(visit)
    recipients = await list_recipients(services, visit.call("recipient.list"))
    return visit.show(
        "keys.html",
        **await _vaults(visit),
        chosen=space,
        spaces=await living_spaces(services, visit.call("space.list")),
        unknown=await unknown_spaces(services, visit.call("space.list")),
        listed=listed,
        signing=[one for one in listed.keys if _wanted(space, one.space)] if listed else (),
        tokens=await _tokens(visit),
        recipients=[
            one
            for one in recipients
            if _wanted(space, one.space) and one.kind is not RecipientKind.VAULT
        ],
    )


async def _now(visit: Visit) -> Response:
    return visit.show("part-keys.html", **await _vaults(visit))


async def _vaults(visit: Visit) -> dict[str, Any]:
    space = chosen_space(visit)
    known = await vault_status(visit.services, visit.call("vault.read"))
    found = [one for one in known if _wanted(space, one.space)]
    return {
        "vaults": tuple((one, len(one.failed)) for one in found),
        "versions": tuple(chain.from_iterable(map(_versions, found))),
        "filters": {"space": space},
    }


def _wanted(chosen: str, space: str) -> bool:
    """Whether something of a space is shown; what is the site's own is of none."""
    return chosen in ("", space)


def _versions(found: SpaceVaults) -> list[Version]:
    """Return a space's vault keys, the newest first: that one takes what is minted, older ones
    open what was.
    """
    live = [one for one in found.versions if not one.retired]
    return [
        Version(found.space, one, _state(one, newest=bool(live) and one is live[-1]))
        for one in reversed(found.versions)
    ]


def _state(one: VaultVersion, *, newest: bool) -> str:
    if one.retired:
        return KeyState.DESTROYED.value
    return (KeyState.ACTIVE if newest else KeyState.DEACTIVATED).value


async def _signing_keys(visit: Visit) -> KeyList | None:
    """Return the key list, None if there is none that the site root vouches for."""
    try:
        return await signing_keys(visit.services, visit.call("key-list.read"))
    except (ConfigurationError, VerificationFailed):
        return None


async def _tokens(visit: Visit) -> list[SeenToken]:
    """Return every token that the visitor may know of, also those that do not answer."""
    status = await site_status(visit.services, visit.call("status.read"))
    try:
        found = await describe_tokens(visit.services, visit.call("hsm.read"))
    except (HsmUnavailable, Sealed):
        found = []
    said = {one.token: one for one in found}
    return [SeenToken(label, state, said.get(label)) for label, state in status.workers.items()]


PAGES = (
    Page("keys", "/keys", PEOPLE, _keys),
    Page("keys-now", "/parts/keys", PEOPLE, _now, Kind.FRAGMENT),
)

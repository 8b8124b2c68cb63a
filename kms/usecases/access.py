"""What decisions go by beside the question: the site's own policies, spaces' labels, grants.

Only verified rows count; what was read is kept until such a row changes. Where the site's own
policies cannot be verified or used, what they forbid is unknown: then nothing is permitted but
health and sealing.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from kms.domain.grants import Grant
from kms.domain.ids import SpaceName
from kms.domain.models import Principal, PrincipalKind
from kms.domain.policies import Labels
from kms.errors import (
    ConclaveError,
    Forbidden,
    IntegrityFailure,
    InvalidInput,
    NotFound,
    Unavailable,
)
from kms.policy.question import SpaceFacts, Target
from kms.ports import PutMark, Unit
from kms.statements.canonical import read_row

if TYPE_CHECKING:
    from kms.usecases.cache import VerifiedCache
    from kms.usecases.services import Call, Services

STILL = frozenset({"health.live", "health.ready", "space.seal", "site.seal"})
"""What goes on by the policies last known, whatever cannot be verified: stopping is safe alone."""
SITE_SOURCE = "site-policy"
"""Where the site's own policies stand, in place of a file's name."""
_STILL_SECONDS = 1.0
"""How long stopping waits for what cannot be verified."""
_NOTE_SECONDS = 3600
_LOG = logging.getLogger(__name__)


def use_mark(grant: str) -> str:
    """Return under which name it is remembered when a grant was used last, to the hour."""
    return f"grant-used/{grant}"


@dataclass(slots=True)
class Access:
    """What was read, and of which state of the rows (``VerifiedCache.rules``)."""

    _read: int = -1
    _facts: dict[str, SpaceFacts] = field(default_factory=dict)
    _listed: int = -1
    _grants: dict[str, list[tuple[SpaceName, str]]] = field(default_factory=dict)
    noting: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    """What is being written of the use of grants, which nobody waits for."""

    async def decide(
        self, services: "Services", call: "Call", operation: str, target: Target
    ) -> None:
        """Raise NotFound, Forbidden unless the policies permit it to the caller, or to whom a
        grant makes of the caller; IntegrityFailure, Unavailable if what that goes by is unknown.
        """
        principal = call.principal
        try:
            if not target.space or principal.reaches(target.space):
                await self._ready_for(services, operation, target.space)
            services.authorizer.check(principal, operation, target)
        except (Forbidden, NotFound):
            grant = await self._granting(services, principal, operation, target)
            if grant is None:
                raise
            call.granted.id = grant.grant

    async def ready(self, services: "Services", space: str = "") -> None:
        """Have at hand what a decision about the space goes by; raise IntegrityFailure,
        Unavailable.
        """
        while self._read != services.cache.rules or (space and space not in self._facts):
            seen = services.cache.rules
            if self._read != seen:
                text = await _site_text(services.cache)
                if seen == services.cache.rules:
                    self._renew(services, text, seen)
                continue
            facts = await _space_facts(services.cache, SpaceName(space))
            if facts is None:
                return
            if seen == services.cache.rules:
                self._facts[space] = facts
                services.authorizer.learn(self._facts)

    async def _ready_for(self, services: "Services", operation: str, space: str) -> None:
        if operation not in STILL:
            await self.ready(services, space)
            return
        with suppress(IntegrityFailure, Unavailable, TimeoutError):
            async with asyncio.timeout(_STILL_SECONDS):
                await self.ready(services, space)

    def _renew(self, services: "Services", text: str, seen: int) -> None:
        authorizer = services.authorizer
        try:
            policies = authorizer.shipped.with_site([(SITE_SOURCE, text)] if text else [])
        except InvalidInput as error:
            raise Unavailable(
                f"the site's own policies do not fit this version: {error.message}",
                hint="go back to the version that they fit, and change them there",
            ) from error
        if policies != authorizer.policies:
            authorizer.use(policies)
        self._facts.clear()
        authorizer.learn({})
        self._read = seen

    async def _granting(
        self, services: "Services", principal: Principal, operation: str, target: Target
    ) -> Grant | None:
        """Return the grant in force by which the policies permit it, if there is one."""
        for grant in await self._grants_for(services, principal, operation, target.space):
            await self._ready_for(services, operation, target.space)
            try:
                services.authorizer.check(acting(principal, grant), operation, target)
            except Forbidden:
                continue
            if operation not in STILL:
                self._note_use(services, grant.grant)
            return grant
        return None

    async def _grants_for(
        self, services: "Services", principal: Principal, operation: str, space: str
    ) -> list[Grant]:
        """Return a caller's grants as ``grants_of``; raise Unavailable if stopping would have to
        wait for them.
        """
        limit = asyncio.timeout(_STILL_SECONDS) if operation in STILL else nullcontext()
        try:
            async with limit:
                return await self.grants_of(services, principal, space)
        except TimeoutError as error:
            raise Unavailable("whether a grant permits it cannot be checked now") from error

    def _note_use(self, services: "Services", grant: str) -> None:
        """Remember that a grant was of use, if that can be: most reads leave no leaf. Nobody waits
        for it, since the disk may hang.
        """
        now = services.seconds()
        with suppress(ConclaveError):
            known = services.store.mark(use_mark(grant), 0)
            if grant not in self.noting and now - known >= _NOTE_SECONDS:
                task = self.noting[grant] = asyncio.create_task(_noted(services, grant, now))
                task.add_done_callback(lambda _: self.noting.pop(grant, None))

    async def grants_of(
        self, services: "Services", principal: Principal, space: str
    ) -> list[Grant]:
        """Return a caller's grants in a space that are in force; raise IntegrityFailure,
        HsmUnavailable.
        """
        places = [place for place in self._listed_for(services, principal) if place[0] == space]
        found = [(await services.cache.grant(*place))[0] for place in places]
        return [grant for grant in found if grant.holds(services.seconds())]

    def _listed_for(
        self, services: "Services", principal: Principal
    ) -> list[tuple[SpaceName, str]]:
        """Return the grants that unverified rows name for a caller."""
        if self._listed != services.cache.rules:
            self._listed = services.cache.rules
            self._grants.clear()
            for grant in _unverified(services):
                self._grants.setdefault(grant.principal, []).append((grant.space, grant.grant))
        local = principal.kind is PrincipalKind.SOCKET
        return self._grants.get(principal.name, []) if local else []


def acting(principal: Principal, grant: Grant) -> Principal:
    """Return what a grant makes of a caller within its space."""
    own = principal.roles if principal.reaches(grant.space) else frozenset()
    return replace(
        principal,
        roles=own | {grant.role},
        spaces=principal.spaces | {grant.space},
    )


async def _site_text(cache: "VerifiedCache") -> str:
    try:
        return (await cache.site_policy())[0].text
    except NotFound:
        return ""


async def _space_facts(cache: "VerifiedCache", space: SpaceName) -> SpaceFacts | None:
    try:
        record = await cache.space(space)
    except NotFound:
        return None
    try:
        labels = (await cache.policy(space))[0].labels
    except NotFound:
        labels = Labels()
    return SpaceFacts(record.release_class.value, labels)


def _unverified(services: "Services") -> Iterator[Grant]:
    for token in services.settings.space_tokens:
        for sealed in services.store.grants(SpaceName(token.space)):
            try:
                record = read_row(sealed.row)
            except InvalidInput:
                continue
            if isinstance(record, Grant):
                yield record


async def _noted(services: "Services", grant: str, now: int) -> None:
    try:
        await services.store.commit(Unit((PutMark(use_mark(grant), now),)))
    except ConclaveError as error:
        _LOG.warning("that grant %s was used could not be noted: %s", grant, error.code)

"""Requests as people look at them: who approved, who is missing, whether they still count."""

from dataclasses import dataclass

from kms.domain.approvals import RULES, Request, RequestState, Rule, Standing, unmet
from kms.domain.ids import SpaceName
from kms.domain.policies import GroupNeed
from kms.errors import HsmUnavailable, InvalidInput, NotFound, Sealed, VerificationFailed
from kms.policy.authorizer import Target
from kms.statements.request import OperationRequest, peek_approval, peek_request
from kms.usecases.approvals.common import check_current, find, quorum_in_force
from kms.usecases.approvals.registers import InForce
from kms.usecases.queries import check_present
from kms.usecases.services import Call, Services, authorize

_PAGE = 500


@dataclass(frozen=True, slots=True)
class RequestView:
    """A request, its row's version, who approved it and who is still ``missing``.
    ``lacks_credential``: somebody has yet to approve with a credential of the register.
    """

    record: Request
    version: int
    wanted: OperationRequest
    standing: Standing
    people: tuple[str, ...]
    missing: tuple[GroupNeed, ...] = ()
    lacks_credential: bool = False

    @property
    def ready(self) -> bool:
        """Whether enough people have approved it and it waits to be carried out."""
        enough = not self.missing and not self.lacks_credential
        return self.standing is Standing.PENDING and enough


@dataclass(frozen=True, slots=True)
class RuleView:
    """An operation that needs approval, and by whom."""

    operation: str
    rule: Rule
    needs: tuple[GroupNeed, ...]


async def approval_rules(
    services: Services, call: Call, space: str, partner: str
) -> tuple[InForce, list[RuleView]]:
    """Return the register in force and who must approve what in a space (empty: without the
    policy of one), for what needs both also in a ``partner``'s. Raise NotFound.
    """
    await authorize(services, call, Target(), "approval-rules")
    for one in filter(None, (space, partner)):
        await authorize(services, call, Target(space=one), f"spaces/{one}", "approval.read")
    present = services.registers.in_force(services.store, services.settings.paths.state)
    found = []
    for name, rule in RULES.items():
        other = partner if rule.both else ""
        own = "" if rule.site else space
        needs = await quorum_in_force(services, present.register, name, own, other)
        found.append(RuleView(name, rule, needs))
    return present, found


async def read_request(services: Services, call: Call, request: str) -> RequestView:
    """Return a request; raise NotFound."""
    await find(services, call, request)
    return await view_of(services, *await services.cache.request(request))


async def list_requests(
    services: Services,
    call: Call,
    standing: Standing,
    after: str,
    limit: int,
    *,
    newest: bool = False,
) -> tuple[list[RequestView], list[str]]:
    """Return a page of requests that stand so, by id (``newest``: the last first), of the site and
    of the spaces that the caller may know of; and the spaces of which some could not be checked,
    since a token cannot be asked. Pending are those outdated too. Those of destroyed spaces are
    left out.
    """
    await authorize(services, call, Target(), "requests")
    wanted = {Standing.PENDING, Standing.OUTDATED} if standing is Standing.PENDING else {standing}
    found: list[RequestView] = []
    unknown: set[str] = set()
    read = services.store.newest_requests if newest else services.store.requests
    while page := read(_stored(standing), after, _PAGE):
        for sealed in page:
            _, space, after = sealed.row.key.split("/")
            if not await _shown(services, call, space):
                continue
            try:
                if space:
                    check_present(services, SpaceName(space))
                view = await view_of(services, *await services.cache.request(after))
            except (HsmUnavailable, Sealed, NotFound):
                if not space:
                    raise
                unknown.add(space)
                continue
            if view.standing in wanted:
                found.append(view)
            if len(found) == limit:
                return found, sorted(unknown)
    return found, sorted(unknown)


async def view_of(services: Services, record: Request, version: int) -> RequestView:
    """Return a request as it stands now."""
    wanted = peek_request(record.request)
    people = tuple(map(_person, record.approvals))
    if record.state is not RequestState.PENDING:
        return RequestView(record, version, wanted, Standing(record.state), people)
    now = services.seconds()
    if now >= wanted.expires:
        return RequestView(record, version, wanted, Standing.EXPIRED, people)
    try:
        checked, present = await check_current(services, record)
    except (InvalidInput, VerificationFailed):
        return RequestView(record, version, wanted, Standing.OUTDATED, people)
    if checked.lapsed(wanted.requester, now):
        return RequestView(record, version, wanted, Standing.OUTDATED, people)
    known = [present.register.person(name) for name in people if not checked.lapsed(name, now)]
    there = [person for person in known if person.in_office(now)]
    missing = unmet(wanted.quorum, wanted.space, there)
    lacks = checked.lacks_credential(there)
    return RequestView(record, version, wanted, Standing.PENDING, people, missing, lacks)


def _stored(standing: Standing) -> RequestState:
    if standing in {Standing.EXECUTED, Standing.CANCELLED}:
        return RequestState(standing.value)
    return RequestState.PENDING


async def _shown(services: Services, call: Call, space: str) -> bool:
    if not space:
        return True
    if not call.principal.reaches(space):
        return False
    return not (await services.cache.space(SpaceName(space))).destroyed


def _person(token: str) -> str:
    """Return who signed a stored approval, which was checked when it came."""
    return peek_approval(token).person

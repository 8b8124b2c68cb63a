"""The audit log: its head, searching it, one entry with its proof, whether it was altered."""

import base64
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

from starlette.responses import Response

from kms.audit.actions import ACTIONS
from kms.audit.leaf import Leaf, Outcome
from kms.errors import InvalidInput, NotFound, StoreUnavailable
from kms.ports import LeafFilter
from kms.usecases.finding import find_logged, is_ending
from kms.usecases.journal import Page as Found
from kms.usecases.journal import leaf_moment, search_leaves
from kms.usecases.log_check import read_check, start_check
from kms.usecases.log_evidence import evidence_of_log
from kms.usecases.log_head import Proved, log_head, prove
from kms.usecases.queries import list_spaces
from kms.web.files import BigFile, attachment
from kms.web.links import chosen_space, href
from kms.web.logged import action_groups, action_words
from kms.web.names import display, slugs_of
from kms.web.naming import Named, named
from kms.web.roles import AUDITORS
from kms.web.visit import PAGE_ROWS, Kind, Page, Visit
from kms.wire.audit import ProofOut

EVIDENCE = "/audit/evidence.db"
_LONGEST = 200
_MOST_DIGITS = 15
_SEVERAL = 2


@dataclass(frozen=True, slots=True)
class Fields:
    """What the form of the search says, as it was typed; an empty field: any."""

    actor: str
    action: str
    space: str
    meeting: str
    outcome: str
    since: str
    until: str

    def link(self, **more: object) -> str:
        """Return the link to this search."""
        said = {name: getattr(self, name) for name in self.__slots__}
        return href("/audit", **said, **more)

    def wanted(self) -> LeafFilter:
        """Return what is looked for; raise InvalidInput."""
        return LeafFilter(
            since=leaf_moment(self.since),
            until=leaf_moment(self.until),
            actor=self.actor,
            action=self.action,
            space=self.space,
            meeting=self.meeting,
            outcome=self.outcome,
        )


async def _audit(visit: Visit) -> Response:
    fields, before = _fields(visit), visit.number("before", 0) or None
    wanted = await named(visit, "audit.search", find_logged)
    problems = _problems(fields, wanted)
    known = _known_actor(visit, fields.actor)
    people = () if known else slugs_of(fields.actor)
    if len(people) == 1:
        fields = replace(fields, actor=people[0])
    if wanted.one:
        fields = replace(fields, meeting=wanted.one[1])
    sure = not problems and len(people) < _SEVERAL
    sure = sure and bool(wanted.one or not is_ending(fields.meeting))
    found = await _search(visit, fields, before) if sure else None
    return visit.show(
        "audit.html",
        400 if problems else 200,
        head=await log_head(visit.services, visit.call("audit.checkpoint")),
        check=await read_check(visit.services, visit.call("audit.leaves")),
        fields=fields,
        problems=problems,
        people=tuple((one, replace(fields, actor=one).link()) for one in people[1:] and people),
        stranger="" if known or people else fields.actor,
        named=None if sure or problems else wanted,
        where=lambda _space, meeting: replace(fields, meeting=meeting).link(),
        found=found,
        next=fields.link(before=found.next) if found and found.next else "",
        first=fields.link() if before else "",
        spaces=await list_spaces(visit.services, visit.call("space.list")),
        groups=action_groups(),
        outcomes=tuple(one.value for one in Outcome if one is not Outcome.PENDING),
        what=action_words,
    )


def _fields(visit: Visit) -> Fields:
    """Return what was asked; raise InvalidInput for what no form of ours asks."""
    action, outcome = visit.query("action"), visit.query("outcome")
    if action and action not in ACTIONS:
        raise InvalidInput("the log knows no such action", hint="choose one of the list")
    if outcome and outcome not in {one.value for one in Outcome}:
        raise InvalidInput("the log knows no such outcome", hint="choose one of the list")
    return Fields(
        visit.query("actor").strip(),
        action,
        chosen_space(visit),
        visit.query("meeting").strip(),
        outcome,
        visit.query("since"),
        visit.query("until"),
    )


def _problems(fields: Fields, wanted: Named) -> dict[str, InvalidInput]:
    """Return what is wrong with the fields that somebody types, by their names."""
    found = {"meeting": wanted.error} if wanted.error else {}
    if len(fields.actor) > _LONGEST or not fields.actor.isprintable():
        found["actor"] = InvalidInput("a name has at most 200 characters")
    for name in ("since", "until"):
        try:
            leaf_moment(getattr(fields, name))
        except InvalidInput as error:
            found[name] = error
    return found


def _known_actor(visit: Visit, actor: str) -> bool:
    """Whether an actor is named by its slug: a person's, or a caller's of the configuration."""
    callers = (one.principal for one in visit.services.settings.caller)
    return not actor or bool(display(actor)) or actor in callers


async def _search(visit: Visit, fields: Fields, before: int | None) -> Found | None:
    """Return a page of entries; None while they cannot be looked for."""
    call = visit.call("audit.search")
    try:
        return await search_leaves(visit.services, call, fields.wanted(), before, PAGE_ROWS)
    except StoreUnavailable:
        return None


# --- one entry -----------------------------------------------------------------------------------


async def _leaf(visit: Visit) -> Response:
    found = await prove(visit.services, visit.call("audit.proof"), _number(visit))
    return visit.show(
        "audit-leaf.html",
        found=found,
        leaf=found.leaf,
        body=found.body.decode("utf-8"),
        what=action_words(found.leaf.action),
        interval=visit.services.settings.audit.checkpoint_seconds,
        details=_details(found.leaf),
        rows=sorted(found.leaf.rows.items()),
        b64=_b64,
    )


async def _proof(visit: Visit) -> Response:
    """Give the proof as ``conclave audit proof --json`` prints it."""
    found = await prove(visit.services, visit.call("audit.proof"), _number(visit))
    data = _proof_out(found).model_dump_json(indent=2).encode() + b"\n"
    return attachment(data, f"conclave-leaf-{found.leaf.seq}.json", "application/json")


def _proof_out(found: Proved) -> ProofOut:
    return ProofOut(
        leaf=found.leaf.seq,
        size=found.size,
        body=found.body.decode("utf-8"),
        root=_b64(found.root),
        hashes=tuple(map(_b64, found.hashes)),
    )


def _number(visit: Visit) -> int:
    text = visit.path("seq")
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise InvalidInput("an entry of the log is named by its number")
    return int(text)


def _details(leaf: Leaf) -> list[tuple[str, Any]]:
    return sorted(leaf.details.items())


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


# --- was it altered? -----------------------------------------------------------------------------


async def _check(visit: Visit) -> Response:
    return visit.show("audit-check.html", **await _check_values(visit))


async def _check_now(visit: Visit) -> Response:
    return visit.show("part-audit-check.html", **await _check_values(visit))


async def _check_values(visit: Visit) -> dict[str, Any]:
    services = visit.services
    return {
        "check": await read_check(services, visit.call("audit.leaves")),
        "head": await log_head(services, visit.call("audit.checkpoint")),
        "started": await _started(visit),
        "interval": services.settings.audit.checkpoint_seconds,
        "b64": _b64,
    }


async def _started(visit: Visit) -> Leaf | None:
    """Return the entry of the service's last start, which the check of the whole log came before;
    None if it is not found now.
    """
    wanted, call = LeafFilter(action="service.start"), visit.call("audit.search")
    try:
        found = await search_leaves(visit.services, call, wanted, None, 1)
    except StoreUnavailable:
        return None
    return found.leaves[0] if found.leaves else None


async def _checkpoint(visit: Visit) -> Response:
    """Give the newest checkpoint away, to compare later logs with."""
    head = await log_head(visit.services, visit.call("audit.checkpoint"))
    if head.newest is None:
        raise NotFound("the log has no signed checkpoint yet")
    name = f"conclave-checkpoint-{head.newest.checkpoint.size}.txt"
    return attachment(head.newest.note.encode(), name, "text/plain")


async def _evidence(visit: Visit) -> Response:
    """Give the bundle, in which nothing is masked: it wants fresh proof."""
    async with AsyncExitStack() as stack:
        bundle = evidence_of_log(visit.services, visit.call("audit.leaves"))
        file = await stack.enter_async_context(bundle)
        name = "conclave-evidence.db"
        return BigFile(file, name, "application/vnd.sqlite3", stack.pop_all())


async def _start(visit: Visit) -> Response:
    await start_check(visit.services, visit.call("audit.leaves"))
    return visit.go("/audit/check")


PAGES = (
    Page("audit", "/audit", AUDITORS, _audit),
    Page("audit-check", "/audit/check", AUDITORS, _check),
    Page("audit-check-now", "/parts/audit/check", AUDITORS, _check_now, Kind.FRAGMENT),
    Page("audit-check-start", "/audit/check", AUDITORS, _start, Kind.ACT),
    Page("audit-checkpoint", "/audit/checkpoint.txt", AUDITORS, _checkpoint, Kind.FILE),
    Page("audit-evidence", EVIDENCE, AUDITORS, _evidence, Kind.ACT, risky=True),
    Page("audit-leaf", "/audit/leaves/{seq}", AUDITORS, _leaf),
    Page("audit-proof", "/audit/leaves/{seq}/proof.json", AUDITORS, _proof, Kind.FILE),
)

"""The audit log for those who verify it: checkpoints, leaves, proofs, manifests."""

from typing import Any

from starlette.responses import Response

from kms.api import views
from kms.api.context import Context, Query
from kms.api.endpoints import Endpoint, json_reply
from kms.api.routes.meetings import PAGING
from kms.domain.ids import parse_epoch, parse_meeting, parse_request_id, parse_space
from kms.errors import InvalidInput, NotFound
from kms.policy.authorizer import NOT_THERE, Target
from kms.ports import LeafFilter
from kms.usecases.evidence import executed_requests, manifests, registers
from kms.usecases.journal import search_leaves
from kms.usecases.services import authorize
from kms.wire.audit import (
    CheckpointOut,
    CheckpointPage,
    ConsistencyOut,
    EvidenceRequestPage,
    LeafPage,
    ManifestPage,
    ProofOut,
    RegisterList,
    RegisterOut,
    SearchPage,
)
from kms.wire.evidence import manifest_out, request_out

_FIELDS = (
    ("actor", "who did it"),
    ("action", "what, such as envelope.fetch"),
    ("space", "in which space"),
    ("meeting", "of which meeting: its id or the last 8 characters of it"),
    ("resource_prefix", "how the resource begins"),
    ("outcome", "pending, succeeded, refused, failed or interrupted"),
    ("phase", "intent, result or event"),
    ("code", "the error's code, of what was refused"),
    ("recipient", "whose envelope"),
    ("since", "from this time on, UTC"),
    ("until", "before this time, UTC"),
)
_MOST_DIGITS = 10
"""Of an epoch's number."""
_SEARCH = (*_FIELDS, ("before", "leaves older than this one"), PAGING[1])


def endpoints() -> tuple[Endpoint, ...]:
    """Return the endpoints of the audit log."""
    return (
        Endpoint("audit.checkpoint", _newest, CheckpointOut),
        Endpoint("audit.checkpoints", _checkpoints, CheckpointPage, query=PAGING),
        Endpoint("audit.leaves", _leaves, LeafPage, query=(("start", "first leaf"), PAGING[1])),
        Endpoint("audit.search", _search, SearchPage, query=_SEARCH),
        Endpoint("audit.proof", _proof, ProofOut, query=(("size", "tree size, else the newest"),)),
        Endpoint(
            "audit.consistency",
            _consistency,
            ConsistencyOut,
            query=(("old", "tree size"), ("new", "tree size, else the newest")),
        ),
        Endpoint(
            "audit.manifests", _manifests, ManifestPage, query=(("space", "its name"), *PAGING)
        ),
        Endpoint("audit.requests", _requests, EvidenceRequestPage, query=PAGING),
        Endpoint("audit.registers", _registers, RegisterList),
    )


async def _newest(context: Context) -> Response:
    context.query()
    await _authorize(context)
    found = context.services.store.last_checkpoint()
    if found is None:
        raise NotFound(NOT_THERE)
    return json_reply(CheckpointOut(size=found[0], note=found[1]))


async def _checkpoints(context: Context) -> Response:
    query = context.query("after", "limit")
    after, limit = query.number("after", 0), query.limit()
    await _authorize(context)
    page = context.services.store.checkpoints(after, limit)
    items = tuple(CheckpointOut(size=size, note=note) for size, note in page)
    following = items[-1].size if len(items) == limit else None
    return json_reply(CheckpointPage(items=items, next=following))


async def _leaves(context: Context) -> Response:
    query = context.query("start", "limit")
    start, limit = query.number("start", 0), query.limit()
    await _authorize(context)
    page = context.services.store.leaves(start, limit)
    items = tuple(leaf.decode("utf-8") for leaf in page)
    following = start + len(items) if len(items) == limit else None
    return json_reply(LeafPage(start=start, items=items, next=following))


async def _search(context: Context) -> Response:
    query = context.query(*(name for name, _ in _SEARCH))
    fields: dict[str, Any] = {name: query.text(name) for name, _ in _FIELDS}
    wanted = LeafFilter(**fields)
    before = query.number("before", 0) if query.text("before") else None
    page = await search_leaves(context.services, context.call, wanted, before, query.limit())
    return json_reply(
        SearchPage(
            items=tuple(data.decode("utf-8") for data in page.bodies),
            next=page.next,
            indexed=page.indexed,
            tree_size=page.tree_size,
        )
    )


async def _proof(context: Context) -> Response:
    query, leaf = context.query("size"), context.leaf
    await _authorize(context)
    store = context.services.store
    size = query.number("size", store.tree_size())
    if not leaf < size <= store.tree_size():
        raise NotFound(NOT_THERE)
    (body,) = store.leaves(leaf, 1)
    return json_reply(
        ProofOut(
            leaf=leaf,
            size=size,
            body=body.decode("utf-8"),
            root=views.b64(store.root(size)),
            hashes=tuple(views.b64(entry) for entry in store.inclusion_proof(leaf, size)),
        )
    )


async def _consistency(context: Context) -> Response:
    query = context.query("old", "new")
    await _authorize(context)
    store = context.services.store
    old, new = query.number("old", 0), query.number("new", store.tree_size())
    if not 1 <= old <= new:
        raise InvalidInput("old is a tree size from 1 to new")
    if new > store.tree_size():
        raise NotFound(NOT_THERE)
    return json_reply(
        ConsistencyOut(
            old=old,
            new=new,
            old_root=views.b64(store.root(old)),
            new_root=views.b64(store.root(new)),
            hashes=tuple(views.b64(entry) for entry in store.consistency_proof(old, new)),
        )
    )


async def _requests(context: Context) -> Response:
    query = context.query("after", "limit")
    limit, text = query.limit(), query.text("after")
    after = parse_request_id(text) if text else ""
    page = await executed_requests(context.services, context.call, after, limit)
    items = tuple(request_out(one.request, one.certificate) for one in page)
    following = items[-1].request if len(items) == limit else None
    return json_reply(EvidenceRequestPage(items=items, next=following))


async def _registers(context: Context) -> Response:
    context.query()
    found = await registers(context.services, context.call)
    items = tuple(RegisterOut(number=number, statement=token) for number, token in found)
    return json_reply(RegisterList(items=items))


async def _authorize(context: Context) -> None:
    await authorize(context.services, context.call, Target(), "audit")


async def _manifests(context: Context) -> Response:
    query = context.query("space", "after", "limit")
    space, limit = parse_space(query.text("space")), query.limit()
    found = await manifests(context.services, context.call, space, _position(query), limit)
    following = f"{found[-1].meeting}/{found[-1].epoch}" if len(found) == limit else None
    items = tuple(map(manifest_out, found))
    return json_reply(ManifestPage(items=items, next=following))


def _position(query: Query) -> tuple[str, int]:
    """Return after which meeting's which epoch the page starts."""
    after = query.text("after")
    if not after:
        return "", -1
    meeting, _, number = after.partition("/")
    if not (number.isascii() and number.isdigit() and len(number) <= _MOST_DIGITS):
        raise InvalidInput("after is the last page's next")
    return parse_meeting(meeting), parse_epoch(int(number))

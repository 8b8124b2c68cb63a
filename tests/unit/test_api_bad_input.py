"""Bad input at every endpoint (over a fake HSM): a 4xx with a code, and nothing is changed."""

import asyncio
import json

from kms.errors import InvalidInput
from kms.wire.parsing import load
from kms.wire.statuses import STATUS
from tests.fixtures.api import ALPHA, TREASURY, FakeSite, run_with_site
from tests.fixtures.bad_input import BODIES, SCALARS, BadRequest, bad_requests

REQUESTS = list(bad_requests())
_CLOSE = ("connection", "close")


async def ask(site: FakeSite, request: BadRequest) -> tuple[int, dict[str, object]]:
    closing = BadRequest(
        request.name, request.method, request.path, (*request.headers, _CLOSE), request.body
    )
    answer = await asyncio.wait_for(site.raw(closing.encode("conclave")), 10)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head, (request.name, answer[:300])
    return int(head.split()[1]), json.loads(body)


def test_every_endpoint_answers_bad_input_with_a_code_and_changes_nothing() -> None:
    async def work(site: FakeSite) -> None:
        async with site.client() as client:
            headers = {"idempotency-key": "first"}
            body = {"recipients": [ALPHA]}
            opened = await client.post(
                f"/v1/spaces/{TREASURY}/meetings", json=body, headers=headers
            )
            meeting = opened.json()["meeting"]
            size, rows = site.store.tree_size(), site.store.meetings(TREASURY, "", 9)
            for request in bad_requests(TREASURY, meeting, ALPHA):
                status, problem = await ask(site, request)
                assert 400 <= status < 500, (request.name, problem)
                assert STATUS[str(problem["code"])] == status == problem["status"], request.name
        leaves = [json.loads(leaf) for leaf in site.store.leaves(size, 500)]
        assert {leaf["action"] for leaf in leaves} <= {"access.refused"}
        assert site.store.meetings(TREASURY, "", 9) == rows
        assert site.workers.spaces[TREASURY].mints == 1

    run_with_site(work)


def test_the_list_reaches_every_endpoint_and_is_long() -> None:
    assert len(REQUESTS) > 1000
    assert len({request.name for request in REQUESTS}) == len(REQUESTS)


def test_every_bad_scalar_and_body_would_pass_a_lenient_parser_or_none() -> None:
    """Python's own parser takes many of them: the strict one refuses what has no one meaning."""
    lenient = {"NaN", "Infinity", "-Infinity", "1e999", "2**70", "NUL", "a lone high surrogate"}
    for name in lenient:
        json.loads(SCALARS[name])
        try:
            load(SCALARS[name])
        except InvalidInput:
            continue
        raise AssertionError(name)
    for name in ("a key twice", "a key twice by escape", "deep lists", "a byte order mark"):
        try:
            load(BODIES[name])
        except InvalidInput:
            continue
        raise AssertionError(name)

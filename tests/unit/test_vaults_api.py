"""Vault keys as callers see them: the API by roles, and ``conclave vault``, over a FAKE token."""

import asyncio
import json
import os
import subprocess
from typing import Any

import httpx2
import pytest

from kms.cli.exits import Exit
from kms.domain.models import Role
from tests.fixtures.api import TREASURY, make_caller
from tests.fixtures.vaults import NEW, OLD, Scene, scene
from tests.practice.service import CONCLAVE

PAUSE, RESUME = (f"/v1/spaces/{TREASURY}/reseal:{word}" for word in ("pause", "resume"))


def code(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", "")


def of_treasury(answer: httpx2.Response) -> dict[str, Any]:
    return next(one for one in answer.json()["items"] if one["space"] == TREASURY)


def test_an_officer_sees_versions_and_pauses() -> None:
    async def work(one: Scene) -> None:
        async with one.site.client() as client:
            found = of_treasury(await client.get("/v1/vaults"))
            assert [(v["recipient"], v["epochs"]) for v in found["versions"]] == [
                (OLD, 3),
                (NEW, 0),
            ]
            assert (found["left"], found["paused"], found["attention"]) == (3, False, True)
            assert (await client.post(PAUSE)).json() == {"space": TREASURY, "paused": True}
            assert of_treasury(await client.get("/v1/vaults"))["paused"]
            assert (await client.post(RESUME)).json() == {"space": TREASURY, "paused": False}

    scene(work, epochs=3)


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.AUDITOR])
def test_whoever_watches_sees_and_does_not_pause(role: Role) -> None:
    async def work(one: Scene) -> None:
        async with one.site.client() as client:
            assert (await client.get("/v1/vaults")).status_code == 200
            assert code(await client.post(PAUSE)) == (403, "forbidden")
            assert not one.leaves("reseal.pause")

    scene(work, epochs=3, caller=make_caller((role,)))


def test_a_meeting_server_sees_nothing_of_it() -> None:
    async def work(one: Scene) -> None:
        async with one.site.client() as client:
            assert code(await client.get("/v1/vaults")) == (403, "forbidden")

    scene(work, epochs=3, caller=make_caller((Role.MEETING_SERVER,)))


def test_a_sealed_space_is_left_out_and_named() -> None:
    async def work(one: Scene) -> None:
        async with one.site.client() as client:
            one.site.services.seals.add(TREASURY)
            for path in ("/v1/vaults", "/v1/rotation"):
                told = (await client.get(path)).json()
                assert TREASURY not in {found["space"] for found in told["items"]}
                assert told["unknown"] == [TREASURY]

    scene(work, epochs=3)


def test_another_callers_space_is_not_there() -> None:
    async def work(one: Scene) -> None:
        async with one.site.client() as client:
            assert (await client.get("/v1/vaults")).json() == {"items": [], "unknown": []}
            assert code(await client.post(PAUSE)) == (404, "not_found")

    scene(work, epochs=3, caller=make_caller((Role.OFFICER,), ("research",)))


# --- the command ----------------------------------------------------------------------------------


async def conclave(one: Scene, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command against the served site, while it serves."""
    command = [CONCLAVE, "--lang", "en", "--socket", str(one.site.socket), *words]
    return await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, env=dict(os.environ), check=False
    )


def test_the_command_shows_and_pauses() -> None:
    async def work(one: Scene) -> None:
        async with one.site.serving():
            told = await conclave(one, "vault", "pause", TREASURY)
            assert told.returncode == Exit.OK, told.stderr
            told = await conclave(one, "vault", "status")
            assert told.returncode == Exit.ATTENTION, told.stderr
            assert "OVERDUE" in told.stderr
            assert [line.split("\t")[:2] for line in told.stdout.splitlines()[1:]] == [
                [TREASURY, "1"],
                [TREASURY, "2"],
            ]
            assert "0 of 3 keys moved" in told.stderr
            told = await conclave(one, "vault", "resume", TREASURY)
            assert told.returncode == Exit.OK, told.stderr

    scene(work, epochs=3)


def test_the_command_ends_with_3_once_a_key_could_not_be_moved() -> None:
    async def work(one: Scene) -> None:
        one.token.refused = {one.epochs[0]}
        await one.look()
        async with one.site.serving():
            told = await conclave(one, "--json", "vault", "status")
            assert told.returncode == Exit.ATTENTION, told.stderr
            (space,) = (s for s in json.loads(told.stdout)["items"] if s["space"] == TREASURY)
            assert space["failed"] == [{"epoch": one.epochs[0], "code": "integrity_failure"}]

    scene(work, epochs=3)


def test_the_command_says_how_an_older_vault_key_is_destroyed() -> None:
    async def work(one: Scene) -> None:
        await one.look()
        async with one.site.serving():
            told = await conclave(one, "vault", "status")
            assert told.returncode == Exit.ATTENTION, told.stderr
            asks = f"conclave approval request vault.retire --space {TREASURY} --set version=1"
            assert asks in " ".join(told.stderr.split())

    scene(work, epochs=3)

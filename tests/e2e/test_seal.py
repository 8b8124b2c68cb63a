"""The emergency seal on a running practice service: what it stops, what stays, what undoes it."""

import json
import os
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

from kms.audit.leaf import decode_leaf
from kms.errors import ConclaveError, Sealed
from kms.practice import PracticeSite
from kms.statements.sealing import marker
from kms.wire.replies import MeetingOut
from tests.practice.memory import holds
from tests.practice.service import CONCLAVE, Service
from tests.scenarios.rooms import Room, rooms
from tests.scenarios.site_ceremonies import hold, plan_of

BANKING, TREASURY = "investment-banking", "treasury"
WORKER = f"space-{TREASURY}"
WHOLE_BOX = ('space = "treasury"', 'space = ""')
PROMPT_SECONDS = 1.0


@pytest.fixture
def service(practice_site: PracticeSite) -> Iterator[Service]:
    """A service that the test starts."""
    found = Service(practice_site)
    yield found
    found.stop()


def opened(room: Room) -> MeetingOut:
    wish = next(one for one in room.wishes() if one.kind in {"open", "suspicion"})
    view = wish.send()
    room.adopt(wish, view)
    return view


def refused(request: Callable[[], object]) -> bool:
    """Whether it is answered with ``sealed``."""
    try:
        request()
    except Sealed:
        return True
    return False


def until(holds_now: Callable[[], bool], seconds: float = PROMPT_SECONDS) -> float:
    begun = time.monotonic()
    while not holds_now():
        assert time.monotonic() - begun < seconds, "not in time"
        time.sleep(0.02)
    return time.monotonic() - begun


def pin_of(site: PracticeSite, token: str) -> bytes:
    pins: dict[str, str] = json.loads(site.pins.read_text())
    return pins[token].encode()


def readable(service: Service, room: Room, view: MeetingOut) -> None:
    assert view.current is not None
    room.check_readable(view.current, list(view.roster.recipients), service.trust())


def health(service: Service, path: str) -> tuple[int, str]:
    wire = httpx2.HTTPTransport(uds=str(service.settings.paths.api_socket))
    with httpx2.Client(transport=wire, base_url="http://conclave") as client:
        answer = client.get(f"/v1/{path}")
        document = answer.json()
        return answer.status_code, document.get("code") or document.get("status")


def stopped(service: Service, site: PracticeSite) -> Path:
    assert service.stop() == 0
    return site.state / marker(TREASURY)


# --- a space ------------------------------------------------------------------------------------


def test_a_sealed_space_stops_at_once_while_the_others_go_on(
    service: Service, practice_site: PracticeSite
) -> None:
    service.start()
    banking, treasury = rooms(service)
    before = [opened(banking), opened(treasury)]
    assert WORKER in service.pids()

    with service.console() as officer:
        done = officer.seal_space(TREASURY, "a stolen laptop")
    assert (done.space, done.durable, done.logged) == (TREASURY, True, True)
    assert refused(lambda: opened(treasury))
    assert refused(lambda: readable(service, treasury, before[1]))
    until(lambda: WORKER not in service.pids())

    readable(service, banking, before[0])
    readable(service, banking, opened(banking))
    with service.console() as console:
        assert console.status().workers[WORKER] == "sealed"
        console.ready()
        sealed = {one.space for one in console.spaces().items if one.sealed}
    assert sealed == {TREASURY}


@pytest.mark.skipif(os.geteuid() != 0, reason="reading other processes' memory needs root")
def test_a_sealed_spaces_pin_is_in_no_process_any_more(
    service: Service, practice_site: PracticeSite
) -> None:
    pin, other = pin_of(practice_site, WORKER), pin_of(practice_site, f"space-{BANKING}")
    service.start()
    assert holds(service.pids()[WORKER], pin), "the control: a worker knows its PIN"
    assert holds(service.pid, pin), "the control: the supervisor keeps it for a restart"
    with service.console() as officer:
        officer.seal_space(TREASURY, "a stolen laptop")
    until(lambda: WORKER not in service.pids())
    pids = {"supervisor": service.pid, **service.pids()}
    assert [name for name, pid in pids.items() if holds(pid, pin)] == []
    assert holds(service.pid, other), "the others' PINs are kept"


def test_a_marker_made_by_hand_seals_a_running_service(
    service: Service, practice_site: PracticeSite
) -> None:
    service.start()
    treasury = rooms(service)[1]
    before = opened(treasury)
    readable(service, treasury, before)
    place = practice_site.state / marker(TREASURY)
    place.parent.mkdir(parents=True)
    place.touch(0o600)
    until(lambda: refused(lambda: readable(service, treasury, before)))
    until(lambda: WORKER not in service.pids())
    until(lambda: _row_says_sealed(service))


def test_neither_a_restart_nor_a_removed_marker_unseals(
    service: Service, practice_site: PracticeSite
) -> None:
    service.start()
    treasury = rooms(service)[1]
    opened(treasury)
    with service.console() as officer:
        officer.seal_space(TREASURY, "a stolen laptop")
    place = stopped(service, practice_site)
    assert place.stat().st_mode & 0o777 == 0o600
    assert json.loads(place.read_text())["reason"] == "a stolen laptop"

    service.start()
    assert WORKER not in service.pids()
    assert refused(lambda: opened(treasury))
    stopped(service, practice_site).unlink()

    service.start()
    assert place.exists(), "the row says it, so the marker is back"
    until(lambda: WORKER not in service.pids())
    assert refused(lambda: opened(treasury))
    assert "marker was gone" in service.tail(400)


def test_an_older_row_put_back_does_not_unseal(
    service: Service, practice_site: PracticeSite
) -> None:
    service.start()
    treasury = rooms(service)[1]
    opened(treasury)
    database = practice_site.state / "conclave.db"
    older = _space_row(database)
    with service.console() as officer:
        officer.seal_space(TREASURY, "a stolen laptop")
    assert service.stop() == 0
    (practice_site.state / marker(TREASURY)).unlink()
    _put_space_row(database, older)

    service.start()
    with pytest.raises(ConclaveError) as caught:
        opened(treasury)
    assert caught.value.code == "integrity_failure"


def test_a_quorum_and_the_pin_unseal_a_space(service: Service, practice_site: PracticeSite) -> None:
    service.start()
    treasury = rooms(service)[1]
    opened(treasury)
    with service.console() as officer:
        officer.seal_space(TREASURY, "a stolen laptop")
    place = stopped(service, practice_site)
    with pytest.raises(Sealed):
        hold(practice_site, plan_of("register-recipient"))

    hold(practice_site, plan_of("unseal"))
    assert not place.exists()
    service.start()
    readable(service, treasury, opened(treasury))
    with service.console() as console:
        actions = [decode_leaf(leaf.encode()).action for leaf in console.leaves()]
    assert [one for one in actions if one.startswith("space.") and "seal" in one] == [
        "space.seal",
        "space.unseal",
    ]


# --- the box ------------------------------------------------------------------------------------


def test_a_sealed_box_says_so_and_does_nothing_until_it_is_unsealed(
    service: Service, practice_site: PracticeSite
) -> None:
    service.start()
    treasury = rooms(service)[1]
    opened(treasury)
    pins = [pin_of(practice_site, token.label) for token in service.settings.hsm.tokens]
    command = [CONCLAVE, "--config", str(practice_site.config), "seal", "--site", "--yes", "--json"]
    done = subprocess.run(
        [*command, "--reason", "an intruder"], capture_output=True, timeout=30, check=True
    )
    assert json.loads(done.stdout)["durable"]
    until(lambda: set(service.pids()) == {"web"}, 4)
    until(lambda: _says_sealed(service), 10)
    assert health(service, "health/live") == (200, "live")
    assert health(service, "spaces") == (503, "sealed")
    with service.console() as console:
        assert console.status().key_operations == "sealed"
    if os.geteuid() == 0:
        for pid in (service.pid, *service.pids().values()):
            assert not any(holds(pid, pin) for pin in pins)
    assert service.stop() == 0

    service.start(wait=False)
    until(lambda: _says_sealed(service), 20)
    assert set(service.pids()) == {"web"}
    assert service.stop() == 0
    (practice_site.state / marker("")).unlink()

    service.start(wait=False)
    until(lambda: _says_sealed(service) and set(service.pids()) == {"web"}, 30)
    assert service.stop() == 0

    with pytest.raises(Sealed):
        hold(practice_site, plan_of("drill"))
    hold(practice_site, plan_of("unseal", WHOLE_BOX, name="unseal-box"))
    service.start()
    readable(service, treasury, opened(treasury))


def _row_says_sealed(service: Service) -> bool:
    with service.console() as console:
        return any(one.sealed for one in console.spaces().items)


def _space_row(database: Path) -> tuple[object, ...]:
    with closing(sqlite3.connect(database)) as connection:
        query = "SELECT version, body, mac FROM space WHERE space = ?"
        return tuple(connection.execute(query, (TREASURY,)).fetchone())


def _put_space_row(database: Path, row: tuple[object, ...]) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        change = "UPDATE space SET version = ?, body = ?, mac = ? WHERE space = ?"
        assert connection.execute(change, (*row, TREASURY)).rowcount == 1


def _says_sealed(service: Service) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as probe:  # httpx2 leaves open what is refused
            probe.connect(str(service.settings.paths.api_socket))
        return health(service, "health/ready") == (503, "sealed")
    except (httpx2.HTTPError, OSError):
        return False

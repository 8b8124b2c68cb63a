"""Destroyed means gone, on a practice service with real tokens."""

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from kms.errors import NotFound, OnHold, QuorumNotMet, StateNotAllowed, VerificationFailed
from tests.practice.approving import approve, ask_for, carry_out
from tests.practice.service import CONCLAVE, Service
from tests.scenarios.destroyed import (
    Fingerprints,
    check,
    check_certificate,
    destroy_and_search,
    free_pages,
    run,
)
from tests.scenarios.rooms import Room, rooms


@pytest.fixture(scope="module")
def treasury(service: Service) -> Room:
    return next(one for one in rooms(service) if one.space == "treasury")


def closed(room: Room, epochs: int = 1) -> Room:
    made = run(room.again(), epochs)
    with room.service.server(room.server) as client:
        client.close_meeting(made.space, made.meeting)
    return made


def test_what_is_destroyed_is_in_no_file_of_the_site_nor_in_a_later_backup(
    service: Service, tmp_path: Path
) -> None:
    report = destroy_and_search(service, tmp_path, meetings=2, epochs=4)
    check(report, service)
    assert len(report.certificates) == 6


def test_the_search_finds_a_piece_wherever_it_lies() -> None:
    blob = bytes(range(256)) + bytes(range(128))
    wanted = Fingerprints.of([blob])
    assert wanted.found_in(b"?" * 7 + blob[100:170] + b"?" * 9)
    assert not wanted.found_in(b"?" * 5000)


def test_free_pages_are_found_in_a_database_that_keeps_what_was_deleted(tmp_path: Path) -> None:
    path = tmp_path / "careless.db"
    with closing(sqlite3.connect(path)) as careless:
        careless.execute("PRAGMA secure_delete=0")
        careless.execute("CREATE TABLE t (x BLOB)")
        careless.executemany("INSERT INTO t VALUES (?)", [(b"secret" * 100,)] * 100)
        careless.commit()
        careless.execute("DELETE FROM t")
        careless.commit()
    assert any(b"secret" in page for page in free_pages(path.read_bytes()))


def test_a_hold_stops_an_approved_destruction_until_it_is_lifted(treasury: Room) -> None:
    service, room = treasury.service, closed(treasury)
    wanted = ask_for(service, "meeting.destroy", room.space, {"meeting": room.meeting})
    with service.console() as client:
        hold = client.place_hold(room.space, "a lawsuit", room.meeting)
        with pytest.raises(QuorumNotMet):
            client.execute_request(wanted.id)
        approve(service, wanted)
        with pytest.raises(OnHold):
            client.execute_request(wanted.id)
        with pytest.raises(NotFound):
            client.certificate(wanted.id)
        carry_out(service, "hold.lift", room.space, {"hold": hold.hold})
        client.execute_request(wanted.id)
        found = service.trust().certificate(client.certificate(wanted.id).certificate)
        assert client.holds(room.space).items[-1].lifted is not None
    check_certificate(found)
    assert (found.digest, found.meeting) == (wanted.digest(), room.meeting)


def test_a_suspended_key_is_resumed_by_an_approved_request(treasury: Room) -> None:
    service, room = treasury.service, run(treasury.again(), 1)
    reader = room.members[0]
    with service.console() as client, service.server(reader.server) as server:
        client.suspend(room.space, room.meeting, "a doubt")
        with pytest.raises(StateNotAllowed):
            server.envelope(room.space, room.meeting, reader.id)
        carry_out(service, "epoch.resume", room.space, {"meeting": room.meeting, "epoch": 0})
        server.envelope(room.space, room.meeting, reader.id)


def test_a_compromise_reaches_as_far_as_the_log_says(treasury: Room) -> None:
    service, room = treasury.service, run(treasury.again(), 2)
    reader = room.members[0]
    with service.console() as client, service.server(reader.server) as server:
        for _ in range(3):
            server.envelope(room.space, room.meeting, reader.id)
        found = client.compromise(room.space, room.meeting, "a laptop is lost")
    (cascade,) = found.epochs
    assert (cascade.epoch, cascade.served, found.rotated) == (1, 3, 2)
    assert set(cascade.readers) == {one.id for one in room.members}
    assert [one.recipient for one in cascade.fetched] == [reader.id]


def test_a_certificate_is_shown_verified_and_printed(treasury: Room, tmp_path: Path) -> None:
    service, room = treasury.service, closed(treasury, 2)
    done = carry_out(service, "meeting.destroy", room.space, {"meeting": room.meeting})
    saved, printed = tmp_path / "certificate.jws", tmp_path / "certificate.pdf"
    trust = ("--key-list", service.site.key_list, "--site-root", service.site.site_root)
    shown = conclave(service, "certificate", "show", done.id)
    assert "vault key version 1" in shown
    conclave(service, "certificate", "show", done.id, "--out", saved)
    verified = conclave(service, "certificate", "verify", saved, *trust)
    assert "0-1" in verified
    conclave(service, "certificate", "print", saved, "--out", printed)
    assert printed.read_bytes().startswith(b"%PDF")
    saved.write_text(saved.read_text().replace(".", ".A", 1))
    with pytest.raises(VerificationFailed):
        service.trust().certificate(saved.read_text())
    assert "verification_failed" in conclave(
        service, "certificate", "verify", saved, *trust, code=65
    )


def conclave(service: Service, *arguments: object, code: int = 0) -> str:
    command = [CONCLAVE, "--lang", "en", "--config", service.site.config, *arguments]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr

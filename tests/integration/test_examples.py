"""The examples as processes, against a fake key API: join, talk, leave. The practice run has the
real service behind them.
"""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.practice.devices import Device, make_authority, make_devices, write_key
from tests.practice.examples import MEDIA_MODULE, Example
from tests.practice.fake_api import fake_api
from tests.practice.issuer import SPACE, Issuer
from tests.practice.transport import LossyRelay, Weather

SECONDS = 2
NAMES = ("alice", "bob", "carol")


@pytest.fixture(scope="module")
def devices() -> list[Device]:
    return make_devices(NAMES, make_authority())


@pytest.fixture
def place() -> Iterator[Path]:
    with TemporaryDirectory(prefix="c") as folder:  # short, since socket paths are
        yield Path(folder)


def participant(
    place: Path, issuer: Issuer, device: Device, opened: dict[str, Any], media: str
) -> Example:
    key, _ = device.save(place)
    options = {
        "control": opened["control"], "media": media, "space": SPACE,
        "meeting": opened["meeting"], "key": key, "site": issuer.site, "root": place / "root.pem",
        "key-list": place / "keys.jws", "wrap-alg": issuer.wrap_alg, "media-module": MEDIA_MODULE,
    }  # fmt: skip
    return Example("participant", [f"--{name}={value}" for name, value in options.items()])


def talk(members: list[Example]) -> list[dict[str, Any]]:
    """Let all send at once; return each one's report."""
    for member in members:
        member.do("send", seconds=SECONDS)
    for member in members:
        assert member.expect("sent")["frames"] == SECONDS * 75
    time.sleep(0.3)
    for member in members:
        member.do("report")
    return [member.expect("report") for member in members]


def test_three_devices_talk_and_one_leaves(place: Path, devices: list[Device]) -> None:
    issuer = Issuer()
    pem = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    (place / "root.pem").write_bytes(issuer.root.public_key().public_bytes(*pem))
    (place / "keys.jws").write_text(issuer.key_list())
    write_key(place / "roster.pem", ec.generate_private_key(ec.SECP256R1()))
    certificates = [device.save(place)[1] for device in devices]
    arguments = [
        f"--api-socket={place / 'api.sock'}", f"--space={SPACE}", "--careless",
        f"--roster-key={place / 'roster.pem'}", f"--control={place / 'm.sock'}",
        *[f"--device={path}" for path in certificates],
    ]  # fmt: skip
    with fake_api(place / "api.sock", issuer), contextlib.ExitStack() as stack:
        server = stack.enter_context(Example("meeting_server", arguments))
        opened = server.expect("opened")
        relay = LossyRelay(tuple(opened["media"]), seed=5, weather=Weather(loss=0.02))
        stack.enter_context(relay)
        media = "{}:{}".format(*relay.address)
        members = [
            stack.enter_context(participant(place, issuer, device, opened, media))
            for device in devices
        ]
        for index, member in enumerate(members):
            assert member.expect("epoch", epoch=0)["sender"] == index
        time.sleep(0.5)  # greetings

        before = talk(members)
        for report in before:
            assert report["delivered"] >= 2 * SECONDS * 75 * 0.9
            assert report["opened"] == report["delivered"]
            assert report["decoded"] >= report["delivered"] * 0.99

        server.do("remove", device=devices[2].id)
        assert server.expect("epoch", epoch=1)["devices"] == sorted(d.id for d in devices[:2])
        members[2].expect("left")
        for member in members[:2]:
            member.expect("epoch", epoch=1)
        first, second, leaver = report_after_leave(members)
        for report in (first, second):
            assert report["delivered"] >= SECONDS * 75 * 0.9
            assert report["decoded"] >= report["delivered"] * 0.99
        assert leaver["delivered"] >= 2 * SECONDS * 75 * 0.9, "the careless server forwards to it"
        assert (leaver["opened"], leaver["decoded"]) == (0, 0)
        assert leaver["epochs"] == [0]


def report_after_leave(members: list[Example]) -> list[dict[str, Any]]:
    for member in members[:2]:
        member.do("send", seconds=SECONDS)
    for member in members[:2]:
        member.expect("sent")
    time.sleep(0.3)
    for member in members:
        member.do("report")
    return [member.expect("report") for member in members]

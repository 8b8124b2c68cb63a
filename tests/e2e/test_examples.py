"""The examples as processes against the served practice site: join, talk, leave; and a trusted
space, whose servers fetch for themselves. Real token, mutual TLS, real media, a bad network.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from kms.practice import PracticeSite
from tests.practice.devices import Device, load_authority, make_devices
from tests.practice.examples import MEDIA_MODULE, Example
from tests.practice.service import Service
from tests.practice.transport import LossyRelay, Weather

SECONDS = 2
FRAMES = SECONDS * 75
WEATHER = Weather(loss=0.02)


@pytest.fixture(scope="module")
def devices(service: Service) -> list[Device]:
    site = service.site
    authority = load_authority(site.device_ca_key, site.device_ca)
    return make_devices(["alice", "bob", "carol"], authority)


@pytest.fixture
def place() -> Iterator[Path]:
    with TemporaryDirectory(prefix="c") as folder:  # short, since socket paths are
        yield Path(folder)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def options(**values: Any) -> list[str]:
    return [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]


def api(service: Service, name: str) -> list[str]:
    server = service.site.server(name)
    return options(
        api_url=service.url, tls_cert=server.certificate, tls_key=server.tls_key,
        tls_ca=service.site.tls_ca, space=server.space,
    )  # fmt: skip


def pinned(site: PracticeSite) -> list[str]:
    return options(
        site=site.site_id, root=site.site_root, wrap_alg="RSA-OAEP", media_module=MEDIA_MODULE
    )


class Meeting:
    """A meeting server, three participants, and a bad network between them."""

    def __init__(
        self, service: Service, stack: ExitStack, place: Path, devices: list[Device]
    ) -> None:
        paths = [device.save(place) for device in devices]
        arguments = [
            *api(service, "ms-1"), "--careless", *[f"--device={path}" for _, path in paths],
            *options(roster_key=service.site.server("ms-1").own_key, control=place / "m.sock"),
        ]  # fmt: skip
        self.server = stack.enter_context(Example("meeting_server", arguments))
        opened = self.server.expect("opened")
        relay = stack.enter_context(LossyRelay(tuple(opened["media"]), seed=5, weather=WEATHER))
        common = [
            *pinned(service.site),
            *options(
                control=opened["control"], media="{}:{}".format(*relay.address),
                space=opened["space"], meeting=opened["meeting"],
                key_list=service.site.key_list,
            ),
        ]  # fmt: skip
        self.members = [
            stack.enter_context(Example("participant", [*common, f"--key={key}"]))
            for key, _ in paths
        ]
        for index, member in enumerate(self.members):
            assert member.expect("epoch", epoch=0)["sender"] == index
        time.sleep(0.5)  # their greetings reach the forwarder

    def talk(self, speakers: list[Example]) -> list[dict[str, Any]]:
        """Let these send at once; return everybody's report."""
        for member in speakers:
            member.do("send", seconds=SECONDS)
        for member in speakers:
            assert member.expect("sent")["frames"] == FRAMES
        time.sleep(0.3)
        for member in self.members:
            member.do("report")
        return [member.expect("report") for member in self.members]


@pytest.fixture
def meeting(service: Service, stack: ExitStack, place: Path, devices: list[Device]) -> Meeting:
    return Meeting(service, stack, place, devices)


def test_three_devices_talk_and_the_one_that_leaves_opens_nothing_more(
    meeting: Meeting, devices: list[Device]
) -> None:
    for report in meeting.talk(meeting.members):
        assert report["delivered"] >= 2 * FRAMES * 0.9
        assert report["opened"] == report["delivered"]
        assert report["decoded"] >= report["delivered"] * 0.99

    *staying, leaving = meeting.members
    meeting.server.do("remove", device=devices[2].id)
    assert meeting.server.expect("epoch", epoch=1)["devices"] == sorted(d.id for d in devices[:2])
    leaving.expect("left")
    for member in staying:
        member.expect("epoch", epoch=1)
    *others, leaver = meeting.talk(staying)
    for report in others:
        assert report["delivered"] >= FRAMES * 0.9
        assert report["decoded"] >= report["delivered"] * 0.99
    assert leaver["delivered"] >= 2 * FRAMES * 0.9, "the careless server forwards to it"
    assert (leaver["opened"], leaver["decoded"]) == (0, 0)
    assert leaver["epochs"] == [0]


def test_a_key_changed_ahead_is_taken_up_by_all_without_a_gap(meeting: Meeting) -> None:
    meeting.server.do("rotate")
    for member in meeting.members:
        member.expect("epoch", epoch=1)
    for _ in range(2):
        for report in meeting.talk(meeting.members):
            assert report["opened"] == report["delivered"] >= 2 * FRAMES * 0.9


def test_a_leave_cancels_the_epoch_that_was_published_ahead(
    meeting: Meeting, devices: list[Device]
) -> None:
    meeting.server.do("rotate")
    meeting.server.expect("rotated")
    meeting.server.do("remove", device=devices[2].id)
    for member in meeting.members[:2]:
        member.expect("epoch", epoch=2)
    *others, leaver = meeting.talk(meeting.members[:2])
    assert leaver["opened"] == 0
    for report in others:
        assert report["opened"] == report["delivered"] >= FRAMES * 0.9
        assert 1 not in report["epochs"]


def test_servers_of_a_trusted_space_fetch_for_themselves(
    service: Service, stack: ExitStack
) -> None:
    with service.console() as client:
        ids = {one.name: one.recipient for one in client.recipients().items}
    arguments = {
        name: [
            *api(service, name), *pinned(service.site),
            *options(key=service.site.server(name).own_key, source=source),
        ]
        for source, name in enumerate(("ms-a", "ms-b"), start=1)
    }  # fmt: skip
    invite = options(with_recipient=ids["ms-b"])
    first = stack.enter_context(Example("trusted_server", arguments["ms-a"] + invite))
    join = options(meeting=first.expect("joined")["meeting"])
    second = stack.enter_context(Example("trusted_server", arguments["ms-b"] + join))
    to = second.expect("joined")["media"]
    readers = first.expect("epoch", epoch=0)["readers"]
    assert [one["kind"] for one in readers] == ["vault", "escrow", "server", "server"]
    second.expect("epoch", epoch=0)
    first.do("send", seconds=SECONDS, to=to)
    first.expect("sent", frames=FRAMES)
    second.do("report")
    report = second.expect("report")
    assert report["delivered"] == report["opened"] == report["decoded"] == FRAMES
    first.do("rotate")
    assert second.expect("epoch", epoch=1)["sender"] == 1

"""The main job's first half: a meeting in a roster space, real media end to end, one leaves."""

import base64
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kms.client.keys import EnvelopeOpener, EpochKey
from kms.errors import ConclaveError
from tests.practice import programs
from tests.practice.account import Account
from tests.practice.devices import Device, load_authority, make_devices
from tests.practice.examples import Example
from tests.practice.memory import holds
from tests.practice.service import Service
from tests.practice.transport import LossyRelay

SPACE = "investment-banking"
NAMES = ("甲", "乙", "丙")
SECONDS = 4
SEED = 20261122
ENOUGH = 0.99


@dataclass
class _Meeting:
    server: Example
    opened: dict[str, Any]
    devices: list[Device]
    people: list[Example]
    relay: LossyRelay


def run(service: Service, account: Account, scratch: Path) -> str:
    """Perform it; return the meeting's id."""
    site = service.site
    devices = make_devices(
        ["device-1", "device-2", "device-3"], load_authority(site.device_ca_key, site.device_ca)
    )
    files = [device.save(scratch) for device in devices]
    with ExitStack() as stack:
        account.step("开启会议", "A meeting server opens a meeting for three devices")
        control = scratch / "control.sock"
        server = programs.meeting_server(service, control, [one for _, one in files])
        opened = stack.enter_context(server).expect("opened")
        host, port = opened["media"]
        relay = stack.enter_context(LossyRelay((host, port), SEED))
        media = "{}:{}".format(*relay.address)
        people = [
            stack.enter_context(programs.participant(service, opened, key, media))
            for key, _ in files
        ]
        meeting = _Meeting(server, opened, devices, people, relay)
        _joined(account, meeting)
        _talk(account, meeting)
        _leave(account, meeting)
        _look_into_memory(service, account, meeting)
        server.do("stop")
        account.figures["forwarded"] = server.expect("closed")["forwarded"]
    return str(opened["meeting"])


def _joined(account: Account, meeting: _Meeting) -> None:
    keys = [person.expect("epoch", epoch=0) for person in meeting.people]
    readers = sorted(one["kind"] for one in keys[0]["readers"])
    account.say(f"space {SPACE}, meeting {meeting.opened['meeting']}, epoch 0")
    account.say(f"readers named in the signed manifest: {', '.join(readers)}")
    account.holds(
        "every device sees exactly who can read: three devices, the vault, the escrow, nobody else",
        shown=readers == ["device"] * 3 + ["escrow", "vault"],
    )


def _talk(account: Account, meeting: _Meeting) -> None:
    time.sleep(0.5)  # the devices' greetings reach the server
    account.step("加密音视频", "Opus and VP8 frames, end to end, over a lossy, reordering network")
    sent, reports = _exchange(meeting)
    _tell(account, "before_leave", sent, reports)
    account.holds(
        f"each device decodes at least {ENOUGH:.0%} of the frames delivered to it",
        shown=all(_share(one) >= ENOUGH and one["delivered"] for one in reports),
    )


def _leave(account: Account, meeting: _Meeting) -> None:
    account.step("一人离会", "One leaves, the key changes at once")
    leaver = meeting.devices[2]
    meeting.server.do("remove", device=leaver.id)
    meeting.server.expect("removed", device=leaver.id)
    epoch = [person.expect("epoch", epoch=1) for person in meeting.people[:2]]
    account.say(
        f"epoch 1; readers: {', '.join(sorted(one['kind'] for one in epoch[0]['readers']))}"
    )
    sent, reports = _exchange(meeting, senders=2)
    _tell(account, "after_leave", sent, reports)
    account.holds(
        f"the others still decode at least {ENOUGH:.0%} of what is delivered",
        shown=all(_share(one) >= ENOUGH and one["delivered"] for one in reports[:2]),
    )
    account.holds(
        f"the leaver, who was sent {reports[2]['delivered']} frames and still has its key, "
        "decodes 0",
        shown=reports[2]["delivered"] > 0 and reports[2]["opened"] == reports[2]["decoded"] == 0,
    )


def _exchange(meeting: _Meeting, senders: int = 3) -> tuple[list[int], list[dict[str, Any]]]:
    for person in meeting.people:
        _report(person)
    for person in meeting.people[:senders]:
        person.do("send", seconds=SECONDS)
    sent = [person.expect("sent")["frames"] for person in meeting.people[:senders]]
    reports = [_report(person) for person in meeting.people]
    return sent + [0] * (3 - senders), reports


def _report(person: Example) -> dict[str, Any]:
    person.do("report")
    return person.expect("report")


def _share(report: dict[str, Any]) -> float:
    return float(report["decoded"] / max(1, report["delivered"]))


def _tell(account: Account, when: str, sent: list[int], reports: list[dict[str, Any]]) -> None:
    rows = [
        (name, frames, one["delivered"], one["opened"], one["decoded"], f"{_share(one):.2%}")
        for name, frames, one in zip(NAMES, sent, reports, strict=True)
    ]
    account.table(("device", "sent", "delivered", "opened", "decoded", "of delivered"), rows)
    account.figures[when] = [
        {"sent": frames, **{k: one[k] for k in ("delivered", "opened", "decoded")}}
        for frames, one in zip(sent, reports, strict=True)
    ]


def _look_into_memory(service: Service, account: Account, meeting: _Meeting) -> None:
    account.step("检查服务器内存", "What the servers hold")
    key, refused = _open_everything(service, meeting)
    account.holds(
        f"none of the {refused['tried']} envelopes it relayed opens with a key of the server's",
        shown=refused["tried"] > 0 and refused["refused"] == refused["tried"],
    )
    processes = {
        "the device's": meeting.people[0].process.pid,
        "the meeting server's": meeting.server.process.pid,
        "the web process's": service.pids()["web"],
    }
    try:
        found = {whose: holds(pid, key.base_key) for whose, pid in processes.items()}
    except PermissionError:
        account.say("memory not looked at: reading other processes' memory needs root here")
        return
    account.figures["media_key_in_memory"] = list(found.values())
    account.holds(
        "the media key is in the device's memory (control), in neither server's",
        shown=list(found.values()) == [True, False, False],
    )


def _open_everything(service: Service, meeting: _Meeting) -> tuple[EpochKey, dict[str, int]]:
    """Open epoch 1 as the first device, and try every relayed envelope with a server's key."""
    space, meeting_id = SPACE, meeting.opened["meeting"]
    count = {"tried": 0, "refused": 0}
    with service.server("ms-1") as client:
        for device in meeting.devices[:2]:
            served = client.envelope(space, meeting_id, device.id, epoch=1)
            blob = base64.b64decode(served.blob)
            count["tried"] += 1
            try:
                service.opener("ms-a").open(
                    served.manifest, blob, space=space, meeting=meeting_id, epoch=1
                )
            except ConclaveError:
                count["refused"] += 1
    own = EnvelopeOpener(service.trust(), meeting.devices[1].key, programs.WRAP_ALG)
    key = own.open(served.manifest, blob, space=space, meeting=meeting_id, epoch=1)
    return key, count

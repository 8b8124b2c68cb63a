"""A meeting server in a roster space: it says who may join, and relays what it cannot open.

It signs the roster of devices, opens the meeting, hands every device its envelope and forwards
sealed frames between them. It never holds a key that opens a frame: envelopes are wrapped to the
devices' keys, and whoever leaves is shut out by the next epoch, not by this server's good will.

Standard input, one JSON object a line:
  {"do": "remove", "device": ID}       off the roster; the key changes at once
  {"do": "add", "certificate": FILE}   onto the roster; the next epoch is published ahead
  {"do": "rotate"}                     change the key by hand
  {"do": "stop"}                       close the meeting and end
Standard output, one JSON object a line, each with "event":
  opened   space, meeting, devices, control (Unix socket), media ([host, port])
  epoch    epoch, devices: an epoch's envelopes were relayed to those who are here
  removed device · added device · rotated · cancelled epoch
  refused  code, detail: the service said no, and nothing was changed
  closed   meeting, forwarded: how many datagrams were passed on
"""

import argparse
import asyncio
import json
import time
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from forwarder import Forwarder
from peer import MAX_LINE, address, commands, say
from service import Service, add_api_options, attempt

from kms.client.rosters import device_recipient, new_meeting, signed_roster
from kms.wire.replies import MeetingOut
from kms.wire.requests import RosterWish, WantedEnvelope

Devices = dict[str, x509.Certificate]


class MeetingServer:
    """One meeting."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options, self._service, self._space = options, Service(options), options.space
        self._meeting = options.meeting or new_meeting()
        self._roster_key = read_roster_key(options.roster_key)
        self._devices = dict(map(read_device, options.device))
        self._roster_version = 0
        self._joined: dict[str, tuple[int, asyncio.StreamWriter]] = {}
        self._sources = 0
        self._envelopes: dict[int, dict[str, dict[str, Any]]] = {}
        self._relaying = asyncio.Lock()
        self._forwarder = Forwarder()

    async def run(self) -> None:
        """Open the meeting, serve it until told to stop, close it."""
        self._media = await self._forwarder.start(self._options.media)
        control = str(self._options.control)
        await asyncio.start_unix_server(self._welcome, control, limit=MAX_LINE)
        wish = self._wish(self._devices)
        opened = await self._service.ask(
            lambda client: client.open_meeting(self._space, wish, meeting=self._meeting)
        )
        await self._changed(opened)
        say("opened", space=self._space, meeting=self._meeting, devices=list(self._devices),
            control=control, media=self._media)  # fmt: skip
        following = asyncio.create_task(self._follow())
        await commands({
            "remove": lambda command: attempt(self._remove(command["device"])),
            "add": lambda command: attempt(self._add(Path(command["certificate"]))),
            "rotate": lambda _: attempt(self._rotate()),
        })  # fmt: skip
        following.cancel()
        await self._service.ask(lambda client: client.close_meeting(self._space, self._meeting))
        say("closed", meeting=self._meeting, forwarded=self._forwarder.forwarded)

    # --- the roster: signed here, checked by the service and again inside its HSM worker ----------

    def _wish(self, devices: Devices) -> RosterWish:
        statement = signed_roster(
            self._roster_key,
            list(devices.values()),
            space=self._space,
            meeting=self._meeting,
            version=self._roster_version + 1,
            issued=int(time.time()),
        )
        return RosterWish(statement=statement)

    async def _set_roster(self, devices: Devices) -> None:
        wish = self._wish(devices)
        changed = await self._service.ask(
            lambda client: client.set_roster(self._space, self._meeting, wish)
        )
        self._devices = devices
        await self._changed(changed)

    async def _remove(self, device: str) -> None:
        await self._set_roster({id_: one for id_, one in self._devices.items() if id_ != device})
        if device in self._joined:
            source, writer = self._joined.pop(device)
            tell(writer, {"type": "left"})
            if not self._options.careless:
                self._forwarder.shut_out(source)
        say("removed", device=device)

    async def _add(self, path: Path) -> None:
        device, certificate = read_device(path)
        await self._set_roster(self._devices | {device: certificate})
        say("added", device=device)

    async def _rotate(self) -> None:
        await self._changed(
            await self._service.ask(lambda client: client.rotate(self._space, self._meeting))
        )
        say("rotated")

    # --- relaying: only the device can open what is addressed to it -------------------------------

    async def _changed(self, meeting: MeetingOut) -> None:
        self._roster_version = meeting.roster_version
        for epoch in (meeting.current, meeting.next):
            if epoch is not None:
                await self._relay(epoch.epoch)

    async def _relay(self, epoch: int) -> None:
        async with self._relaying:
            if epoch in self._envelopes:
                return
            self._envelopes[epoch] = await self._fetch(epoch)
        for device, envelope in self._envelopes[epoch].items():
            if device in self._joined:
                tell(self._joined[device][1], envelope)
        say("epoch", epoch=epoch, devices=sorted(self._envelopes[epoch]))

    async def _fetch(self, epoch: int) -> dict[str, dict[str, Any]]:
        wanted = [
            WantedEnvelope(space=self._space, meeting=self._meeting, recipient=one, epoch=epoch)
            for one in self._devices
        ]
        batch = await self._service.ask(lambda client: client.envelopes(wanted))
        return {
            one.envelope.recipient: {
                "type": "epoch",
                "epoch": one.envelope.epoch,
                "manifest": one.envelope.manifest,
                "blob": one.envelope.blob,
            }
            for one in batch.items
            if one.envelope is not None
        }

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Greet a device and give it the newest envelopes for the id that it names.

        It need not prove the id: an envelope is of no use to anyone but the device.
        """
        device = json.loads(await reader.readline())["hello"]
        self._sources += 1
        self._joined[device] = (self._sources, writer)
        tell(writer, {"type": "welcome", "source": self._sources, "media": self._media})
        for epoch in sorted(self._envelopes)[-2:]:
            if device in self._envelopes[epoch]:
                tell(writer, self._envelopes[epoch][device])

    # --- following: an officer may change the key too, and the service may do so by itself --------

    async def _follow(self) -> None:
        """Relay what the service's events tell of."""
        async for event in self._service.events():
            if event.meeting != self._meeting:
                continue
            if event.cancelled is not None:
                self._cancel(event.cancelled)
            if event.epoch is not None and event.kind in {"epoch.rotate", "roster.change"}:
                await attempt(self._relay(event.epoch))

    def _cancel(self, epoch: int) -> None:
        self._envelopes[epoch] = {}
        for _, writer in self._joined.values():
            tell(writer, {"type": "cancelled", "epoch": epoch})
        say("cancelled", epoch=epoch)


def tell(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
    """Send one JSON line to a device."""
    writer.write(json.dumps(message).encode() + b"\n")


def read_device(path: Path) -> tuple[str, x509.Certificate]:
    """Return a device's id and its certificate (PEM)."""
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    return device_recipient(certificate), certificate


def read_roster_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Return the space's roster-signing key, whose public half officers put on the token."""
    key = load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SystemExit(f"{path} is not an EC key")
    return key


def parse_arguments() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_api_options(parser)
    parser.add_argument("--space", required=True)
    parser.add_argument("--meeting", help="UUIDv7; a new one if not given")
    parser.add_argument("--roster-key", type=Path, required=True, help="P-256 private key, PEM")
    parser.add_argument("--device", type=Path, action="append", required=True,
                        help="certificate of a device, PEM; once for each")  # fmt: skip
    parser.add_argument("--control", type=Path, required=True, help="Unix socket to make")
    parser.add_argument("--media", type=address, default=("127.0.0.1", 0),
                        help="HOST:PORT for frames (UDP)")  # fmt: skip
    parser.add_argument("--careless", action="store_true",
                        help="forward to devices that left, too: they open nothing")  # fmt: skip
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(MeetingServer(parse_arguments()).run())

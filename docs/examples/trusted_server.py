"""A meeting server in a trusted space: a registered recipient that fetches keys for itself.

Its RSA key was registered by a quorum, so the service wraps epoch keys to it and it can read the
media: to mix it, record it or bridge it. Two such servers in one meeting can talk to each other.

Standard input, one JSON object a line:
  {"do": "send", "seconds": 2, "to": [HOST, PORT]}   send frames to another server's media address
  {"do": "report"}                                   figures since the last report
  {"do": "rotate"}                                   change the key by hand
  {"do": "stop"}                                     end; whoever opened the meeting closes it
Standard output, one JSON object a line, each with "event":
  joined   space, meeting, recipient, media ([host, port])
  epoch    epoch, sender, readers: a key was fetched and opened; readers are all in the manifest
  refused  code, detail · rotated · cancelled epoch · closed meeting
  sent frames · report sent, delivered, opened, decoded, sources, epochs
"""

import argparse
import asyncio
import base64
from pathlib import Path
from typing import Any

from peer import MediaPeer, commands, load_media, read_root, read_rsa, say
from service import Service, add_api_options, attempt

from kms.client.api import Client
from kms.client.keys import EnvelopeOpener, SiteTrust
from kms.client.session import MediaSession
from kms.wire.replies import MeetingOut
from kms.wire.requests import RosterWish


class TrustedServer:
    """One server in one meeting."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options, self._service, self._space = options, Service(options), options.space
        key_list = self._service.client.key_list().key_list
        trust = SiteTrust(options.site, read_root(options.root), key_list)
        self._opener = EnvelopeOpener(trust, read_rsa(options.key), options.wrap_alg)
        self._fetched: set[int] = set()
        self._peer = MediaPeer(options.source, load_media(options.media_module))

    async def run(self) -> None:
        """Open or join the meeting, follow its epochs, do as told."""
        meeting = await self._service.ask(self._open_or_read)
        self._meeting = meeting.meeting
        media = await self._peer.start()
        say("joined", space=self._space, meeting=self._meeting,
            recipient=self._opener.recipient, media=media)  # fmt: skip
        await self._changed(meeting)
        following = asyncio.create_task(self._follow())
        await commands({
            "send": lambda command: attempt(self._send(command["seconds"], command["to"])),
            "report": lambda _: self._report(),
            "rotate": lambda _: attempt(self._rotate()),
        })  # fmt: skip
        following.cancel()
        if self._options.meeting is None:
            await self._service.ask(lambda client: client.close_meeting(self._space, self._meeting))
            say("closed", meeting=self._meeting)

    def _open_or_read(self, client: Client) -> MeetingOut:
        if self._options.meeting is not None:
            return client.meeting(self._space, self._options.meeting)
        others = self._options.with_recipient or []
        wish = RosterWish(recipients=(self._opener.recipient, *others))
        return client.open_meeting(self._space, wish)

    async def _changed(self, meeting: MeetingOut) -> None:
        for epoch in (meeting.current, meeting.next):
            if epoch is not None:
                await attempt(self._fetch(epoch.epoch))

    async def _fetch(self, epoch: int) -> None:
        """Fetch one's own envelope, open it, adopt the epoch."""
        if epoch in self._fetched:
            return
        self._fetched.add(epoch)
        space, meeting, own = self._space, self._meeting, self._opener.recipient
        served = await self._service.ask(
            lambda client: client.envelope(space, meeting, own, epoch=epoch)
        )
        blob = base64.b64decode(served.blob)
        key = self._opener.open(served.manifest, blob, space=space, meeting=meeting, epoch=epoch)
        if self._peer.session is None:
            self._peer.session = MediaSession(key)
        self._peer.session.adopt(key)
        readers = [{"id": one.id, "kind": one.kind} for one in key.manifest.recipients]
        say("epoch", epoch=epoch, sender=key.sender, readers=readers)

    async def _send(self, seconds: float, to: list[Any]) -> None:
        say("sent", frames=await self._peer.send(seconds, (to[0], to[1])))

    async def _report(self) -> None:
        say("report", **self._peer.report())

    async def _rotate(self) -> None:
        await self._changed(
            await self._service.ask(lambda client: client.rotate(self._space, self._meeting))
        )
        say("rotated")

    async def _follow(self) -> None:
        """Fetch what the service's events tell of."""
        async for event in self._service.events():
            if event.meeting != self._meeting or self._peer.session is None:
                continue
            if event.cancelled is not None:
                self._peer.session.cancel(event.cancelled)
                say("cancelled", epoch=event.cancelled)
            if event.epoch is not None and event.kind in {"epoch.rotate", "roster.change"}:
                await attempt(self._fetch(event.epoch))


def parse_arguments() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_api_options(parser)
    parser.add_argument("--space", required=True)
    parser.add_argument("--meeting", help="join this meeting instead of opening one")
    parser.add_argument("--with-recipient", action="append", metavar="ID",
                        help="when opening: another registered recipient")  # fmt: skip
    parser.add_argument("--source", type=int, default=1, help="own number in datagrams [1]")
    parser.add_argument("--key", type=Path, required=True, help="registered RSA key, PEM")
    parser.add_argument("--site", required=True, help="the site's name, pinned")
    parser.add_argument("--root", type=Path, required=True, help="site root, PEM, pinned")
    parser.add_argument("--wrap-alg", required=True, help="RSA-OAEP or RSA-OAEP-256, pinned")
    parser.add_argument("--media-module", help="Python module with record() and Player")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(TrustedServer(parse_arguments()).run())

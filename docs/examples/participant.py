"""A participant's device in a roster space: it alone opens its envelope, and seals its frames.

The device knows from its invitation which space and meeting it joins, and it has the site's root
key pinned. Everything else reaches it through a meeting server that it need not trust: the server
hands over manifests and blobs, and forwards sealed frames.

Standard input, one JSON object a line:
  {"do": "send", "seconds": 4}   send frames for that long; answered by "sent"
  {"do": "report"}               figures since the last report; answered by "report"
  {"do": "stop"}                 leave
Standard output, one JSON object a line, each with "event":
  joined   recipient, source: the device's id, and its number in datagrams
  epoch    epoch, sender, readers: a key was opened; readers are all that the manifest names
  refused  epoch, code: an envelope did not open, and changed nothing
  cancelled epoch · left · sent frames · report sent, delivered, opened, decoded, sources, epochs
"""

import argparse
import asyncio
import base64
import contextlib
import json
from pathlib import Path
from typing import Any

from peer import (
    MAX_LINE,
    Address,
    MediaPeer,
    address,
    commands,
    lines,
    load_media,
    read_root,
    read_rsa,
    say,
)

from kms.client.keys import EnvelopeOpener, SiteTrust
from kms.client.session import MediaSession
from kms.errors import ConclaveError


class Participant:
    """One device in one meeting."""

    def __init__(self, options: argparse.Namespace) -> None:
        key_list = options.key_list.read_text(encoding="ascii").strip()
        trust = SiteTrust(options.site, read_root(options.root), key_list)
        self._opener = EnvelopeOpener(trust, read_rsa(options.key), options.wrap_alg)
        self._space, self._meeting = options.space, options.meeting
        self._control, self._media = options.control, options.media
        self._peer = MediaPeer(0, load_media(options.media_module))

    async def run(self) -> None:
        """Join, then follow the server's lines and one's own user's until either ends."""
        reader, writer = await asyncio.open_unix_connection(self._control, limit=MAX_LINE)
        writer.write(json.dumps({"hello": self._opener.recipient}).encode() + b"\n")
        welcome = json.loads(await reader.readline())
        self._peer.source = welcome["source"]
        server: Address = self._media or tuple(welcome["media"])
        await self._peer.start()
        say("joined", recipient=self._opener.recipient, source=self._peer.source)
        tasks = [
            asyncio.create_task(self._greet(server)),
            asyncio.create_task(self._follow(reader)),
        ]
        await commands({
            "send": lambda command: self._send(command["seconds"], server),
            "report": lambda _: self._report(),
        })  # fmt: skip
        for task in tasks:
            task.cancel()
        writer.close()

    async def _greet(self, server: Address) -> None:
        """Keep telling the server where frames for this device go: datagrams get lost."""
        while True:
            self._peer.greet(server)
            await asyncio.sleep(0.1)

    async def _follow(self, reader: asyncio.StreamReader) -> None:
        async for message in lines(reader):
            match message["type"]:
                case "epoch":
                    self._adopt(message)
                case "cancelled":
                    self._cancel(message["epoch"])
                case "left":
                    say("left")

    def _adopt(self, message: dict[str, Any]) -> None:
        """Open an envelope. Space and meeting are the invitation's, never the server's word."""
        epoch, blob = message["epoch"], base64.b64decode(message["blob"])
        try:
            key = self._opener.open(
                message["manifest"], blob, space=self._space, meeting=self._meeting, epoch=epoch
            )
            if self._peer.session is None:
                self._peer.session = MediaSession(key)
            self._peer.session.adopt(key)
        except ConclaveError as error:
            say("refused", epoch=epoch, code=error.code)
            return
        readers = [{"id": r.id, "kind": r.kind} for r in key.manifest.recipients]
        say("epoch", epoch=epoch, sender=key.sender, readers=readers)

    def _cancel(self, epoch: int) -> None:
        if self._peer.session is not None:
            self._peer.session.cancel(epoch)
        say("cancelled", epoch=epoch)

    async def _send(self, seconds: float, server: Address) -> None:
        say("sent", frames=await self._peer.send(seconds, server))

    async def _report(self) -> None:
        say("report", **self._peer.report())


def parse_arguments() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--control", required=True, help="Unix socket of the meeting server")
    parser.add_argument("--media", type=address, help="HOST:PORT to send frames to instead")
    parser.add_argument("--space", required=True, help="from the invitation")
    parser.add_argument("--meeting", required=True, help="from the invitation")
    parser.add_argument("--key", type=Path, required=True, help="the device's RSA private key, PEM")
    parser.add_argument("--site", required=True, help="the site's name, pinned")
    parser.add_argument(
        "--root", type=Path, required=True, help="the site's root public key, PEM, pinned"
    )
    parser.add_argument(
        "--key-list", type=Path, required=True, help="file of the site's key list (JWS)"
    )
    parser.add_argument("--wrap-alg", required=True, help="RSA-OAEP or RSA-OAEP-256, pinned")
    parser.add_argument("--media-module", help="Python module with record() and Player")
    return parser.parse_args()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(Participant(parse_arguments()).run())

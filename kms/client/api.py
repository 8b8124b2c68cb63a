"""The key API, typed: one method per operation, errors as exceptions of ``kms.errors``.

Creates carry an Idempotency-Key: a fresh one, or the caller's, who then can repeat a create after
a crash of its own and gets the first one's answer.
"""

import ssl
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, Self

import httpx2

from kms.client.calls import epoch_path
from kms.client.disks import Disks
from kms.client.evidence import EvidenceReads
from kms.client.governing import Governing
from kms.client.reports import ReportReads
from kms.client.transport import Transport, unreachable
from kms.domain.score import Cipher
from kms.errors import InvalidInput, Unavailable
from kms.wire import (
    alerts,
    confidential,
    replies,
    requests,
)
from kms.wire.parsing import parse

_TIMEOUT = 30.0
_PATIENCE = 5
_LONGEST_PAUSE = 5.0


class Client(Governing, EvidenceReads, ReportReads, Disks):
    """A caller of the key API. Use it as a context manager, by one thread at a time."""

    @classmethod
    def over_socket(cls, path: Path, *, timeout: float = _TIMEOUT) -> Self:
        """Return a client over the API's Unix socket; ``timeout`` in seconds."""
        return cls(Transport.over_socket(path, timeout))

    @classmethod
    def over_tls(cls, url: str, context: ssl.SSLContext, *, timeout: float = _TIMEOUT) -> Self:
        """Return a client over mutual TLS; see ``transport.mutual_tls``. Raise InvalidInput."""
        return cls(Transport.over_tls(url, context, timeout))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._to.close()

    # --- meetings and rosters ---------------------------------------------------------------------

    def open_meeting(
        self,
        space: str,
        wish: requests.RosterWish,
        *,
        meeting: str | None = None,
        idempotency_key: str | None = None,
    ) -> replies.MeetingOut:
        """Open a meeting and mint its epoch 0; in a roster space choose ``meeting`` (UUIDv7)."""
        body = requests.OpenMeeting(**dict(wish), meeting=meeting)
        answer = self._to.ask("meeting.open", body, key=idempotency_key, space=space)
        return answer.read(replies.MeetingOut)

    def meetings(self, space: str) -> Iterator[replies.MeetingSummary]:
        """Yield a space's meetings by id, page by page."""
        after: str | None = None
        while True:
            answer = self._to.ask("meeting.list", query={"after": after}, space=space)
            page = answer.read(replies.MeetingPage)
            yield from page.items
            if (after := page.next) is None:
                return

    def meeting(self, space: str, meeting: str) -> replies.MeetingOut:
        """Return a meeting with its roster and epochs."""
        return self._meeting("meeting.read", replies.MeetingOut, space, meeting)

    def close_meeting(self, space: str, meeting: str) -> replies.MeetingOut:
        """End a meeting."""
        return self._meeting("meeting.close", replies.MeetingOut, space, meeting)

    def roster(self, space: str, meeting: str) -> replies.RosterOut:
        """Return a meeting's roster."""
        return self._meeting("roster.read", replies.RosterOut, space, meeting)

    def set_roster(
        self,
        space: str,
        meeting: str,
        wish: requests.RosterWish,
        *,
        if_version: int | None = None,
    ) -> replies.MeetingOut:
        """Replace the roster, which rotates the key; ``if_version``: only if that is present."""
        answer = self._to.ask(
            "roster.change", wish, if_match=if_version, space=space, meeting=meeting
        )
        return answer.read(replies.MeetingOut)

    def amend_roster(
        self,
        space: str,
        meeting: str,
        *,
        add: Sequence[str] = (),
        remove: Sequence[str] = (),
        if_version: int | None = None,
    ) -> replies.MeetingOut:
        """Add recipients to a trusted meeting's roster and remove others."""
        body = requests.AmendRoster(add=tuple(add), remove=tuple(remove))
        answer = self._to.ask(
            "roster.amend", body, if_match=if_version, space=space, meeting=meeting
        )
        return answer.read(replies.MeetingOut)

    # --- epochs and envelopes ---------------------------------------------------------------------

    def epochs(self, space: str, meeting: str) -> Iterator[replies.EpochOut]:
        """Yield a meeting's epochs by number, page by page."""
        after: int | None = None
        while True:
            query = {"after": after}
            answer = self._to.ask("epoch.list", query=query, space=space, meeting=meeting)
            page = answer.read(replies.EpochPage)
            yield from page.items
            if (after := page.next) is None:
                return

    def epoch(self, space: str, meeting: str, epoch: int | None = None) -> replies.EpochOut:
        """Return an epoch with its signed manifest; None is the current one."""
        number = epoch_path(epoch)
        answer = self._to.ask("epoch.read", space=space, meeting=meeting, epoch=number)
        return answer.read(replies.EpochOut)

    def rotate(
        self,
        space: str,
        meeting: str,
        reason: Literal["manual", "suspicion"] = "manual",
        *,
        idempotency_key: str | None = None,
    ) -> replies.MeetingOut:
        """Rotate a meeting's key by hand."""
        body = requests.Rotate(reason=reason)
        answer = self._to.ask(
            "epoch.rotate", body, key=idempotency_key, space=space, meeting=meeting
        )
        return answer.read(replies.MeetingOut)

    def envelope(
        self,
        space: str,
        meeting: str,
        recipient: str,
        *,
        epoch: int | None = None,
        assertion: str | None = None,
    ) -> replies.EnvelopeOut:
        """Fetch or relay one envelope: the manifest and the recipient's blob. A confidential
        meeting's wants an ``assertion`` of who is at the device.
        """
        answer = self._to.ask(
            "envelope.fetch",
            extra={requests.ASSERTION: assertion} if assertion else None,
            space=space,
            meeting=meeting,
            epoch=epoch_path(epoch),
            recipient=recipient,
        )
        return answer.read(replies.EnvelopeOut)

    def envelopes(self, wanted: Sequence[requests.WantedEnvelope]) -> replies.BatchOut:
        """Fetch or relay many envelopes; each is answered by itself, in order."""
        body = requests.FetchBatch(envelopes=tuple(wanted))
        return self._to.ask("envelope.batch", body).read(replies.BatchOut)

    # --- following --------------------------------------------------------------------------------

    def events(self, after: int | None = None) -> Iterator[replies.EventOut]:
        """Yield the changes of meetings behind event ``after``, or from now on.

        Resumes by itself behind the last event when the connection breaks; raise Unavailable when
        it cannot be made for a while. Never ends by itself: close the generator. Give ``after``
        to miss nothing if the connection breaks before the first event; 0 gives all.
        """
        failures = 0
        while True:
            try:
                for data in self._to.stream("event.follow", after):
                    event = _event(data)
                    after, failures = event.seq, 0
                    yield event
            except httpx2.TransportError as error:
                if (failures := failures + 1) > _PATIENCE:
                    raise unreachable(arrived=False) from error
            time.sleep(min(0.1 * 2**failures, _LONGEST_PAUSE))

    # --- media and score --------------------------------------------------------------------------

    def report_media(self, space: str, meeting: str, cipher: Cipher) -> replies.MeetingSummary:
        """Report which cipher a meeting's media were negotiated to."""
        body = confidential.ReportMedia(cipher=cipher)
        answer = self._to.ask("media.report", body, space=space, meeting=meeting)
        return answer.read(replies.MeetingSummary)

    def score(self, space: str, meeting: str) -> confidential.ScoreOut:
        """Return a meeting's self-check reference score with its reasons."""
        answer = self._to.ask("score.read", space=space, meeting=meeting)
        return answer.read(confidential.ScoreOut)

    # --- the site ---------------------------------------------------------------------------------

    def key_list(self) -> replies.KeyListOut:
        """Return the site's key list, which the pinned site root has signed."""
        return self._to.ask("key-list.read").read(replies.KeyListOut)

    def spaces(self) -> replies.SpaceList:
        """Return the spaces that the caller may know of."""
        return self._to.ask("space.list").read(replies.SpaceList)

    def recipients(self) -> replies.RecipientList:
        """Return the registered recipients of those spaces."""
        return self._to.ask("recipient.list").read(replies.RecipientList)

    def status(self) -> replies.StatusOut:
        """Return the state of log, workers and key operations."""
        return self._to.ask("status.read").read(replies.StatusOut)

    def rotation(self) -> Iterator[replies.RotationOut]:
        """Yield the rotation of the open meetings that the caller may know of, page by page."""
        after: str | None = None
        while True:
            page = self._to.ask("rotation.read", query={"after": after}).read(replies.RotationPage)
            yield from page.items
            if (after := page.next) is None:
                return

    def unlisted_spaces(self) -> tuple[str, ...]:
        """Return the spaces that ``rotation`` leaves out: sealed, or out of the configuration."""
        page = self._to.ask("rotation.read", query={"limit": 1}).read(replies.RotationPage)
        return page.unknown

    def escrow(self) -> replies.EscrowOut:
        """Return the status of escrow; the service looks at every epoch for it."""
        return self._to.ask("escrow.read").read(replies.EscrowOut)

    def tokens(self) -> replies.TokenList:
        """Return what each HSM token says of itself."""
        return self._to.ask("hsm.read").read(replies.TokenList)

    def live(self) -> replies.Health:
        """Return "live" if the process answers."""
        return self._to.ask("health.live").read(replies.Health)

    def ready(self) -> alerts.Readiness:
        """Return "ready" or "degraded" if key operations are possible; raise Unavailable."""
        return self._to.ask("health.ready").read(alerts.Readiness)

    def alerts(self) -> alerts.AlertList:
        """Return the active alerts that the caller may know of."""
        return self._to.ask("alert.list").read(alerts.AlertList)

    def metrics(self) -> str:
        """Return metrics in Prometheus text format."""
        return self._to.ask("metrics.read").body.decode("utf-8")


def _event(data: str) -> replies.EventOut:
    try:
        return parse(data.encode(), replies.EventOut)
    except InvalidInput as error:
        raise Unavailable("an event is not one of this API's") from error

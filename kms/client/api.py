"""The key API, typed: one method per operation, errors as exceptions of ``kms.errors``.

Creates carry an Idempotency-Key: a fresh one, or the caller's, who then can repeat a create after
a crash of its own and gets the first one's answer.
"""

import ssl
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, Self, TypeVar

import httpx2
from pydantic import BaseModel

from kms.client.transport import Transport, unreachable
from kms.domain.score import Cipher
from kms.errors import InvalidInput, Unavailable
from kms.wire import (
    alerts,
    approvals,
    audit,
    confidential,
    lifecycle,
    policies,
    replies,
    requests,
    vaults,
)
from kms.wire.parsing import parse

_TIMEOUT = 30.0
_PATIENCE = 5
_LONGEST_PAUSE = 5.0
_P = TypeVar("_P", bound=BaseModel)


class Client:
    """A caller of the key API. Use it as a context manager, by one thread at a time."""

    def __init__(self, transport: Transport) -> None:
        self._to = transport

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

    def seal_space(self, space: str, reason: str) -> replies.SealOut:
        """Seal a space at once; a ceremony unseals it."""
        answer = self._to.ask("space.seal", requests.Seal(reason=reason), space=space)
        return answer.read(replies.SealOut)

    def seal_site(self, reason: str) -> replies.SealOut:
        """Seal the whole box at once; a ceremony unseals it."""
        return self._to.ask("site.seal", requests.Seal(reason=reason)).read(replies.SealOut)

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
        number = _epoch(epoch)
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
        meeting's wants an ``assertion`` (JWT) of who is at the device.
        """
        answer = self._to.ask(
            "envelope.fetch",
            extra={requests.ASSERTION: assertion} if assertion else None,
            space=space,
            meeting=meeting,
            epoch=_epoch(epoch),
            recipient=recipient,
        )
        return answer.read(replies.EnvelopeOut)

    def envelopes(self, wanted: Sequence[requests.WantedEnvelope]) -> replies.BatchOut:
        """Fetch or relay many envelopes; each is answered by itself, in order."""
        body = requests.FetchBatch(envelopes=tuple(wanted))
        return self._to.ask("envelope.batch", body).read(replies.BatchOut)

    # --- approvals --------------------------------------------------------------------------------

    def approval_rules(
        self, space: str | None = None, partner: str | None = None
    ) -> approvals.RulesOut:
        """Return who must approve what, in a space and for what needs both with a partner's."""
        query = {"space": space, "partner": partner}
        return self._to.ask("approval.rules", query=query).read(approvals.RulesOut)

    def approval_pages(self, state: str = "pending") -> Iterator[approvals.RequestPage]:
        """Yield requests by id, page by page: pending, expired, executed or cancelled."""
        after: str | None = None
        while True:
            answer = self._to.ask("approval.list", query={"state": state, "after": after})
            page = answer.read(approvals.RequestPage)
            yield page
            if (after := page.next) is None:
                return

    def approval_request(self, request: str) -> approvals.RequestOut:
        """Return a request with its approvals."""
        return self._to.ask("approval.read", request=request).read(approvals.RequestOut)

    def submit_request(
        self, request: str, *, idempotency_key: str | None = None
    ) -> approvals.RequestOut:
        """Hand in a request (JWS)."""
        body = approvals.SubmitRequest(request=request)
        answer = self._to.ask("approval.submit", body, key=idempotency_key)
        return answer.read(approvals.RequestOut)

    def sign_request(self, request: str, approval: str) -> approvals.RequestOut:
        """Hand in somebody's approval (JWS) of a request."""
        body = approvals.SignRequest(approval=approval)
        return self._to.ask("approval.sign", body, request=request).read(approvals.RequestOut)

    def cancel_request(self, request: str) -> approvals.RequestOut:
        """Cancel a request."""
        return self._to.ask("approval.cancel", request=request).read(approvals.RequestOut)

    def execute_request(self, request: str) -> approvals.RequestOut:
        """Carry out a request that enough people approved."""
        return self._to.ask("approval.execute", request=request).read(approvals.RequestOut)

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

    # --- states, holds, certificates --------------------------------------------------------------

    def suspend(
        self, space: str, meeting: str, reason: str, epoch: int | None = None
    ) -> replies.EpochOut:
        """Stop serving a meeting's present key."""
        body = lifecycle.Because(reason=reason)
        answer = self._to.ask(
            "epoch.suspend", body, space=space, meeting=meeting, epoch=_epoch(epoch)
        )
        return answer.read(replies.EpochOut)

    def compromise(
        self, space: str, meeting: str, reason: str, epoch: int | None = None
    ) -> lifecycle.CompromiseOut:
        """Mark a key (without ``epoch`` the present one) compromised; raise as a rotation does,
        and then the mark stands.
        """
        body = lifecycle.Because(reason=reason)
        answer = self._to.ask(
            "epoch.compromise", body, space=space, meeting=meeting, epoch=_epoch(epoch)
        )
        return answer.read(lifecycle.CompromiseOut)

    def compromise_all(self, space: str, meeting: str, reason: str) -> lifecycle.CompromiseOut:
        """Mark every key of a meeting compromised; as ``compromise``."""
        body = lifecycle.Because(reason=reason)
        answer = self._to.ask("meeting.compromise", body, space=space, meeting=meeting)
        return answer.read(lifecycle.CompromiseOut)

    def place_hold(
        self,
        space: str,
        reason: str,
        meeting: str | None = None,
        idempotency_key: str | None = None,
    ) -> lifecycle.HoldOut:
        """Place a legal hold on a meeting, or on the whole space."""
        body = lifecycle.PlaceHold(reason=reason, meeting=meeting)
        answer = self._to.ask("hold.place", body, key=idempotency_key, space=space)
        return answer.read(lifecycle.HoldOut)

    def holds(self, space: str) -> lifecycle.HoldList:
        """Return a space's legal holds, lifted ones too."""
        return self._to.ask("hold.list", space=space).read(lifecycle.HoldList)

    def certificate(self, request: str) -> lifecycle.CertificateOut:
        """Return the certificate of what an approved request destroyed, unverified."""
        answer = self._to.ask("certificate.read", request=request)
        return answer.read(lifecycle.CertificateOut)

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

    def vault_keys(self) -> vaults.VaultList:
        """Return the vault keys of the spaces that the caller may know of."""
        return self._to.ask("vault.read").read(vaults.VaultList)

    def pause_reseal(self, space: str) -> vaults.ResealOut:
        """Pause the move of a space's keys to its newest vault key."""
        return self._to.ask("reseal.pause", space=space).read(vaults.ResealOut)

    def resume_reseal(self, space: str) -> vaults.ResealOut:
        """Go on moving a space's keys, also those that failed."""
        return self._to.ask("reseal.resume", space=space).read(vaults.ResealOut)

    def policy(self, space: str) -> policies.PolicyOut:
        """Return the policy in force in a space."""
        return self._to.ask("policy.read", space=space).read(policies.PolicyOut)

    def site_policy(self) -> policies.SitePolicyOut:
        """Return the site's own access policies, and which are in force."""
        return self._to.ask("site-policy.read").read(policies.SitePolicyOut)

    def explain(self, question: policies.Explain) -> policies.ExplanationOut:
        """Return why somebody may do something, or may not."""
        return self._to.ask("policy.explain", question).read(policies.ExplanationOut)

    def grants(self) -> policies.GrantList:
        """Return the time-bound grants of the spaces that the caller may know of."""
        return self._to.ask("grant.list").read(policies.GrantList)

    def revoke_grant(self, grant: str) -> policies.GrantOut:
        """End a grant at once."""
        return self._to.ask("grant.revoke", grant=grant).read(policies.GrantOut)

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

    # --- the log ----------------------------------------------------------------------------------

    def checkpoint(self) -> audit.CheckpointOut:
        """Return the newest signed checkpoint."""
        return self._to.ask("audit.checkpoint").read(audit.CheckpointOut)

    def checkpoints(self) -> Iterator[audit.CheckpointOut]:
        """Yield signed checkpoints by size, page by page."""
        after: int | None = None
        while True:
            answer = self._to.ask("audit.checkpoints", query={"after": after})
            page = answer.read(audit.CheckpointPage)
            yield from page.items
            if (after := page.next) is None:
                return

    def leaves(self, start: int = 0) -> Iterator[str]:
        """Yield the log's leaves from sequence ``start``, page by page."""
        position: int | None = start
        while position is not None:
            answer = self._to.ask("audit.leaves", query={"start": position})
            page = answer.read(audit.LeafPage)
            yield from page.items
            position = page.next

    def some_leaves(self, start: int, limit: int) -> tuple[str, ...]:
        """Return up to ``limit`` leaves (at most a page) from sequence ``start``."""
        query = {"start": start, "limit": limit}
        return self._to.ask("audit.leaves", query=query).read(audit.LeafPage).items

    def proof(self, leaf: int, size: int | None = None) -> audit.ProofOut:
        """Return the proof that a leaf is in the tree of ``size`` leaves."""
        answer = self._to.ask("audit.proof", query={"size": size}, leaf=leaf)
        return answer.read(audit.ProofOut)

    def consistency(self, old: int, new: int | None = None) -> audit.ConsistencyOut:
        """Return the proof that the tree of ``new`` leaves extends that of ``old``."""
        answer = self._to.ask("audit.consistency", query={"old": old, "new": new})
        return answer.read(audit.ConsistencyOut)

    def manifests(self, space: str) -> Iterator[audit.ManifestOut]:
        """Yield the manifests of a space's epochs, page by page."""
        after: str | None = None
        while True:
            answer = self._to.ask("audit.manifests", query={"space": space, "after": after})
            page = answer.read(audit.ManifestPage)
            yield from page.items
            if (after := page.next) is None:
                return

    def evidence_requests(self) -> Iterator[audit.EvidenceRequestOut]:
        """Yield the requests that were carried out, page by page."""
        after: str | None = None
        while True:
            answer = self._to.ask("audit.requests", query={"after": after})
            page = answer.read(audit.EvidenceRequestPage)
            yield from page.items
            if (after := page.next) is None:
                return

    def registers(self) -> audit.RegisterList:
        """Return every register of people that was issued."""
        return self._to.ask("audit.registers").read(audit.RegisterList)

    def _meeting(self, operation: str, kind: type[_P], space: str, meeting: str) -> _P:
        return self._to.ask(operation, space=space, meeting=meeting).read(kind)


def _epoch(epoch: int | None) -> str:
    return "current" if epoch is None else str(epoch)


def _event(data: str) -> replies.EventOut:
    try:
        return parse(data.encode(), replies.EventOut)
    except InvalidInput as error:
        raise Unavailable("an event is not one of this API's") from error

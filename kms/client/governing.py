"""What people ask of the key API: approvals, states, holds, seals, vault keys, policies, grants."""

from collections.abc import Iterator

from kms.client.calls import Calls, epoch_path
from kms.wire import (
    approvals,
    lifecycle,
    passkeys,
    policies,
    replies,
    requests,
    vaults,
)


class Governing(Calls):
    """The operations of officers, and what auditors read of them."""

    def seal_space(self, space: str, reason: str) -> replies.SealOut:
        """Seal a space at once; a ceremony unseals it."""
        answer = self._to.ask("space.seal", requests.Seal(reason=reason), space=space)
        return answer.read(replies.SealOut)

    def seal_site(self, reason: str) -> replies.SealOut:
        """Seal the whole box at once; a ceremony unseals it."""
        return self._to.ask("site.seal", requests.Seal(reason=reason)).read(replies.SealOut)

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

    def suspend(
        self, space: str, meeting: str, reason: str, epoch: int | None = None
    ) -> replies.EpochOut:
        """Stop serving a meeting's present key."""
        body = lifecycle.Because(reason=reason)
        answer = self._to.ask(
            "epoch.suspend", body, space=space, meeting=meeting, epoch=epoch_path(epoch)
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
            "epoch.compromise", body, space=space, meeting=meeting, epoch=epoch_path(epoch)
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

    def passkey_pages(self) -> Iterator[passkeys.PasskeyPage]:
        """Yield passkeys for the board by enrolment, page by page; each says where the board is."""
        after: int | None = None
        while True:
            page = self._to.ask("passkey.list", query={"after": after}).read(passkeys.PasskeyPage)
            yield page
            if (after := page.next) is None:
                return

    def passkey(self, credential: str) -> passkeys.PasskeyOut:
        """Return a passkey."""
        answer = self._to.ask("passkey.read", credential=credential)
        return answer.read(passkeys.PasskeyOut)

    def invite_passkey(self, invitation: str) -> passkeys.InvitationOut:
        """Hand in an invitation (JWS) to enrol a passkey."""
        body = passkeys.InvitePasskey(invitation=invitation)
        return self._to.ask("passkey.invite", body).read(passkeys.InvitationOut)

    def admit_passkey(self, credential: str, admission: str) -> passkeys.PasskeyOut:
        """Hand in the admission (JWS) of an approval passkey."""
        body = passkeys.AdmitPasskey(admission=admission)
        answer = self._to.ask("passkey.admit", body, credential=credential)
        return answer.read(passkeys.PasskeyOut)

    def revoke_passkey(self, credential: str, reason: str) -> passkeys.PasskeyOut:
        """Revoke a passkey for ever."""
        body = passkeys.RevokePasskey(reason=reason)
        answer = self._to.ask("passkey.revoke", body, credential=credential)
        return answer.read(passkeys.PasskeyOut)

"""Signs statements about compliance reports: the site's worker builds each itself.

It vouches for the log alone: that what a report was made from is the beginning of what this token
has signed. Names in full it lets pass only with an executed request for that report, given to it
soon afterwards. What the figures and the paper say is the service's word: whoever has the bundle
works them out again.
"""

from collections.abc import Callable

from kms.audit.merkle import verify_consistency
from kms.domain.reports import UNMASKED_SECONDS, ReportTarget
from kms.errors import Forbidden, IntegrityFailure, VerificationFailed
from kms.hsm.checkpoints import Checkpoints
from kms.hsm.guard import check_executed
from kms.hsm.keyring import SiteKeyring
from kms.ports import ReportOrder
from kms.statements.canonical import b64u
from kms.statements.report import ReportStatement, sign_report


class Reporter:
    """Signs for one site."""

    def __init__(self, site: str, checkpoints: Checkpoints, clock: Callable[[], float]) -> None:
        self._site = site
        self._checkpoints = checkpoints
        self._clock = clock

    def sign(self, keys: SiteKeyring, order: ReportOrder) -> str:
        """Return the statement as a JWS.

        Raise IntegrityFailure for another log than the one signed, Forbidden for names in full
        without a request that counts, VerificationFailed, InvalidInput.
        """
        self._check_tree(order)
        now = int(self._clock())
        told = ReportStatement(
            iss=self._site,
            report=order.report,
            since=order.since,
            until=order.until,
            size=order.size,
            root=b64u(order.root),
            bundle=order.bundle,
            figures=order.figures,
            paper=order.paper,
            language=order.language,
            request=self._approved(keys, order, now),
            actor=order.actor,
            issued=now,
            full=order.full,
        )
        return sign_report(told, keys.checkpoint_kid, keys.sign_checkpoint)

    def _check_tree(self, order: ReportOrder) -> None:
        """Raise IntegrityFailure unless the last head on the token extends the report's."""
        size, root = self._checkpoints.last()
        try:
            verify_consistency(order.size, order.root, size, root, order.proof)
        except VerificationFailed as error:
            raise IntegrityFailure("the report is not made from the log that was signed") from error

    def _approved(self, keys: SiteKeyring, order: ReportOrder, now: int) -> str:
        """Return the id of the request that permits names in full, empty if none is shown."""
        if order.request is None:
            return ""
        record, checked = check_executed(self._site, keys, order.request, order.register)
        wanted = ("report.unmask", ReportTarget(order.report))
        if (checked.wanted.operation, checked.parameters) != wanted:
            raise Forbidden("the request is not about showing this report's names")
        if not record.ended <= now < record.ended + UNMASKED_SECONDS:
            raise Forbidden("the request was carried out too long ago", hint="make a new request")
        return record.id

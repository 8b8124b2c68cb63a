"""Waits until people have signed, each at their own terminal, and shows who has and who is missing.

Waiting changes nothing: whoever stops it can go on later.
"""

import time
from collections.abc import Callable, Sequence

from kms.ceremonies.people.quorum import Missing
from kms.ceremonies.sitting import Sitting
from kms.cli.output import Output
from kms.errors import QuorumNotMet
from kms.i18n import _

_POLL_SECONDS = 0.3


def await_approvals(sitting: Sitting, output: Output) -> None:
    """Return once the quorum has approved; raise QuorumNotMet if the request expires before."""
    told: set[tuple[str, str]] = set()
    while True:
        now = int(time.time())
        standing = sitting.approvals(now)
        for person in standing.accepted:
            _tell_once(output, told, person, _("{person} has approved.").format(person=person))
        for person, why in standing.refused.items():
            text = _("The approval of {person} does not count: {reason}")
            _tell_once(output, told, person, text.format(person=person, reason=why))
        if not standing.lacks:
            return
        if now >= sitting.request.expires:
            raise QuorumNotMet("the request has expired", hint="make a plan with another id")
        _tell_once(output, told, "", lacking(standing.lacks))
        time.sleep(_POLL_SECONDS)


def await_signatures(missing: Callable[[], Sequence[str]], output: Output) -> None:
    """Return once everybody who took part has signed the transcript; raise VerificationFailed
    naming whose signature does not hold.
    """
    told: set[tuple[str, str]] = set()
    while names := missing():
        text = _("The transcript is still to be signed by: {people}")
        _tell_once(output, told, "", text.format(people=", ".join(names)))
        time.sleep(_POLL_SECONDS)


def lacking(lacks: Missing) -> str:
    """Return who is missing for the quorum, in one line."""
    texts = list(lacks.people)
    for group, count in lacks.groups:
        texts.append(_("{count} more of group {group}").format(count=count, group=group))
    texts += [_(part.value) for part in lacks.parts]
    return _("Still to approve: {people}").format(people=", ".join(texts))


def _tell_once(output: Output, told: set[tuple[str, str]], who: str, text: str) -> None:
    if (who, text) not in told:
        told.add((who, text))
        output.note(text)

"""What is asked and answered about requests for approval. What counts in them is their JWS; all
else is for looking.
"""

from typing import Annotated

from pydantic import Field, StringConstraints

from kms.domain.approvals import MOST_PEOPLE, Standing
from kms.wire.base import MAX_PAGE, Jws, Meeting, Space, Text, Time, Wire

_Digest = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$")]
_People = Annotated[tuple[Text, ...], Field(max_length=MAX_PAGE)]


class NeedOut(Wire):
    """So many officers of a group; with ``space`` those who reach that space."""

    group: Text
    count: Annotated[int, Field(ge=1, le=MOST_PEOPLE)]
    space: Space | None = None


_Needs = Annotated[tuple[NeedOut, ...], Field(max_length=MOST_PEOPLE)]


class RuleOut(Wire):
    """An operation that needs approval, and whose. ``both``: a partner's space approves too."""

    operation: Text
    needs: _Needs
    both: bool
    site: bool


class RulesOut(Wire):
    """The rules; ``people`` is the JWS of the register in force, ``sha256`` the digest of that."""

    people: Jws
    sha256: _Digest
    items: Annotated[tuple[RuleOut, ...], Field(max_length=100)]


class RequestOut(Wire):
    """A request with its approvals. ``digest`` is what approvals name; ``approved`` says who gave
    one, ``missing`` who has yet to, ``lacks_credential`` that none of those in office signed with a
    credential of the register where one has to, ``ready`` that nothing lacks.
    """

    id: Meeting
    space: Space | None = None
    operation: Text
    requester: Text
    reason: Text
    issued: Time
    expires: Time
    state: Standing
    ready: bool
    ended: Time | None = None
    digest: _Digest
    approved: _People
    missing: _Needs
    lacks_credential: bool = False
    request: Jws
    approvals: Annotated[tuple[Jws, ...], Field(max_length=MAX_PAGE)]


class RequestPage(Wire):
    """A page of requests; ``next`` is the ``after`` of the following one. Of the spaces ``unknown``
    some could not be checked: a token cannot be asked.
    """

    items: Annotated[tuple[RequestOut, ...], Field(max_length=MAX_PAGE)]
    next: Text | None = None
    unknown: Annotated[tuple[Space, ...], Field(max_length=10_000)] = ()


class SubmitRequest(Wire):
    """A request, signed by whoever asks."""

    request: Jws


class SignRequest(Wire):
    """An approval, signed by an officer."""

    approval: Jws
